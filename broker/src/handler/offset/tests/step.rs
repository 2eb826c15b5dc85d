//! What may happen to offsets.

use proptest::prelude::*;

pub const TOPICS: [&str; 2] = ["T", "U"];
pub const GROUPS: [&str; 2] = ["G", "H"];
/// Queues of each topic. Requests name one more.
pub const QUEUES: i32 = 2;

pub type Place = (&'static str, &'static str, i32);

#[derive(Debug, Clone)]
pub enum Step {
    Send {
        topic: usize,
        queue: u32,
        count: usize,
    },
    Commit {
        place: Place,
        offset: i64,
        how: How,
    },
    Pull {
        place: Place,
        commit: Option<i64>,
    },
    Query {
        place: Place,
        zero: Option<bool>,
    },
    Reset {
        place: Place,
        all: bool,
        to: To,
        force: Option<bool>,
    },
    Clone {
        from: usize,
        to: usize,
        topic: Option<usize>,
    },
    CreateTopic {
        topic: usize,
    },
    DeleteTopic {
        topic: usize,
    },
    CreateGroup {
        group: usize,
    },
    DeleteGroup {
        group: usize,
        clean: Option<bool>,
    },
    /// Everything noted so far is written.
    Write,
    Sync,
    Restart,
    /// RocketMQ's broker has the directory for a time, and moves these offsets.
    Foreign {
        moved: Vec<(Place, i64)>,
        killed: bool,
    },
    Kill,
    CutPower,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Oneway,
    Answered,
    /// The sender is gone before the answer.
    Unheard,
}

#[derive(Debug, Clone, Copy)]
pub enum To {
    Offset(i64),
    Begin,
    End,
}

fn place() -> impl Strategy<Value = Place> {
    (0..TOPICS.len(), 0..GROUPS.len(), 0..=QUEUES)
        .prop_map(|(topic, group, queue)| (TOPICS[topic], GROUPS[group], queue))
}

pub fn step() -> impl Strategy<Value = Step> {
    let (one, value) = (0..2_usize, -1..30_i64);
    let how = prop_oneof![3 => Just(How::Oneway), 3 => Just(How::Answered), 1 => Just(How::Unheard)];
    let to = prop_oneof![(0..12_i64).prop_map(To::Offset), Just(To::Begin), Just(To::End)];
    let flag = || prop::option::of(any::<bool>());
    prop_oneof![
        4 => (one.clone(), 0..2_u32, 1..4_usize).prop_map(|(topic, queue, count)| Step::Send { topic, queue, count }),
        12 => (place(), value.clone(), how).prop_map(|(place, offset, how)| Step::Commit { place, offset, how }),
        8 => (place(), prop::option::of(value.clone())).prop_map(|(place, commit)| Step::Pull { place, commit }),
        4 => (place(), flag()).prop_map(|(place, zero)| Step::Query { place, zero }),
        4 => (place(), any::<bool>(), to, flag()).prop_map(|(place, all, to, force)| Step::Reset { place, all, to, force }),
        2 => (one.clone(), one.clone(), prop::option::of(one.clone()))
            .prop_map(|(from, to, topic)| Step::Clone { from, to, topic }),
        2 => one.clone().prop_map(|topic| Step::CreateTopic { topic }),
        1 => one.clone().prop_map(|topic| Step::DeleteTopic { topic }),
        1 => one.clone().prop_map(|group| Step::CreateGroup { group }),
        1 => (one.clone(), flag()).prop_map(|(group, clean)| Step::DeleteGroup { group, clean }),
        1 => Just(Step::Write),
        1 => Just(Step::Sync),
        1 => Just(Step::Restart),
        1 => (prop::collection::vec((place(), 0..30_i64), 0..4), any::<bool>())
            .prop_map(|(moved, killed)| Step::Foreign { moved, killed }),
        2 => Just(Step::Kill),
        1 => Just(Step::CutPower),
    ]
}

//! Offsets of groups against a small model: any order of commits, resets, copies, deletions, starts, kills and power cuts.
//!
//! After every step the broker has exactly what the model has. After a kill it has what it had at some moment, not before the
//! last answer; after a power cut what it had when it synced last.

use std::collections::BTreeMap;
use std::sync::Arc;

use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::code::{request as code, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::admin::{
    CreateTopicRequest, DeleteGroupRequest, ResetOffsetRequest, TopicRequest,
};
use orbitmq_common::protocol::header::examine::CloneOffsetsRequest;
use orbitmq_common::protocol::header::offset::{OffsetResponse, QueryOffsetRequest, UpdateOffsetRequest};
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};
use proptest::prelude::*;

use super::site::{Site, answer, request};
use super::state::State;
use super::step::{GROUPS, How, Place, QUEUES, Step, TOPICS, To, step};
use crate::handler::admin::{clone, group, progress, topic};
use crate::handler::{offset, pull};
use crate::meta::offsets::encode_key;
use crate::refusal::Refusal;

async fn administer(frame: &Frame, outcome: Result<Outcome, Refusal>) {
    let answer = answer(frame, outcome).await.unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
}

struct World {
    site: Site,
    now: State,
    /// States of this life; a kill leaves the first of them or a later one.
    past: Vec<State>,
    /// What a power cut leaves.
    synced: State,
    /// Messages by topic and queue.
    counts: BTreeMap<(&'static str, i32), i64>,
}

impl World {
    async fn new() -> Self {
        let site = Site::new().await;
        let (now, counts) = (State::default(), BTreeMap::new());
        let mut world = Self { site, past: vec![now.clone()], synced: now.clone(), now, counts };
        world.create_topic(0).await;
        world
    }

    fn seen(&self) -> State {
        let broker = &self.site.broker;
        let offsets = broker.offsets.snapshot();
        let of = |topic: &str, group: &str| offsets.get(&format!("{topic}@{group}")).cloned().unwrap_or_default();
        let mut state = State {
            topics: TOPICS.into_iter().filter(|topic| broker.topics.get(topic).is_some()).collect(),
            groups: GROUPS.into_iter().filter(|group| broker.groups.get(group).is_some()).collect(),
            ..State::default()
        };
        for topic in TOPICS {
            for group in GROUPS {
                state
                    .offsets
                    .extend(of(topic, group).into_iter().map(|(queue, offset)| ((topic, group, queue), offset)));
                let resets =
                    (0..=QUEUES).filter(|queue| broker.offsets.resets().holds(&encode_key(topic, group, *queue)));
                state.resets.extend(resets.map(|queue| (topic, group, queue)));
            }
        }
        state
    }

    /// The broker was left in a state of this life's; which one?
    fn killed(&mut self) {
        let seen = self.seen();
        assert!(self.past.contains(&seen), "killed: {seen:?}\nis none of {:?}", self.past);
        self.now = seen;
        self.stored();
    }

    /// A step was made that may be lost.
    fn moved(&mut self) {
        self.past.push(self.now.clone());
    }

    /// What there is survives a kill.
    fn stored(&mut self) {
        self.past = vec![self.now.clone()];
    }

    /// An answer has promised that what there is survives a power cut.
    async fn synced(&mut self) {
        self.stored();
        self.site.sync().await;
        self.synced = self.now.clone();
    }

    fn count(&self, topic: &'static str, queue: i32) -> i64 {
        self.counts.get(&(topic, queue)).copied().unwrap_or(0)
    }

    async fn commit(&mut self, place: Place, offset: i64, how: How) {
        let (topic, group, queue) = place;
        let fields = UpdateOffsetRequest {
            consumer_group: group.into(),
            topic: topic.into(),
            queue_id: queue,
            commit_offset: offset,
        };
        let frame = request(code::UPDATE_CONSUMER_OFFSET, &fields);
        let frame = if how == How::Oneway { frame.oneway() } else { frame };
        let outcome = offset::update(&self.site.broker, &frame);
        let is_there = self.now.has_queue(place);
        let held = self.now.resets.contains(&place);
        if is_there {
            self.now.groups.insert(group);
            if offset >= 0 {
                self.now.commit(place, offset);
            }
            self.moved();
        }
        if how == How::Unheard {
            return drop(outcome);
        }
        let Some(answer) = answer(&frame, outcome).await else {
            return assert!(how == How::Oneway && is_there && !held && offset >= 0);
        };
        let wanted = match () {
            () if !self.now.topics.contains(topic) => response::TOPIC_NOT_EXIST,
            () if !is_there || offset < 0 => response::INVALID_PARAMETER,
            () => response::SUCCESS,
        };
        assert_eq!(answer.code, wanted, "{:?}", answer.remark);
        if wanted == response::SUCCESS {
            assert_eq!(held, answer.remark.is_some_and(|remark| remark.contains("reset")));
            if !held && how == How::Answered {
                self.stored();
            }
        }
    }

    async fn pull(&mut self, place: Place, commit: Option<i64>) {
        let (topic, group, queue) = place;
        let fields = PullRequest {
            consumer_group: group.into(),
            topic: topic.into(),
            queue_id: queue,
            max_msg_nums: 1,
            sys_flag: if commit.is_some() { 5 } else { 4 },
            commit_offset: commit.unwrap_or(0),
            subscription: Some("*".into()),
            ..PullRequest::default()
        };
        let frame = request(code::PULL_MESSAGE, &fields);
        let answer = answer(&frame, Ok(pull::call(&self.site.broker, &frame))).await.unwrap();
        self.now.groups.insert(group);
        if self.now.has_queue(place) {
            if self.now.resets.remove(&place) {
                assert_eq!(answer.code, response::PULL_OFFSET_MOVED);
                let moved: PullResponse = answer.fields().unwrap();
                assert_eq!(Some(&moved.next_begin_offset), self.now.offsets.get(&place));
            } else if let Some(offset) = commit.filter(|offset| *offset >= 0) {
                self.now.offsets.insert(place, offset);
            }
        }
        self.moved();
    }

    async fn query(&self, place: Place, zero: Option<bool>) {
        let (topic, group, queue) = place;
        let fields = QueryOffsetRequest {
            consumer_group: group.into(),
            topic: topic.into(),
            queue_id: queue,
            set_zero_if_not_found: zero,
        };
        let frame = request(code::QUERY_CONSUMER_OFFSET, &fields);
        let answer = offset::query(&self.site.broker, &frame).unwrap_or_else(|refusal| refusal.answer(&frame));
        let young = (zero != Some(false) && self.count(topic, queue) > 0).then_some(0);
        match self.now.offsets.get(&place).copied().or(young) {
            Some(offset) => assert_eq!(answer.fields::<OffsetResponse>().unwrap().offset, offset),
            None => assert_eq!(answer.code, response::QUERY_NOT_FOUND),
        }
    }

    async fn reset(&mut self, place: Place, all: bool, to: To, force: Option<bool>) {
        let (topic, group, queue) = place;
        let fields = ResetOffsetRequest {
            group: group.into(),
            topic: topic.into(),
            queue_id: (!all).then_some(queue),
            offset: if let To::Offset(offset) = to { Some(offset) } else { None },
            timestamp: if matches!(to, To::End) { -1 } else { 0 },
            is_force: force,
        };
        let frame = request(code::INVOKE_BROKER_TO_RESET_OFFSET, &fields);
        let answer = answer(&frame, progress::reset(&self.site.broker, &frame)).await.unwrap();
        let wanted = match () {
            () if !self.now.topics.contains(topic) => response::TOPIC_NOT_EXIST,
            () if !self.now.groups.contains(group) => response::SUBSCRIPTION_GROUP_NOT_EXIST,
            () if !all && queue >= QUEUES => response::INVALID_PARAMETER,
            () => response::SUCCESS,
        };
        assert_eq!(answer.code, wanted, "{:?}", answer.remark);
        if wanted != response::SUCCESS {
            return;
        }
        let mut changed = false;
        for queue in (0..QUEUES).filter(|one| all || *one == queue) {
            let offset = match to {
                To::Offset(offset) => offset.min(self.count(topic, queue)),
                To::Begin => 0,
                To::End => self.count(topic, queue),
            };
            let place = (topic, group, queue);
            let forward = self.now.offsets.get(&place).is_some_and(|here| offset > *here);
            if !forward || force != Some(false) || matches!(to, To::Offset(_)) {
                self.now.reset(place, offset);
                changed = true;
            }
        }
        if changed {
            self.stored();
        }
    }

    async fn clone_offsets(&mut self, from: usize, to: usize, topic: Option<usize>) {
        let (source, target) = (GROUPS[from], GROUPS[to]);
        let fields = CloneOffsetsRequest {
            src_group: source.into(),
            dest_group: target.into(),
            topic: topic.map(|topic| TOPICS[topic].into()),
            offline: true,
        };
        let frame = request(code::CLONE_GROUP_OFFSET, &fields);
        let answer = answer(&frame, clone::call(&self.site.broker, &frame)).await.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        self.now.groups.insert(target);
        let wanted = |place: &Place| {
            place.1 == source && self.now.has_queue(*place) && topic.is_none_or(|topic| TOPICS[topic] == place.0)
        };
        let cloned: Vec<_> = self.now.offsets.clone().into_iter().filter(|(place, _)| wanted(place)).collect();
        for ((topic, _, queue), offset) in &cloned {
            self.now.reset((topic, target, *queue), *offset);
        }
        if cloned.is_empty() { self.moved() } else { self.stored() }
    }

    async fn create_topic(&mut self, topic: usize) {
        let fields = CreateTopicRequest {
            topic: TOPICS[topic].into(),
            read_queue_nums: QUEUES,
            write_queue_nums: QUEUES,
            perm: 6,
            ..CreateTopicRequest::default()
        };
        let frame = request(code::UPDATE_AND_CREATE_TOPIC, &fields);
        administer(&frame, topic::create(&self.site.broker, &frame)).await;
        self.now.topics.insert(TOPICS[topic]);
        self.synced().await;
    }

    async fn delete_topic(&mut self, topic: usize) {
        let topic = TOPICS[topic];
        let frame = request(code::DELETE_TOPIC_IN_BROKER, &TopicRequest { topic: topic.into() });
        administer(&frame, topic::delete(&self.site.broker, &frame)).await;
        self.now.topics.remove(topic);
        self.now.forget(|place| place.0 == topic);
        self.counts.retain(|(name, _), _| *name != topic);
        self.synced().await;
    }

    async fn delete_group(&mut self, group: usize, clean: Option<bool>) {
        let group = GROUPS[group];
        let fields = DeleteGroupRequest { group_name: group.into(), clean_offset: clean };
        let frame = request(code::DELETE_SUBSCRIPTIONGROUP, &fields);
        administer(&frame, group::delete(&self.site.broker, &frame)).await;
        self.now.groups.remove(group);
        if clean == Some(true) {
            self.now.forget(|place| place.1 == group);
        }
        self.synced().await;
    }

    async fn create_group(&mut self, group: usize) {
        let body = serde_json::json!({ "groupName": GROUPS[group] }).to_string();
        let frame = request(code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &()).with_body(body);
        administer(&frame, group::create(&self.site.broker, &frame)).await;
        self.now.groups.insert(GROUPS[group]);
        self.synced().await;
    }

    /// RocketMQ's broker reads the file of offsets, and writes another one.
    async fn foreign(&mut self, moved: Vec<(Place, i64)>, killed: bool) {
        for (place, offset) in moved {
            // It knows nothing of resets: the group went on from there, and came elsewhere.
            if self.now.offsets.insert(place, offset) != Some(offset) {
                self.now.resets.remove(&place);
            }
        }
        let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((topic, group, queue), offset) in &self.now.offsets {
            table.entry(format!("{topic}@{group}")).or_default().push(format!("{queue}:{offset}"));
        }
        let rows: Vec<_> = table.iter().map(|(key, queues)| format!("\"{key}\":{{{}}}", queues.join(","))).collect();
        let text = format!("{{\"offsetTable\":{{{}}}}}", rows.join(","));
        self.site.restart(|config| std::fs::write(config.join("consumerOffset.json"), text).unwrap()).await;
        if killed {
            self.site.kill().await;
        }
        // However often it is read: nothing of it is lost.
        self.stored();
        self.synced = self.now.clone();
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Send { topic, queue, count } => {
                if self.now.topics.contains(TOPICS[topic]) {
                    self.site.send(TOPICS[topic], queue, count).await;
                    let counted = self.counts.entry((TOPICS[topic], queue.cast_signed())).or_default();
                    *counted += i64::try_from(count).unwrap();
                }
            }
            Step::Commit { place, offset, how } => self.commit(place, offset, how).await,
            Step::Pull { place, commit } => self.pull(place, commit).await,
            Step::Query { place, zero } => self.query(place, zero).await,
            Step::Reset { place, all, to, force } => self.reset(place, all, to, force).await,
            Step::Clone { from, to, topic } => self.clone_offsets(from, to, topic).await,
            Step::CreateTopic { topic } => self.create_topic(topic).await,
            Step::DeleteTopic { topic } => self.delete_topic(topic).await,
            Step::CreateGroup { group } => self.create_group(group).await,
            Step::DeleteGroup { group, clean } => self.delete_group(group, clean).await,
            Step::Write => {
                let db = Arc::clone(&self.site.broker.db);
                db.stored(db.newest()).await.unwrap();
                self.stored();
            }
            Step::Sync => self.synced().await,
            Step::Restart => {
                self.site.restart(|_| ()).await;
                self.stored();
                self.synced = self.now.clone();
            }
            Step::Foreign { moved, killed } => self.foreign(moved, killed).await,
            Step::Kill => {
                self.site.kill().await;
                self.killed();
            }
            Step::CutPower => {
                self.site.cut_power().await;
                self.now = self.synced.clone();
                self.stored();
            }
        }
        assert_eq!(self.seen(), self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn an_offset_moves_only_when_somebody_moves_it(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await;
            }
        });
    }
}

//! Who counts, and from when on.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::{Gate, InSync};

const PATIENCE: Duration = Duration::from_secs(1);

/// A log that is durable up to `end`.
#[derive(Default)]
struct Log {
    end: Cell<u64>,
    ceiling: Cell<Option<u64>>,
    /// Changes of metadata, and how many of them slaves have.
    changes: Cell<u64>,
    followed: Cell<u64>,
}

impl Log {
    fn at(end: u64) -> Self {
        Self { end: Cell::new(end), ..Self::default() }
    }

    fn confirmed(&self) -> u64 {
        self.end.get().min(self.ceiling.get().unwrap_or(u64::MAX))
    }
}

impl Gate for Log {
    fn freeze(&self) -> u64 {
        self.set(self.confirmed());
        self.confirmed()
    }

    fn set(&self, ceiling: u64) {
        self.ceiling.set(Some(ceiling));
    }

    fn newest_change(&self) -> u64 {
        self.changes.get()
    }

    fn has_change(&self, _: i64, number: u64) -> bool {
        self.followed.get() >= number
    }
}

#[test]
fn a_newcomer_holds_back_only_what_came_after_it_began_to_join() {
    let (set, log, now) = (InSync::default(), Log::at(100), Instant::now());
    set.connected(2, "there", 40);
    assert_eq!(set.judge(now, 100, PATIENCE, &log), None);
    assert_eq!(log.confirmed(), 100, "it is too far behind to count");
    set.acked(2, 100, &log);
    assert_eq!(set.judge(now, 100, PATIENCE, &log), None, "it begins to join");
    log.end.set(130);
    assert_eq!(log.confirmed(), 100, "from now on it counts");
    assert_eq!(set.judge(now, 130, PATIENCE, &log), Some(vec![2]));
    assert_eq!(set.copies(), 1, "not before it is decided");
    set.decided(&[2], &log);
    assert_eq!(set.copies(), 2);
    set.acked(2, 120, &log);
    assert_eq!(log.confirmed(), 120);
}

#[test]
fn a_newcomer_needs_the_metadata_that_were_acknowledged_without_it() {
    let (set, log, now) = (InSync::default(), Log::at(100), Instant::now());
    log.changes.set(7);
    set.connected(2, "there", 100);
    assert_eq!(set.judge(now, 100, PATIENCE, &log), None);
    assert_eq!(set.counting(), [2], "changes wait for it from now on");
    log.changes.set(9);
    log.followed.set(6);
    assert_eq!(set.judge(now, 100, PATIENCE, &log), None);
    log.followed.set(7);
    assert_eq!(set.judge(now, 100, PATIENCE, &log), Some(vec![2]));
}

#[test]
fn what_was_confirmed_does_not_become_unconfirmed_by_a_newcomer() {
    let (set, log, now) = (InSync::default(), Log::at(100), Instant::now());
    set.connected(2, "there", 100);
    assert_eq!(set.judge(now, 100, PATIENCE, &log), None);
    let (set, log) = (InSync::default(), Log::at(150));
    set.connected(2, "there", 120);
    // The first look was made when the log ended at 120.
    set.judge(now, 120, PATIENCE, &log);
    assert_eq!(log.confirmed(), 150);
    assert_eq!(set.judge(now, 150, PATIENCE, &log), None, "it does not have what others confirmed");
    set.acked(2, 150, &log);
    assert_eq!(set.judge(now, 150, PATIENCE, &log), Some(vec![2]));
}

#[test]
fn a_late_slave_leaves_and_only_the_decision_frees_the_rest() {
    let (set, log, start) = (InSync::default(), Log::at(100), Instant::now());
    set.connected(2, "there", 100);
    set.judge(start, 100, PATIENCE, &log);
    set.judge(start, 100, PATIENCE, &log);
    set.decided(&[2], &log);
    log.end.set(200);
    assert_eq!(set.judge(start + PATIENCE / 2, 200, PATIENCE, &log), None);
    assert_eq!(set.judge(start + PATIENCE, 200, PATIENCE, &log), None, "it has what was there a second ago");
    assert_eq!(set.judge(start + 2 * PATIENCE, 200, PATIENCE, &log), Some(Vec::new()));
    assert_eq!(log.confirmed(), 100, "it still counts");
    set.decided(&[], &log);
    assert_eq!((log.confirmed(), set.copies()), (200, 1));
}

#[test]
fn a_slave_that_is_away_leaves_although_nothing_is_sent() {
    let (set, log, start) = (InSync::default(), Log::at(100), Instant::now());
    set.connected(2, "there", 100);
    set.decided(&[2], &log);
    set.disconnected(2);
    assert_eq!(set.judge(start, 100, PATIENCE, &log), None);
    assert_eq!(set.judge(start + 2 * PATIENCE, 100, PATIENCE, &log), Some(Vec::new()));
}

#[test]
fn a_proposal_without_an_answer_counts_until_it_is_known() {
    let (set, log, start) = (InSync::default(), Log::at(100), Instant::now());
    set.connected(2, "there", 100);
    set.judge(start, 100, PATIENCE, &log);
    let wanted = set.judge(start, 100, PATIENCE, &log);
    assert_eq!(wanted, Some(vec![2]));
    set.proposed(&[2]);
    set.disconnected(2);
    log.end.set(300);
    set.judge(start + 3 * PATIENCE, 300, PATIENCE, &log);
    let wanted = set.judge(start + 5 * PATIENCE, 300, PATIENCE, &log);
    assert_eq!(wanted, Some(Vec::new()), "its removal has to be decided");
    assert_eq!(log.confirmed(), 100, "perhaps it is in the set");
    set.decided(&[], &log);
    assert_eq!(log.confirmed(), 300);
}

#[test]
fn a_member_that_was_never_seen_here_counts_if_it_was_decided_so() {
    let (set, log) = (InSync::default(), Log::at(100));
    set.decided(&[3], &log);
    log.end.set(200);
    assert_eq!((log.confirmed(), set.copies()), (100, 2));
}

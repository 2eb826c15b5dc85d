//! Segments go, and what waits in them stays.

use std::time::{Duration, Instant};

use super::{Limits, ROOMY, Retention, Site};
use crate::timer::figures::Figures;

/// Runs the engine until retention has deleted what was there first.
fn until_deleted(site: &mut Site, upto: u64) {
    let mut wanted = site.store.follower().wanted();
    let deadline = Instant::now() + Duration::from_secs(30);
    while site.store.min_physical() < upto {
        assert!(Instant::now() < deadline, "retention stands at {}", site.store.min_physical());
        let now = *wanted.borrow_and_update();
        if now.upto > 0 {
            site.engine.make_room(now);
        }
        site.run();
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn retention(max_age: Option<Duration>, max_bytes: Option<u64>) -> Retention {
    Retention { max_age, max_bytes, check_every: Duration::from_millis(10) }
}

#[test]
fn what_waits_outlives_its_segment() {
    let mut site = Site::new(ROOMY, retention(Some(Duration::from_millis(1)), None));
    let due = site.send("years", "T", 0, 3 * 365 * 86_400_000);
    site.send("taken back", "T", 0, 3 * 365 * 86_400_000);
    assert!(site.recall("taken back", "T", due));
    let bulk = "x".repeat(1_000);
    for number in 0..200 {
        site.send(&format!("{number}{bulk}"), "T", 1, 10 + number);
    }
    site.advance(1_000);
    let upto = site.store.confirmed() / 2;
    until_deleted(&mut site, upto);
    assert!(Figures::get(&site.timers.figures.rolled) >= 1);
    let mut site = site.crash(2);
    site.advance(2 * 365 * 86_400_000);
    assert!(site.queue("T", 0).is_empty(), "not yet");
    site.advance(365 * 86_400_000);
    assert_eq!(site.queue("T", 0), ["years"]);
}

#[test]
fn a_log_full_of_what_waits_is_not_written_again_and_again() {
    let mut site = Site::new(Limits { in_memory: 100, chunk: 50 }, retention(None, Some(100 << 10)));
    let bulk = "x".repeat(1_000);
    for number in 0..400 {
        site.send(&format!("{number:03}{bulk}"), "T", 0, 1_000_000);
        site.step();
    }
    let mut wanted = site.store.follower().wanted();
    let deadline = Instant::now() + Duration::from_secs(30);
    while wanted.borrow_and_update().upto == 0 {
        assert!(Instant::now() < deadline, "retention wants nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    let now = *wanted.borrow();
    site.engine.make_room(now);
    site.run();
    assert_eq!(Figures::get(&site.timers.figures.rolled), 0);
    assert_eq!(site.store.min_physical(), 0);
    site.advance(2_000_000);
    assert_eq!(site.queue("T", 0).len(), 400);
    // Nothing waits any more: everything may go.
    until_deleted(&mut site, 200 << 10);
}

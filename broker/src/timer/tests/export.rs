//! What is left to RocketMQ's broker, read as it reads it.

use std::path::Path;

use super::{ROOMY, Site};
use crate::timer::leave;
use crate::timer::tests::FOREVER;

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Log offsets of the units in the slot of a time, the first put first; each with its kind.
fn slot(dir: &Path, time: i64) -> Vec<(u64, u32)> {
    let wheel = std::fs::read(dir.join("timerwheel")).unwrap();
    assert_eq!(wheel.len(), 7 * 86_400 * 2 * 32);
    let index = usize::try_from(time / 1_000 % (7 * 86_400 * 2)).unwrap();
    let slot = &wheel[index * 32..(index + 1) * 32];
    if number(slot, 0) != u64::try_from(time / 1_000).unwrap() {
        return Vec::new();
    }
    let log = std::fs::read(dir.join("timerlog").join("00000000000000000000")).unwrap();
    let (mut units, mut at) = (Vec::new(), number(slot, 16));
    while at != u64::MAX {
        let unit = &log[usize::try_from(at).unwrap()..][..52];
        assert_eq!(half(unit, 0), 52);
        units.push((number(unit, 28), half(unit, 12)));
        at = number(unit, 4);
    }
    units.reverse();
    assert_eq!(number(slot, 8), units_begin(&log, units[0].0));
    units
}

/// Where the unit of a log offset is.
fn units_begin(log: &[u8], offset: u64) -> u64 {
    let found = log.chunks(52).position(|unit| unit.len() == 52 && half(unit, 0) == 52 && number(unit, 28) == offset);
    found.unwrap() as u64 * 52
}

#[test]
fn what_waits_is_in_its_slot_and_what_is_done_is_not() {
    let mut site = Site::new(ROOMY, FOREVER);
    let dir = site.dir.path().to_owned();
    assert_eq!(leave(&site.store, &site.timers, &dir, site.now).unwrap(), None, "nothing ever waited");
    site.send("done", "T", 0, 10);
    let (one, two) = (site.send("one", "T", 0, 5_000), site.send("two", "T", 0, 5_300));
    assert_eq!(one / 1_000, two / 1_000);
    let far = site.send("far", "T", 0, 10 * 86_400_000);
    assert!(site.recall("two", "T", two));
    site.send("last and done", "T", 0, 20);
    site.advance(100);
    let checkpoint = leave(&site.store, &site.timers, &dir, site.now).unwrap().unwrap();
    let from = i64::try_from(number(&checkpoint, 0)).unwrap();
    assert_eq!(from, site.now / 1_000 * 1_000);
    assert_eq!((number(&checkpoint, 16), number(&checkpoint, 24)), (6, 6));
    assert_eq!(checkpoint.len(), 4_096);
    let log = std::fs::read(dir.join("timerlog").join("00000000000000000000")).unwrap();
    let units = log.chunks(52).take_while(|unit| half(unit, 0) == 52).count();
    assert_eq!(units, 5, "four that wait, and the last message of the queue");
    let kinds = |time: i64| slot(&dir, time).into_iter().map(|(_, kind)| kind).collect::<Vec<_>>();
    assert_eq!(kinds(one), [1, 1, 5], "two messages and the recall");
    assert!(far > from + 2 * 86_400_000);
    assert_eq!(kinds(from + 2 * 86_400_000), [3], "to be looked at again in two days");
    assert!(kinds(from).is_empty());
}

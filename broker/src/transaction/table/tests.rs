//! Checks of the index.

use super::*;

fn open(due: i64) -> Open {
    Open { physical: 0, due, checks: 0, inherited: false }
}

#[test]
fn those_whose_time_has_come_are_told_in_their_order() {
    let mut table = Table::default();
    for (offset, due) in [(0, 30), (1, 10), (2, 20)] {
        table.insert(offset, open(due));
    }
    let due = |table: &Table, now| table.due(now, 10).iter().map(|(offset, _)| *offset).collect::<Vec<_>>();
    assert_eq!((due(&table, 9), due(&table, 20), table.next_due()), (vec![], vec![1, 2], Some(10)));
    table.again(1, 40, 1);
    assert_eq!((due(&table, 30), table.get(1).unwrap().checks), (vec![2, 0], 1));
    table.end(2, 0);
    table.end(2, 1);
    assert_eq!((due(&table, 50), table.count()), (vec![0, 1], 2));
    table.insert(0, open(1));
    assert_eq!(table.get(0).unwrap().due, 30, "known ones stay as they are");
}

#[test]
fn progress_stands_before_the_first_open_one_and_before_the_notes_of_all_behind_it() {
    let mut table = Table::default();
    table.built(Progress::default(), Progress::default());
    let mut notes = BTreeMap::new();
    let mut op = 0;
    for offset in 0..10_000_u64 {
        table.insert(offset, open(0));
        // All but each 3,000th end a little later.
        if let Some(ended) = offset.checked_sub(5).filter(|ended| ended % 3_000 != 0) {
            table.end(ended, op);
            notes.insert(ended, op);
            op += 1;
        }
        let progress = table.progress();
        assert!(progress.half == 0 && progress.op == 0, "{progress:?}");
    }
    for still_open in [0, 3_000, 6_000, 9_000] {
        table.end(still_open, op);
        notes.insert(still_open, op);
        op += 1;
        let progress = table.progress();
        let least = notes.range(progress.half..).map(|(_, op)| *op).min().unwrap_or(op);
        assert!(progress.op <= least && progress.half > still_open, "{progress:?} {least}");
        assert!(least - progress.op <= 2 * STRIDE, "far behind: {progress:?} {least}");
    }
    (9_995..10_000).for_each(|offset| table.end(offset, op));
    assert_eq!(table.progress().half, 10_000);
}

#[test]
fn marks_stay_few() {
    let mut table = Table::default();
    for offset in 0..5_000_000 {
        table.insert(offset, open(0));
        if offset > 0 {
            table.end(offset, offset);
        }
    }
    assert!(table.marks.len() <= MARKS, "{}", table.marks.len());
    table.end(0, 5_000_000);
    assert!(table.progress().op > 4_900_000);
}

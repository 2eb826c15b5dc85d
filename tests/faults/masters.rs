//! Whether two masters of a group acknowledged at the same time.

use std::collections::BTreeMap;

use super::check::Verdict;
use super::history::Records;
use super::proxy::Member;

/// Every acknowledgement belongs to an epoch, and whatever begins after an acknowledgement was received belongs to the same
/// or a later one. Gives each acknowledgement the lowest epoch of its master that this allows; one that has none was
/// given by a master that another one had followed.
pub fn check(verdict: &mut Verdict, records: &Records, group: u8) {
    let epochs = Epochs::of(records, group);
    let mut sends: Vec<_> = records.answers(group).collect();
    sends.sort_by_key(|send| send.started);
    // Those that have begun and whose answers were received later, by that time.
    let mut in_hand: BTreeMap<(u64, usize), i64> = BTreeMap::new();
    let mut floor = i64::MIN;
    for (number, send) in sends.iter().enumerate() {
        while let Some(first) = in_hand.first_entry().filter(|first| first.key().0 < send.started) {
            floor = floor.max(first.remove());
        }
        let epoch = epochs.lowest(floor, send.member).unwrap_or_else(|| {
            verdict.double_masters += 1;
            verdict.tell(|| format!("double master: {send:?} was acknowledged after epoch {floor} of {:?}", epochs.0));
            floor
        });
        in_hand.insert((send.ended, number), epoch);
    }
}

/// Masters by epoch; of an epoch that nobody noticed anyone may have been master.
struct Epochs(BTreeMap<i64, Option<Member>>);

impl Epochs {
    fn of(records: &Records, group: u8) -> Self {
        let known = records.epochs.iter().filter(|epoch| epoch.master.group == group);
        let known: BTreeMap<i64, Option<Member>> = known.map(|epoch| (epoch.number, Some(epoch.master))).collect();
        let (Some((first, _)), Some((last, _))) = (known.first_key_value(), known.last_key_value()) else {
            return Self(known);
        };
        let all = (*first..=*last).map(|number| (number, known.get(&number).copied().flatten()));
        Self(all.collect())
    }

    fn lowest(&self, floor: i64, master: Member) -> Option<i64> {
        if self.0.is_empty() {
            return Some(floor);
        }
        self.0.range(floor..).find(|(_, of)| of.is_none_or(|of| of == master)).map(|(number, _)| *number)
    }
}

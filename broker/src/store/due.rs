//! What entries of the timer queue say in place of a tag's hash: when a message is due, and of which kind it is.
//!
//! RocketMQ writes the hash of a tag there and never looks at it. No hash is greater than a 32-bit number, and no time of ours is
//! smaller, so that each is told from the other. The numbers are on disk and stay: bits 0 to 60 hold ms since the epoch, 61 and
//! 62 the kind.

use orbitmq_common::message::property;
use orbitmq_common::message::record::RecordView;

/// Latest time that fits.
pub const MAX_DUE: i64 = (1 << 61) - 1;
/// Earliest time that is told from a hash: early in 1970.
const MIN_DUE: i64 = 1 << 32;
const ROLLED: i64 = 1 << 61;
const RECALL: i64 = 1 << 62;

/// What a record of the timer queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Takes back a message of the same time.
    Recall,
    /// A message that was written again so that it outlives its segment.
    Rolled,
    /// A message as its sender sent it.
    Sent,
}

/// When something is due, in ms since the epoch, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The time.
    pub time: i64,
    /// The kind.
    pub kind: Kind,
}

impl Due {
    /// What a record of the timer topic says; `None`: no time that could be.
    pub fn of(record: &RecordView<'_>) -> Option<Self> {
        let mut time = None;
        let mut kind = Kind::Sent;
        for (name, value) in property::iter(record.properties) {
            match name {
                property::TIMER_OUT_MS => time = value.parse().ok(),
                property::TIMER_ROLL_TIMES if kind == Kind::Sent => kind = Kind::Rolled,
                property::TIMER_DEL_UNIQKEY => kind = Kind::Recall,
                _ => {}
            }
        }
        let time = time.filter(|time| (MIN_DUE..=MAX_DUE).contains(time))?;
        Some(Self { time, kind })
    }

    /// In the place of a tag's hash.
    pub fn encode(self) -> i64 {
        self.time
            | match self.kind {
                Kind::Recall => RECALL,
                Kind::Rolled => ROLLED,
                Kind::Sent => 0,
            }
    }

    /// What stands in the place of a tag's hash; `None`: a hash, hence only the record itself tells.
    pub fn decode(tag: i64) -> Option<Self> {
        let kind = match tag & (RECALL | ROLLED) {
            0 => Kind::Sent,
            ROLLED => Kind::Rolled,
            RECALL => Kind::Recall,
            _ => return None,
        };
        let time = tag & MAX_DUE;
        (tag > 0 && time >= MIN_DUE).then_some(Self { time, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_kinds_are_told_from_hashes() {
        for kind in [Kind::Sent, Kind::Rolled, Kind::Recall] {
            for time in [MIN_DUE, 1_800_000_000_000, MAX_DUE] {
                let due = Due { time, kind };
                assert_eq!(Due::decode(due.encode()), Some(due));
            }
        }
        for hash in [0, 1, -1, i64::from(i32::MAX), i64::from(i32::MIN), i64::MIN, i64::MAX] {
            assert_eq!(Due::decode(hash), None, "{hash}");
        }
        // On disk: stays.
        assert_eq!(Due { time: 1_800_000_000_000, kind: Kind::Recall }.encode(), 4_611_687_818_427_387_904);
    }
}

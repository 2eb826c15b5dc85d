//! Bugs planted on purpose, so that it can be seen that the fault harness finds them. Without the feature `plant` there are none:
//! everything here is then a constant `false` that the compiler removes.

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A master acknowledges what it has written, without waiting for disk or slaves.
    AckBeforeFlush,
    /// A slave reports what it has received, before it is on its disk.
    SlaveAckBeforeFlush,
    /// A slave takes over older offsets of groups than its master has told.
    OffsetBack,
    /// A new master cuts acknowledged messages from its log.
    TruncateTooMuch,
}

/// Whether the variable ORBITMQ_PLANT names this bug.
#[cfg(feature = "plant")]
#[must_use]
pub fn is(plant: Plant) -> bool {
    static NAME: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let name = match plant {
        Plant::AckBeforeFlush => "ack-before-flush",
        Plant::SlaveAckBeforeFlush => "slave-ack-before-flush",
        Plant::OffsetBack => "offset-back",
        Plant::TruncateTooMuch => "truncate-too-much",
    };
    NAME.get_or_init(|| std::env::var("ORBITMQ_PLANT").ok()).as_deref() == Some(name)
}

/// Nothing is planted.
#[cfg(not(feature = "plant"))]
#[must_use]
pub const fn is(_: Plant) -> bool {
    false
}

/// Records that [`Plant::TruncateTooMuch`] cuts.
const TOO_MANY: usize = 20;

/// Where a log is cut that loses acknowledged messages: once a process, if that is planted and there is enough to cut.
#[must_use]
pub fn cut(store: &crate::store::Store) -> Option<u64> {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DONE: AtomicBool = AtomicBool::new(false);
    if !is(Plant::TruncateTooMuch) || DONE.load(Ordering::Relaxed) {
        return None;
    }
    let (end, size) = (store.local(), store.segment_size());
    let base = end - end.checked_rem(size)?;
    let bytes = store.log_bytes(base, end, size)?;
    let records: Vec<u64> = orbitmq_common::message::entry::records(&bytes)
        .filter_map(|record| record.ok().map(|record| record.physical_offset))
        .collect();
    let cut = records.len().checked_sub(TOO_MANY).and_then(|index| records.get(index).copied());
    DONE.store(cut.is_some(), Ordering::Relaxed);
    cut
}

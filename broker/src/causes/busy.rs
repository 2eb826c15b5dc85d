//! A broker that takes nothing for the moment (2): whether the disk stands still, or more comes than it takes.

use std::time::Duration;

use orbitmq_common::protocol::code::response;

use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::store::error::AppendError;
use crate::store::stats::Pace;

/// A flush that takes longer is a disk that stands still, not a queue before it.
const STALL: Duration = Duration::from_millis(500);

impl Broker {
    /// The refusal of an append, which says what the disk is doing where that is the reason.
    #[must_use]
    pub fn not_appended(&self, error: AppendError) -> Refusal {
        let busy = matches!(error, AppendError::Busy { .. });
        let refusal = Refusal::from(error);
        if !busy {
            return refusal;
        }
        Refusal::new(response::SYSTEM_BUSY, format!("{}; {}", refusal.remark, told(self.store.pace())))
    }
}

fn told(pace: Pace) -> String {
    let Pace { running, mean, longest } = pace;
    match running {
        Some(running) if running >= STALL => format!(
            "the disk is slow: the flush at hand takes {running:?} by now (on average {mean:?}): look at the disk and what else uses it"
        ),
        _ => format!(
            "more arrives than the disk takes (a flush takes {mean:?} on average, {longest:?} at most): send more slowly, or to more \
             brokers"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_told_from_a_flood() {
        let (mean, longest) = (Duration::from_millis(3), Duration::from_secs(4));
        let pace = |running| told(Pace { running, mean, longest });
        assert!(pace(Some(Duration::from_secs(2))).starts_with("the disk is slow: the flush at hand takes 2s"));
        for running in [None, Some(Duration::from_millis(20))] {
            let flood = pace(running);
            assert!(flood.starts_with("more arrives than the disk takes (a flush takes 3ms on average, 4s"), "{flood}");
        }
    }
}

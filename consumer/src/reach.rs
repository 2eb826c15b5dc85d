//! Brokers that did not answer lately, and which member of a broker group to ask in their place.

use std::collections::HashMap;
use std::time::Duration;

use orbitmq_common::route::table::Broker;
use parking_lot::Mutex;
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// So long others stay away while one looks whether a broker is back.
const LOOK: Duration = Duration::from_secs(4);

#[derive(Debug, Clone, Copy)]
struct Failed {
    until: Instant,
    failures: u32,
    /// Somebody looks whether it is back.
    looked_at: bool,
}

/// Shared by all queues of a consumer, so that a broker that hangs holds up one of them at a time.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    failed: Mutex<HashMap<String, Failed>>,
}

impl Reach {
    /// A broker did not answer: it is left alone for longer each time.
    pub(crate) fn failed(&self, address: &str) {
        let mut all = self.failed.lock();
        let now = Instant::now();
        let known = all.entry(address.to_owned()).or_insert(Failed { until: now, failures: 0, looked_at: false });
        // Whoever had asked before it was left alone tells nothing new.
        if now < known.until && !std::mem::take(&mut known.looked_at) {
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << known.failures.min(8)).min(LONGEST_PAUSE);
        known.failures = known.failures.saturating_add(1);
        known.until = now + pause;
        known.looked_at = false;
    }

    /// A broker answered.
    pub(crate) fn answered(&self, address: &str) {
        let mut all = self.failed.lock();
        if !all.is_empty() {
            all.remove(address);
        }
    }

    /// Whether to ask a broker now. When its pause is over the first to come looks, and others wait for what it finds.
    fn may_ask(&self, address: &str) -> bool {
        let mut all = self.failed.lock();
        let Some(known) = all.get_mut(address) else { return true };
        let now = Instant::now();
        let over = known.until <= now;
        if over {
            known.until = now + LOOK;
            known.looked_at = true;
        }
        over
    }

    /// The member of a group to read from: `first` if it answers, else the master, else a slave that answers, else `first`
    /// all the same.
    pub(crate) fn reader<'b>(&self, broker: &'b Broker, first: i64) -> Option<&'b str> {
        broker.readers(first).find(|address| self.may_ask(address)).or_else(|| broker.readers(first).next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(members: &[(i64, &str)]) -> Broker {
        let addresses = members.iter().map(|(id, address)| (*id, (*address).to_owned())).collect();
        Broker { name: "b".into(), cluster: "c".to_owned(), addresses }
    }

    #[tokio::test]
    async fn another_member_is_read_while_one_does_not_answer() {
        let (reach, broker) = (Reach::default(), group(&[(0, "master"), (2, "two"), (3, "three")]));
        assert_eq!(reach.reader(&broker, 0), Some("master"));
        assert_eq!(reach.reader(&broker, 3), Some("three"));
        assert_eq!(reach.reader(&broker, 1), Some("master"), "there is no such member");
        reach.failed("master");
        assert_eq!(reach.reader(&broker, 0), Some("two"));
        reach.failed("two");
        assert_eq!(reach.reader(&broker, 0), Some("three"));
        reach.failed("three");
        assert_eq!(reach.reader(&broker, 0), Some("master"), "somebody has to be asked");
        reach.answered("master");
        assert_eq!(reach.reader(&broker, 3), Some("master"));
    }

    #[tokio::test]
    async fn one_at_a_time_looks_whether_a_broker_is_back() {
        let (reach, broker) = (Reach::default(), group(&[(0, "master"), (1, "slave")]));
        reach.failed("master");
        let back = tokio::time::timeout(Duration::from_secs(10), async {
            while reach.reader(&broker, 0) != Some("master") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        back.await.unwrap();
        assert_eq!(reach.reader(&broker, 0), Some("slave"), "while that one looks");
        reach.answered("master");
        assert_eq!(reach.reader(&broker, 0), Some("master"));
    }
}

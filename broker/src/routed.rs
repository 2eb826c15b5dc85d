//! What name servers were told of the topics, so that whoever made one hears of it when its route can be found.

use std::time::Duration;

use tokio::sync::watch;

use crate::meta::topics::Topics;

/// Longest wait for name servers: less than any client's time-out.
const LONGEST: Duration = Duration::from_secs(1);

/// What one name server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The topics as they were when their table had this number; -1: nothing yet.
    Upto(i64),
    /// It does not answer: nobody waits for it.
    Silent,
}

/// What all name servers of the list know.
#[derive(Debug)]
pub struct Routed(watch::Sender<Vec<Told>>);

impl Routed {
    /// Nothing yet.
    #[must_use]
    pub fn new(nameservers: usize) -> Self {
        Self(watch::Sender::new(vec![Told::Upto(-1); nameservers]))
    }

    /// The name server of this place in the list knows the table of this number, or (`None`) does not answer.
    pub fn told(&self, nameserver: usize, number: Option<i64>) {
        let now = number.map_or(Told::Silent, Told::Upto);
        self.0.send_if_modified(|all| match all.get_mut(nameserver) {
            Some(told) if *told != now => {
                *told = now;
                true
            }
            _ => false,
        });
    }

    /// Waits until every name server that answers knows the topics of now, but not for longer than a client does.
    pub async fn caught_up(&self, topics: &Topics) {
        let wanted = topics.version().counter;
        let knows = |told: &Told| match told {
            Told::Upto(number) => *number >= wanted,
            Told::Silent => true,
        };
        let mut told = self.0.subscribe();
        let all = told.wait_for(|all| all.iter().all(knows));
        if tokio::time::timeout(LONGEST, all).await.is_err() {
            tracing::warn!(
                "name servers were not told of a new topic within {LONGEST:?}; clients may not find it for a while"
            );
        }
    }
}

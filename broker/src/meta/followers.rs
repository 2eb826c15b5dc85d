//! How far each follower has stored the changes of metadata.

use std::collections::HashMap;

use tokio::sync::watch;

/// Number of the newest change that survives the end of a follower's process, by number of the member.
#[derive(Debug, Default)]
pub struct Followers(watch::Sender<HashMap<i64, u64>>);

impl Followers {
    /// A follower has stored everything up to this change. `None`: it has begun anew.
    pub fn note(&self, member: i64, number: Option<u64>) {
        self.0.send_if_modified(|followers| match number {
            None => followers.remove(&member).is_some(),
            Some(number) => {
                let known = followers.entry(member).or_default();
                let more = number > *known;
                *known = number.max(*known);
                more
            }
        });
    }

    /// Whether a member has stored everything up to this change.
    pub fn has(&self, member: i64, number: u64) -> bool {
        self.0.borrow().get(&member).is_some_and(|has| *has >= number)
    }

    /// Waits until each of these members has stored everything up to this change. Waits for ever if one does not come.
    pub async fn replicated(&self, number: u64, members: &[i64]) {
        let has = |followers: &HashMap<i64, u64>| {
            members.iter().all(|member| followers.get(member).is_some_and(|has| *has >= number))
        };
        let mut followers = self.0.subscribe();
        // It ends only with the sender, which is here.
        let _ = followers.wait_for(has).await;
    }
}

//! What was there and is no more, with the time of its end: for explanations, not for decisions. It ends with the process.

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;

/// Names remembered; of more the latest count.
const MOST: usize = 1024;

/// Names, and when what they named ended.
#[derive(Debug, Default)]
pub struct Removed {
    ends: Mutex<HashMap<String, Instant>>,
}

impl Removed {
    /// What this names has ended now.
    pub fn note(&self, name: &str) {
        let mut ends = self.ends.lock();
        if ends.len() >= MOST
            && !ends.contains_key(name)
            && let Some(oldest) = ends.iter().min_by_key(|(_, at)| **at).map(|(name, _)| name.clone())
        {
            ends.remove(&oldest);
        }
        ends.insert(name.to_owned(), Instant::now());
    }

    /// How long ago what this names ended last, if it ever did.
    #[must_use]
    pub fn since(&self, name: &str) -> Option<Duration> {
        self.ends.lock().get(name).map(Instant::elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_bounds() {
        let removed = Removed::default();
        for n in 0..2 * MOST {
            removed.note(&n.to_string());
        }
        assert!(removed.since("0").is_none() && removed.since(&(2 * MOST - 1).to_string()).is_some());
        assert_eq!(removed.ends.lock().len(), MOST);
    }
}

//! Encoded route answers, kept as long as no route has changed: routes are read far more often than written.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::RwLock;

#[derive(Debug, Default)]
struct Kept {
    /// The table's version that all of them show.
    version: u64,
    by_topic: HashMap<String, Bytes>,
}

/// Answers by topic. Only topics that exist are kept, so the table's size bounds this one.
#[derive(Debug, Default)]
pub struct Answers {
    kept: RwLock<Kept>,
}

impl Answers {
    /// The answer for a topic that shows this version of the table.
    pub fn get(&self, topic: &str, version: u64) -> Option<Bytes> {
        let kept = self.kept.read();
        if kept.version == version { kept.by_topic.get(topic).cloned() } else { None }
    }

    /// Keeps an answer built after `version` was read.
    pub fn put(&self, topic: &str, version: u64, answer: Bytes) {
        let mut kept = self.kept.write();
        if kept.version < version {
            *kept = Kept { version, by_topic: HashMap::new() };
        }
        if kept.version == version {
            kept.by_topic.insert(topic.to_owned(), answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_with_their_version() {
        let answers = Answers::default();
        answers.put("T", 3, Bytes::from_static(b"3"));
        assert_eq!(answers.get("T", 3).as_deref(), Some(&b"3"[..]));
        assert_eq!(answers.get("T", 4), None);
        answers.put("U", 4, Bytes::from_static(b"4"));
        answers.put("T", 3, Bytes::from_static(b"late"));
        assert_eq!(answers.get("T", 4), None, "a late builder does not bring an old answer back");
        assert_eq!(answers.get("U", 4).as_deref(), Some(&b"4"[..]));
    }
}

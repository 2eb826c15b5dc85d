//! Attributes of a topic whose broker drops what is sent to it twice.
//!
//! Their names and the form of their values are kept with the topic, on disk and on the wire, and stay.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Value;
use crate::name;

/// For how long a message is remembered after it was stored: `10m`, or a plain number of milliseconds. It opts a topic in.
pub const WINDOW: &str = "orbitmq.dedup.window";
/// How many messages are remembered at most.
pub const COUNT: &str = "orbitmq.dedup.count";
/// All attributes of ours begin so.
pub const PREFIX: &str = "orbitmq.";

/// Messages remembered where the topic does not say how many.
pub const DEFAULT_COUNT: usize = 1_000_000;
/// More are never remembered for one topic: some 1 GB of memory.
pub const MAX_COUNT: usize = 10_000_000;
/// Shortest window: a client's time for one try is of this order.
pub const MIN_WINDOW: Duration = Duration::from_secs(1);
/// Longest window.
pub const MAX_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a topic remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dedup {
    /// Messages that were stored longer ago are forgotten.
    pub window: Duration,
    /// Of more, the oldest are forgotten.
    pub count: usize,
}

/// Attributes that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DedupError {
    /// The window is no such time.
    #[error("{WINDOW} = '{0}': expected a time from 1s to 7d, such as 10m, or a number of milliseconds")]
    Window(String),
    /// The count is no such number.
    #[error("{COUNT} = '{0}': expected a number from 1 to {MAX_COUNT}")]
    Count(String),
    /// A count alone does nothing.
    #[error("{COUNT} has no effect without {WINDOW}: set that too, or remove both")]
    CountAlone,
    /// An attribute that begins like ours.
    #[error("'{0}' is not an attribute of a topic; those of OrbitMQ are {WINDOW} and {COUNT}")]
    Unknown(String),
    /// Messages come to such a topic more than once on purpose.
    #[error(
        "'{0}' cannot drop duplicates: messages come to retry topics, dead letters and topics of the system again on purpose"
    )]
    Topic(String),
}

impl Dedup {
    /// What a topic's attributes ask for; `None`: duplicates are stored.
    ///
    /// # Errors
    /// See [`DedupError`].
    pub fn of(topic: &str, attributes: &BTreeMap<String, String>) -> Result<Option<Self>, DedupError> {
        let of_ours = |key: &&String| key.starts_with(PREFIX) && *key != WINDOW && *key != COUNT;
        if let Some(unknown) = attributes.keys().find(of_ours) {
            return Err(DedupError::Unknown(unknown.clone()));
        }
        let count = match attributes.get(COUNT) {
            Some(text) => Some(parse_count(text).ok_or_else(|| DedupError::Count(text.clone()))?),
            None => None,
        };
        let Some(window) = attributes.get(WINDOW) else {
            return if count.is_some() { Err(DedupError::CountAlone) } else { Ok(None) };
        };
        let window = parse_window(window).ok_or_else(|| DedupError::Window(window.clone()))?;
        let again = [name::RETRY_PREFIX, name::DEAD_LETTER_PREFIX].iter().any(|prefix| topic.starts_with(prefix));
        if again || name::is_system_topic(topic) {
            return Err(DedupError::Topic(topic.to_owned()));
        }
        Ok(Some(Self { window, count: count.unwrap_or(DEFAULT_COUNT) }))
    }
}

fn parse_window(text: &str) -> Option<Duration> {
    let text = text.trim();
    let window = text.parse().map(Duration::from_millis).or_else(|_| Duration::parse(text)).ok()?;
    (MIN_WINDOW..=MAX_WINDOW).contains(&window).then_some(window)
}

fn parse_count(text: &str) -> Option<usize> {
    usize::parse(text.trim()).ok().filter(|count| (1..=MAX_COUNT).contains(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(topic: &str, pairs: &[(&str, &str)]) -> Result<Option<Dedup>, DedupError> {
        let attributes = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Dedup::of(topic, &attributes)
    }

    #[test]
    fn attributes_are_read() {
        let window = |text, seconds| {
            let wanted = Dedup { window: Duration::from_secs(seconds), count: DEFAULT_COUNT };
            assert_eq!(of("T", &[(WINDOW, text), ("message.type", "NORMAL")]), Ok(Some(wanted)), "{text}");
        };
        window("10m", 600);
        window(" 90000 ", 90);
        window("7d", 7 * 24 * 3600);
        let both = Dedup { window: MIN_WINDOW, count: 10_000 };
        assert_eq!(of("T", &[(WINDOW, "1s"), (COUNT, "10_000")]), Ok(Some(both)));
        assert_eq!(of("T", &[]), Ok(None));
        assert_eq!(of("%RETRY%g", &[("delete.policy", "x")]), Ok(None));
        // On disk and on the wire: stay.
        assert_eq!((WINDOW, COUNT), ("orbitmq.dedup.window", "orbitmq.dedup.count"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_cause() {
        for text in ["", "0", "999", "8d", "soon", "-1", "18446744073709551616"] {
            assert_eq!(of("T", &[(WINDOW, text)]), Err(DedupError::Window(text.to_owned())));
        }
        for text in ["", "0", "many", "10000001", "-1"] {
            assert_eq!(of("T", &[(WINDOW, "1s"), (COUNT, text)]), Err(DedupError::Count(text.to_owned())));
        }
        assert_eq!(of("T", &[(COUNT, "1")]), Err(DedupError::CountAlone));
        let unknown = of("T", &[("orbitmq.dedupe.window", "1s")]).unwrap_err();
        assert!(unknown.to_string().contains(WINDOW), "{unknown}");
        for topic in ["%RETRY%g", "%DLQ%g", "SCHEDULE_TOPIC_XXXX"] {
            assert_eq!(of(topic, &[(WINDOW, "1s")]), Err(DedupError::Topic(topic.to_owned())));
        }
    }
}

//! Names of topics and groups: what they may look like and which ones are special.

/// Longest name of a topic, bytes.
pub const MAX_TOPIC: usize = 127;
/// Longest name of a retry or dead-letter topic, bytes.
pub const MAX_DERIVED_TOPIC: usize = 255;
/// Longest name of a group, bytes.
pub const MAX_GROUP: usize = 120;

/// Before the group's name, makes the topic of its returned messages.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Before the group's name, makes the topic of its dead letters.
pub const DEAD_LETTER_PREFIX: &str = "%DLQ%";
/// The topic whose settings automatically created topics take over.
pub const DEFAULT_TOPIC: &str = "TBW102";
/// Where delayed messages wait; queue n holds level n + 1.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Where messages for a time of their own wait, in queue 0.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Where half messages of transactions wait.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Notes about ended transactions.
pub const HALF_OP_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Where clients write message traces.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// For benchmarks.
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// For self tests.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// A relic that clients may still ask for.
pub const OFFSET_MOVED_TOPIC: &str = "OFFSET_MOVED_EVENT";
/// Half messages whose outcome nobody told.
pub const CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Group under whose name brokers note how far they have come with half messages.
pub const TRANSACTION_GROUP: &str = "CID_RMQ_SYS_TRANS";
/// Before the cluster's name, makes the topic in which popped messages are noted.
pub const REVIVE_PREFIX: &str = "rmq_sys_REVIVE_LOG_";
/// The group whose offsets say how far those notes are dealt with.
pub const REVIVE_GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";
const SYSTEM_PREFIX: &str = "rmq_sys_";

/// Topics that clients may not send to.
const NO_SEND: [&str; 7] =
    [SCHEDULE_TOPIC, TIMER_TOPIC, HALF_TOPIC, HALF_OP_TOPIC, CHECK_MAX_TIME_TOPIC, SELF_TEST_TOPIC, OFFSET_MOVED_TOPIC];
const SYSTEM: [&str; 3] = [DEFAULT_TOPIC, TRACE_TOPIC, BENCHMARK_TOPIC];

/// A name cannot be used. The text says what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or blanks only.
    #[error("the {0} has no name")]
    Empty(&'static str),
    /// Too many bytes.
    #[error("the name of the {kind} has {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// Topic or group.
        kind: &'static str,
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A character that file names and property texts cannot hold.
    #[error("the name of the {kind} '{name}' holds '{character}'; allowed are letters, digits, '_', '-', '%' and '|'")]
    Character {
        /// Topic or group.
        kind: &'static str,
        /// The name.
        name: String,
        /// What is not allowed.
        character: char,
    },
}

/// Checks the name of a topic.
///
/// # Errors
/// See [`NameError`].
pub fn check_topic(name: &str) -> Result<(), NameError> {
    let derived = name.starts_with(RETRY_PREFIX) || name.starts_with(DEAD_LETTER_PREFIX);
    check("topic", name, if derived { MAX_DERIVED_TOPIC } else { MAX_TOPIC })
}

/// Checks the name of a group.
///
/// # Errors
/// See [`NameError`].
pub fn check_group(name: &str) -> Result<(), NameError> {
    check("group", name, MAX_GROUP)
}

fn check(kind: &'static str, name: &str, limit: usize) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Empty(kind));
    }
    if name.len() > limit {
        return Err(NameError::TooLong { kind, length: name.len(), limit });
    }
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '%' | '|');
    match name.chars().find(|c| !allowed(c)) {
        Some(character) => {
            let name = name.chars().take(40).collect();
            Err(NameError::Character { kind, name, character })
        }
        None => Ok(()),
    }
}

/// The topic of a group's returned messages.
#[must_use]
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// The topic of a group's dead letters.
#[must_use]
pub fn dead_letter_topic(group: &str) -> String {
    format!("{DEAD_LETTER_PREFIX}{group}")
}

/// The topic in which a cluster's popped messages are noted.
#[must_use]
pub fn revive_topic(cluster: &str) -> String {
    format!("{REVIVE_PREFIX}{cluster}")
}

/// The topic of messages that a group popped and did not acknowledge in time; the first form, RocketMQ's default.
#[must_use]
pub fn pop_retry_topic(group: &str, topic: &str) -> String {
    format!("{RETRY_PREFIX}{group}_{topic}")
}

/// The same in its second form, which can be taken apart again.
#[must_use]
pub fn pop_retry_topic_v2(group: &str, topic: &str) -> String {
    format!("{RETRY_PREFIX}{group}+{topic}")
}

/// The topic that a group popped first: of either form of its retry topic, or the topic itself.
#[must_use]
pub fn popped_topic<'a>(topic: &'a str, group: &str) -> &'a str {
    let rest = topic.strip_prefix(RETRY_PREFIX).and_then(|rest| rest.strip_prefix(group));
    rest.and_then(|rest| rest.strip_prefix(['_', '+'])).filter(|rest| !rest.is_empty()).unwrap_or(topic)
}

/// Whether clients may not send to the topic.
#[must_use]
pub fn is_closed_to_senders(topic: &str) -> bool {
    NO_SEND.contains(&topic) || topic.starts_with(REVIVE_PREFIX)
}

/// Whether the topic belongs to the system rather than to its users.
#[must_use]
pub fn is_system_topic(topic: &str) -> bool {
    is_closed_to_senders(topic) || SYSTEM.contains(&topic) || topic.starts_with(SYSTEM_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["T", "a-b_c|d%e", "%RETRY%group", &"x".repeat(127), &format!("%RETRY%{}", "g".repeat(200))] {
            assert_eq!(check_topic(good), Ok(()), "{good}");
        }
        for bad in
            ["", "  ", "a b", "a/b", "../x", "ü", "a\u{1}", &"x".repeat(128), &format!("%DLQ%{}", "g".repeat(251))]
        {
            assert!(check_topic(bad).is_err(), "{bad}");
        }
        assert!(check_group(&"g".repeat(121)).is_err());
    }
}

//! Why a topic has no route here, and what to do about it.

use std::fmt;
use std::time::{Duration, Instant};

use orbitmq_common::name::{self, DEAD_LETTER_PREFIX, DEFAULT_TOPIC, NameError, RETRY_PREFIX};
use orbitmq_common::plain::{ago, did_you_mean, meant};
use orbitmq_common::protocol::body::route::perm;

use crate::routes::registration::State;

/// Brokers of ours register within moments and those of RocketMQ's each 30 s: until then one that is missing need not be away.
const YOUNG: Duration = Duration::from_secs(35);
/// Brokers that a remark lists.
const LISTED: usize = 3;

/// Why there is no route.
#[derive(Debug, PartialEq, Eq)]
pub enum Absence {
    /// No topic can have that name.
    Name(NameError),
    /// Whoever held it has left; in words.
    Away {
        /// Each broker, why it left, and when.
        holders: Vec<String>,
        /// How many brokers are there.
        brokers: usize,
    },
    /// It was deleted.
    Deleted(Duration),
    /// Nobody is there.
    NoBroker {
        /// For how long this name server has been there.
        up: Duration,
        /// Who left last, and why.
        last: Option<String>,
        /// A registration that was refused not long ago, and why.
        refused: Option<String>,
    },
    /// The retry topic of a group, or that of its dead letters, which no broker has made yet.
    OfGroup {
        /// The group.
        group: String,
        /// For dead letters.
        dead: bool,
    },
    /// Nobody here has heard of it.
    Unknown {
        /// How many brokers are there.
        brokers: usize,
        /// Whether one of them makes topics on the first send.
        creates: bool,
        /// A topic of nearly that name.
        meant: Option<String>,
        /// For how long this name server has been there, if that is not long.
        young: Option<Duration>,
    },
}

impl Absence {
    /// Why `state` has no route of a topic.
    pub fn find(state: &State, topic: &str, now: Instant) -> Self {
        if let Err(error) = name::check_topic(topic) {
            return Self::Name(error);
        }
        let (gone, brokers) = (&state.gone, state.members.groups.len());
        let up = now.saturating_duration_since(gone.began);
        let holders: Vec<String> = gone.holders(topic).iter().take(LISTED).map(|one| one.told(now)).collect();
        if !holders.is_empty() {
            return Self::Away { holders, brokers };
        }
        if let Some(at) = gone.when_deleted(topic) {
            return Self::Deleted(now.saturating_duration_since(at));
        }
        if brokers == 0 {
            let refused = gone.last_refused(now).map(|(since, what)| format!("{}: {what}", ago(since)));
            return Self::NoBroker { up, last: gone.last().map(|one| one.told(now)), refused };
        }
        for (prefix, dead) in [(RETRY_PREFIX, false), (DEAD_LETTER_PREFIX, true)] {
            if let Some(group) = topic.strip_prefix(prefix) {
                return Self::OfGroup { group: group.to_owned(), dead };
            }
        }
        let inherited = state.queues.of(DEFAULT_TOPIC);
        let creates = inherited.is_some_and(|queues| queues.values().any(|queue| queue.perm & perm::INHERIT != 0));
        let meant = meant(topic, state.queues.names()).map(str::to_owned);
        Self::Unknown { brokers, creates, meant, young: (up < YOUNG).then_some(up) }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => write!(f, "no topic can have this name: {error}; correct it where it is used"),
            Self::Away { holders, brokers } => write!(
                f,
                "the brokers that held it are away ({}); {brokers} other broker name(s) registered here do not have it",
                holders.join("; ")
            ),
            Self::Deleted(since) => write!(
                f,
                "it was deleted {}: create it again with 'orbitmq topic create' or updateTopic, or stop using it",
                ago(*since)
            ),
            Self::NoBroker { up, last, refused } => {
                write!(f, "no broker is registered here at all; ")?;
                match (refused, last) {
                    (Some(refused), _) => write!(f, "one was refused {refused}"),
                    (None, Some(last)) => write!(f, "{last}"),
                    (None, None) if *up < YOUNG => write!(
                        f,
                        "this name server has just started ({}): wait for brokers to register, which takes up to 30 s, or look \
                         whether they name it in their 'nameserver' setting (namesrvAddr)",
                        ago(*up)
                    ),
                    (None, None) => write!(
                        f,
                        "none has registered since this name server started {}: start one that names it in its 'nameserver' \
                         setting (namesrvAddr) and can reach it, or ask another name server",
                        ago(*up)
                    ),
                }
            }
            Self::OfGroup { group, dead: false } => write!(
                f,
                "no consumer of group '{group}' has sent a heartbeat to a broker yet, which is when brokers make this topic: start \
                 one, or correct the group's name"
            ),
            Self::OfGroup { group, dead: true } => {
                write!(f, "group '{group}' has no dead letters: brokers make this topic with the first one")
            }
            Self::Unknown { brokers, creates, meant, young } => {
                write!(
                    f,
                    "it was never created at the {brokers} broker name(s) registered here{}; ",
                    did_you_mean(meant.as_deref())
                )?;
                if let Some(up) = young {
                    write!(f, "this name server started only {}, so brokers may still be on their way; ", ago(*up))?;
                }
                if *creates {
                    write!(
                        f,
                        "create it with 'orbitmq topic create' or updateTopic, or send to it first: its brokers make topics then"
                    )
                } else {
                    write!(
                        f,
                        "sending does not create topics here (auto_create_topics, autoCreateTopicEnable): create it with 'orbitmq \
                         topic create' or updateTopic"
                    )
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

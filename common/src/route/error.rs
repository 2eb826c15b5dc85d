//! Why a route could not be had: what each name server said.

/// A name server that was asked in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its `host:port`.
    pub nameserver: String,
    /// Whether it answered that it has no such route; else it did not answer, or not as a name server does.
    pub answered: bool,
    /// What it said, or why it did not.
    pub cause: String,
}

/// No route could be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The list of name servers is empty.
    #[error("no name server is given; name at least one as host:port")]
    NoNameServers,
    /// Name servers answered, and none knows the topic.
    #[error("topic '{topic}' has no route: {}{}; 'orbitmq doctor {topic}' looks at the whole way", list(asked), cure(asked, *creation))]
    NotFound {
        /// The topic.
        topic: String,
        /// What each name server said.
        asked: Vec<Attempt>,
        /// Whether a send could have made it.
        creation: Creation,
    },
    /// No name server answered.
    #[error("no name server answers about topic '{topic}': {}", list(asked))]
    Unreachable {
        /// The topic.
        topic: String,
        /// Why each of them failed.
        asked: Vec<Attempt>,
    },
}

/// Whether a send to an unknown topic can make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// Nobody wanted to send.
    NotAsked,
    /// Name servers do not know the topic either from which new ones take their settings.
    NotPossible,
}

impl RouteError {
    /// Whether the same question may have an answer a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::NoNameServers)
    }
}

fn list(asked: &[Attempt]) -> String {
    let one = |attempt: &Attempt| {
        let (server, cause) = (&attempt.nameserver, &attempt.cause);
        if attempt.answered {
            format!("name server {server} says '{cause}'")
        } else {
            format!("name server {server} cannot be asked: {cause}")
        }
    };
    asked.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn cure(asked: &[Attempt], creation: Creation) -> &'static str {
    match creation {
        _ if asked.iter().any(|attempt| !attempt.answered) => {
            "; perhaps those that cannot be asked know it: start them again, and have brokers name all name servers"
        }
        Creation::NotPossible => "; its brokers make no topics on the first send (auto_create_topics): create it",
        Creation::NotAsked => "",
    }
}

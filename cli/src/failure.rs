//! Why a command fails, in words that name the cause and the cure, and the exit code that scripts see.

use orbitmq_common::net::peer::CallError;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_consumer::error::BuildError as ConsumerError;
use orbitmq_producer::error::{BuildError as ProducerError, SendError};

/// Exit code of what was asked for and did not succeed. Scripts rely on it.
const FAILED: u8 = 1;
/// Exit code of a command line that cannot be meant so. Scripts rely on it.
const USAGE: u8 = 2;

/// A command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A server could not be asked.
    #[error("{cause}{}", cure(*.server, cause))]
    Call {
        /// What kind of server it is.
        server: Server,
        /// Why not.
        cause: CallError,
    },
    /// A server answered that it will not.
    #[error("{address} refused {}: {remark} (code {code}{})", request::name(*.kind).unwrap_or("the request"), code_name(*.code))]
    Refused {
        /// The server.
        address: String,
        /// Kind of the request.
        kind: i32,
        /// The answer's code.
        code: i32,
        /// What the server said.
        remark: String,
    },
    /// An answer cannot be read.
    #[error("{address} answered what this version does not read: {cause}")]
    Answer {
        /// The server.
        address: String,
        /// What is wrong.
        cause: String,
    },
    /// A message was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The producer does not start.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The consumer does not start.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// The threads of this program cannot be started.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    /// The output cannot be written.
    #[error("cannot print: {0}")]
    Print(std::io::Error),
    /// Anything that is told in words.
    #[error("{0}")]
    Other(String),
}

/// Kinds of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Knows the brokers.
    NameServer,
    /// Holds messages.
    Broker,
}

fn cure(server: Server, cause: &CallError) -> &'static str {
    match (server, cause) {
        (Server::NameServer, CallError::Connect { .. }) => {
            "; name a running name server with --nameserver or ORBITMQ_NAMESERVER, or start one with 'orbitmq dev'"
        }
        (Server::Broker, CallError::Connect { .. }) => {
            "; the name server gave this address: if it is not reachable from here, set the broker's 'advertise'"
        }
        (_, CallError::Timeout { .. }) => "; give it longer with --timeout",
        _ => "",
    }
}

fn code_name(code: i32) -> String {
    response::name(code).map(|name| format!(" {name}")).unwrap_or_default()
}

impl Failure {
    /// A failure told in words.
    pub fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }

    /// An answer of `address` that does not parse.
    pub fn answer(address: &str, cause: impl ToString) -> Self {
        Self::Answer { address: address.to_owned(), cause: cause.to_string() }
    }

    /// The code of the answer, where a server refused.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { USAGE } else { FAILED }
    }
}

//! Why the controller does not do what it is asked for.

use orbitmq_common::protocol::code::response;

use crate::controller::leases::NotRenewed;
use crate::controller::raft::WriteError;
use crate::controller::state::Refused;

/// A request to the controller is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControllerError {
    /// Another member leads, if any; its address is the whole remark, which brokers follow.
    #[error("{}", .0.as_deref().unwrap_or_default())]
    NotLeader(Option<String>),
    /// The quorum agreed on not doing it.
    #[error("{}", .0.remark)]
    Refused(Refused),
    /// The consensus in this process has ended.
    #[error("the controller in this name server has ended: {0}; see its log, cure the cause and start it again")]
    Ended(String),
    /// The name server stops.
    #[error("the name server is stopping: ask another one")]
    Stopping,
}

impl ControllerError {
    /// A refusal.
    pub fn refused(code: i32, remark: impl Into<String>) -> Self {
        Self::Refused(Refused { code, remark: remark.into() })
    }

    /// Code of the answer.
    pub fn code(&self) -> i32 {
        match self {
            Self::NotLeader(_) => response::CONTROLLER_NOT_LEADER,
            Self::Refused(refused) => refused.code,
            Self::Ended(_) | Self::Stopping => response::SYSTEM_ERROR,
        }
    }
}

impl From<Refused> for ControllerError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<NotRenewed> for ControllerError {
    fn from(error: NotRenewed) -> Self {
        Self::refused(response::CONTROLLER_INVALID_REQUEST, error.to_string())
    }
}

impl From<WriteError> for ControllerError {
    fn from(error: WriteError) -> Self {
        use openraft::error::{ClientWriteError, RaftError};
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
                Self::NotLeader(to.leader_node.map(|node| node.addr))
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
                Self::refused(response::CONTROLLER_INVALID_REQUEST, format!("the quorum stays as it is: {error}"))
            }
            RaftError::Fatal(fatal) => Self::Ended(fatal.to_string()),
        }
    }
}

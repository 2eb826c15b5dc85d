//! The one place where errors become codes and remarks of the wire.

use orbitmq_common::name::NameError;
use orbitmq_common::protocol::body::dedup::DedupError;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::fields::FieldError;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::relaxed::BodyError;

use crate::duplicates::memory::NotRead;
use crate::meta::db::DbError;
use crate::replica::metadata::settle::SettleError;
use crate::store::error::{AppendError, Poisoned, ReadError};
use crate::subscription::FilterError;
use crate::timer::gate::RecallError;
use crate::transaction::end::{BeginError, EndError};
use crate::tuned::TuneError;

/// Why a request is not done: a code for the client and a remark for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One of [`response`].
    pub code: i32,
    /// Cause and cure.
    pub remark: String,
}

impl Refusal {
    /// A refusal with its cause and cure.
    pub fn new(code: i32, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }

    /// A parameter that cannot be.
    pub fn invalid(remark: impl Into<String>) -> Self {
        Self::new(response::INVALID_PARAMETER, remark)
    }

    /// The answer to a request that was done, but not as well as it should have been: it keeps what it says.
    #[must_use]
    pub fn mark(self, answer: Frame) -> Frame {
        Frame { code: self.code, ..answer }.with_remark(self.remark)
    }

    /// The answer that carries this refusal.
    #[must_use]
    pub fn answer(self, request: &Frame) -> Frame {
        request.refuse(self.code, self.remark)
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::invalid(format!("the request's header does not fit: {error}"))
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<DedupError> for Refusal {
    fn from(error: DedupError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<FilterError> for Refusal {
    fn from(error: FilterError) -> Self {
        let code = match error {
            FilterError::Text(_) => response::SUBSCRIPTION_PARSE_FAILED,
            FilterError::Off => response::SYSTEM_ERROR,
        };
        Self::new(code, error.to_string())
    }
}

impl From<TuneError> for Refusal {
    fn from(error: TuneError) -> Self {
        let code = match error {
            TuneError::Closed { .. } => response::NO_PERMISSION,
            TuneError::Syntax(_) | TuneError::Value { .. } => response::INVALID_PARAMETER,
        };
        Self::new(code, error.to_string())
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        Self::new(response::SYSTEM_ERROR, format!("the change is in memory but could not be stored: {error}"))
    }
}

impl From<SettleError> for Refusal {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Db(error) => error.into(),
            SettleError::Slaves { .. } => Self::new(response::SYSTEM_ERROR, error.to_string()),
        }
    }
}

impl From<Poisoned> for Refusal {
    fn from(error: Poisoned) -> Self {
        Self::new(response::SERVICE_NOT_AVAILABLE, error.to_string())
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        let code = match &error {
            AppendError::Busy { .. } => response::SYSTEM_BUSY,
            AppendError::TooLarge { .. }
            | AppendError::IllegalTopic { .. }
            | AppendError::MixedBatch
            | AppendError::IllegalRecord(_) => response::MESSAGE_ILLEGAL,
            AppendError::Poisoned(_)
            | AppendError::DiskFull { .. }
            | AppendError::Reserve { .. }
            | AppendError::Elsewhere { .. }
            | AppendError::Closed => response::SERVICE_NOT_AVAILABLE,
        };
        let prefix = if code == response::SYSTEM_BUSY { "[REJECTREQUEST]" } else { "" };
        Self::new(code, format!("{prefix}{error}"))
    }
}

impl From<NotRead> for Refusal {
    fn from(error: NotRead) -> Self {
        Self::new(response::SYSTEM_BUSY, format!("[REJECTREQUEST]{error}"))
    }
}

impl From<BeginError> for Refusal {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::TooMany { .. } => Self::new(response::SYSTEM_BUSY, format!("[REJECTREQUEST]{error}")),
            BeginError::Append(error) => error.into(),
        }
    }
}

impl From<EndError> for Refusal {
    fn from(error: EndError) -> Self {
        match error {
            EndError::Append(error) => error.into(),
            EndError::TooLate | EndError::Ended => Self::new(response::ILLEGAL_OPERATION, error.to_string()),
            _ => Self::new(response::SYSTEM_ERROR, error.to_string()),
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::new(response::SYSTEM_ERROR, error.to_string())
    }
}

impl From<RecallError> for Refusal {
    fn from(error: RecallError) -> Self {
        match error {
            RecallError::Loading => Self::new(response::SERVICE_NOT_AVAILABLE, error.to_string()),
            RecallError::Due => Self::new(response::ILLEGAL_OPERATION, error.to_string()),
            RecallError::Append(error) => error.into(),
        }
    }
}

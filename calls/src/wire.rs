//! How a call travels: names of properties, what an answer says, bodies.
//!
//! These texts reach other programs and must stay as they are.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Fault, Refusal};

/// The method that is called.
pub(crate) const METHOD: &str = "CALL_METHOD";
/// Who calls.
pub(crate) const CALLER: &str = "CALL_CALLER";
/// Until when the answer is wanted, ms since 1970 by the caller's clock.
pub(crate) const DEADLINE: &str = "CALL_DEADLINE";
/// What an answer is: see [`Status`].
pub(crate) const STATUS: &str = "CALL_STATUS";
/// Largest body of an answer, as brokers allow by default.
pub(crate) const MAX_ANSWER: usize = 4 << 20;

/// No deadline is farther away.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3600);

const OK: &str = "ok";
const FAULT: &str = "fault";

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    /// The body is the result.
    Ok,
    /// The body is a [`Fault`].
    Fault,
    /// The body is a text.
    Refused(Refusal),
}

impl Status {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => OK,
            Self::Fault => FAULT,
            Self::Refused(refusal) => refusal.as_str(),
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            OK => Some(Self::Ok),
            FAULT => Some(Self::Fault),
            _ => Refusal::ALL.into_iter().find(|refusal| refusal.as_str() == text).map(Self::Refused),
        }
    }
}

/// An answer on its way.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub status: Status,
    pub body: Bytes,
}

impl Answer {
    pub(crate) fn refused(refusal: Refusal, text: impl Into<String>) -> Self {
        Self { status: Status::Refused(refusal), body: text.into().into() }
    }

    pub(crate) fn fault(fault: &Fault) -> Self {
        match encode(fault) {
            Ok(body) => Self { status: Status::Fault, body },
            Err(cause) => Self::refused(Refusal::Broken, cause),
        }
    }
}

/// MessagePack with the names of fields, so that either side may add some.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes, String> {
    rmp_serde::to_vec_named(value).map(Bytes::from).map_err(|error| error.to_string())
}

pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(body).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statuses_come_back() {
        let all = Refusal::ALL.into_iter().map(Status::Refused).chain([Status::Ok, Status::Fault]);
        for status in all {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        assert_eq!(Status::parse("OK"), None);
    }

    proptest! {
        #[test]
        fn bodies_come_back(code: i32, text: String) {
            let fault = Fault { code, text };
            prop_assert_eq!(decode::<Fault>(&encode(&fault).unwrap()).unwrap(), fault);
        }

        #[test]
        fn garbage_is_refused_or_read(body: Vec<u8>) {
            drop(decode::<(String, Vec<Fault>)>(&body));
        }
    }
}

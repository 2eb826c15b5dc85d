//! The tries of one send that failed.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{FailedTry, SendError};

/// Failed tries that an error lists.
const LISTED: usize = 8;

/// What became of the tries so far.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    listed: Vec<FailedTry>,
    counted: usize,
    last_broker: Option<Arc<str>>,
    /// Whether one of them may have stored the message.
    pub maybe_stored: bool,
}

impl Tries {
    /// Notes one; `counts`: it may not be repeated for ever.
    pub(crate) fn note(&mut self, broker: &Arc<str>, one: FailedTry, counts: bool) {
        self.counted += usize::from(counts);
        self.last_broker = Some(Arc::clone(broker));
        let one = FailedTry { broker: broker.as_ref().to_owned(), ..one };
        // A broker that says the same again and again is listed once.
        if self.listed.last().is_some_and(|last| last.broker == one.broker && last.code == one.code) {
            self.listed.pop();
        }
        if self.listed.len() == LISTED {
            self.listed.remove(0);
        }
        self.listed.push(one);
    }

    /// Tries that may not be repeated for ever.
    pub(crate) fn counted(&self) -> usize {
        self.counted
    }

    /// The broker of the last one.
    pub(crate) fn last_broker(&self) -> Option<&str> {
        self.last_broker.as_deref()
    }

    /// The error of a send that ends with these after `elapsed`.
    pub(crate) fn into_error(self, elapsed: Duration) -> SendError {
        SendError::Failed { elapsed, tries: self.listed, maybe_stored: self.maybe_stored }
    }
}

//! How this broker stands among the copies of its messages, as far as its readers should know.

use orbitmq_common::protocol::body::route::MASTER_ID;

use crate::broker::Broker;

impl Broker {
    /// Whether a slave has what this master has, so that a reader may be sent there.
    #[must_use]
    pub fn has_readable_slave(&self) -> bool {
        false
    }

    /// Whether this broker copies another one.
    #[must_use]
    pub fn is_slave(&self) -> bool {
        self.config.id != MASTER_ID
    }

    /// Whether this slave hears nothing of its master.
    #[must_use]
    pub fn master_is_gone(&self) -> bool {
        false
    }
}

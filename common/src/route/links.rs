//! Open connections by address, found again without waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use crate::net::client::{Client, Link, no_connection_within};
use crate::net::peer::CallError;

/// The connections of one client library, on top of its [`Client`].
#[derive(Debug)]
pub struct Links {
    client: Arc<Client>,
    open: RwLock<HashMap<String, Link>>,
}

impl Links {
    /// Connections made by `client`.
    #[must_use]
    pub fn new(client: Arc<Client>) -> Self {
        Self { client, open: RwLock::default() }
    }

    /// The connection to `address` if it is open.
    #[must_use]
    pub fn open(&self, address: &str) -> Option<Link> {
        self.open.read().get(address).filter(|link| !link.peer().is_closed()).cloned()
    }

    /// The connection to `address`, made if need be within `deadline`.
    ///
    /// # Errors
    /// [`CallError::Connect`].
    pub async fn get(&self, address: &str, deadline: Duration) -> Result<Link, CallError> {
        if let Some(link) = self.open(address) {
            return Ok(link);
        }
        let link = tokio::time::timeout(deadline, self.client.link(address))
            .await
            .map_err(|_| CallError::Connect { address: address.to_owned(), cause: no_connection_within(deadline) })??;
        self.open.write().insert(address.to_owned(), link.clone());
        Ok(link)
    }

    /// Connects to `address` without a pause after failures: it is known to be back.
    pub fn forget_failures(&self, address: &str) {
        self.client.forget_failures(address);
    }

    /// Ends all connections.
    pub fn close(&self) {
        self.client.close();
        self.open.write().clear();
    }
}

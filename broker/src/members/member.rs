//! One connected client, as groups know it.

use std::sync::Arc;
use std::time::Instant;

use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::body::examine::ProducerInfo;
use orbitmq_common::protocol::body::group::Connection;
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::json::language_name;

/// One connected client.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its connection.
    pub peer: Arc<Peer>,
    /// Its id.
    pub client_id: String,
    /// Its language's code.
    pub language: u8,
    /// Its protocol version.
    pub version: i32,
    /// The encoding it reads.
    pub encoding: Encoding,
    pub(super) seen: Instant,
}

impl Member {
    /// The sender of a heartbeat.
    #[must_use]
    pub fn new(peer: &Arc<Peer>, client_id: &str, frame: &Frame) -> Self {
        // Clients of RocketMQ's read JSON whatever they write.
        let encoding = if frame.encoding == Encoding::MessagePack { Encoding::MessagePack } else { Encoding::Json };
        Self {
            peer: Arc::clone(peer),
            client_id: client_id.to_owned(),
            language: frame.language,
            version: frame.version,
            encoding,
            seen: Instant::now(),
        }
    }

    /// The member as administrators see it.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection {
            client_addr: self.peer.remote().to_string(),
            client_id: self.client_id.clone(),
            language: language_name(self.language).to_owned(),
            version: self.version,
        }
    }

    /// A producer as administrators see it; `now`: ms since the epoch.
    #[must_use]
    pub fn producer_info(&self, now: i64) -> ProducerInfo {
        let Connection { client_addr, client_id, language, version } = self.connection();
        let silent = i64::try_from(self.seen.elapsed().as_millis()).unwrap_or(0);
        ProducerInfo { client_id, language, last_update_timestamp: now - silent, remote_ip: client_addr, version }
    }
}

//! A name server and a broker in this process, for programs that want no other.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use orbitmq_broker::config::Config as BrokerConfig;
use orbitmq_broker::node::{Node as Broker, StartError as BrokerError};
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_nameserver::config::Config as NameServerConfig;
use orbitmq_nameserver::node::{Node as NameServer, StartError as NameServerError};

const QUEUES: i32 = 4;
/// Smaller than a broker's default: these programs send little.
const SEGMENT: u64 = 32 << 20;

/// The embedded cluster does not start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("the embedded name server does not start: {0}")]
    NameServer(#[from] NameServerError),
    #[error("the embedded broker does not start: {0}")]
    Broker(#[from] BrokerError),
}

/// A running cluster of one broker, on loopback ports of the system's choice.
pub struct Embedded {
    nameserver: NameServer,
    broker: Broker,
}

impl Embedded {
    /// Starts a cluster that keeps its data below `dir` and has these topics.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn start(dir: &Path, topics: &[&str]) -> Result<Self, ClusterError> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let data_dir = Some(dir.join("nameserver"));
        let nameserver =
            NameServer::start(NameServerConfig { listen, data_dir, ..NameServerConfig::default() }).await?;
        let mut config = BrokerConfig::local(dir.join("broker"), vec![nameserver.addr.to_string()]);
        config.store.segment_size = SEGMENT;
        config.store.reserve_ahead = SEGMENT / 4;
        config.store.reserve_step = SEGMENT / 4;
        let broker = Broker::start(config).await?;
        for topic in topics {
            let settings = || TopicConfig::new(*topic, QUEUES, perm::READ | perm::WRITE);
            broker.broker().topics.ensure(topic, settings);
        }
        Ok(Self { nameserver, broker })
    }

    /// Where clients ask for routes.
    pub fn nameserver(&self) -> SocketAddr {
        self.nameserver.addr
    }

    /// Where clients send and pull.
    pub fn broker(&self) -> SocketAddr {
        self.broker.address()
    }

    /// Stops the broker, then the name server.
    pub async fn stop(self) {
        self.broker.stop().await;
        self.nameserver.shutdown().await;
    }
}

//! A name server and a broker in this process, for programs that want no other.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_broker::config::Config as BrokerConfig;
use orbitmq_broker::node::{Node as Broker, StartError as BrokerError};
use orbitmq_common::net::client::{Client, ClientOptions};
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::route::error::RouteError;
use orbitmq_common::route::finder::{FinderOptions, RouteFinder};
use orbitmq_common::route::links::Links;
use orbitmq_nameserver::config::Config as NameServerConfig;
use orbitmq_nameserver::node::{Node as NameServer, StartError as NameServerError};
use tokio::time::{Instant, sleep};

const QUEUES: i32 = 4;
/// Smaller than a broker's default: these programs send little.
const SEGMENT: u64 = 32 << 20;
/// How long the broker may take to be in the routes.
const ROUTES_BOUND: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The embedded cluster does not start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("the embedded name server does not start: {0}")]
    NameServer(#[from] NameServerError),
    #[error("the embedded broker does not start: {0}")]
    Broker(#[from] BrokerError),
    #[error("the embedded broker does not come into the routes: {0}")]
    Routes(#[from] RouteError),
}

/// A running cluster of one broker, on loopback ports of the system's choice.
pub struct Embedded {
    nameserver: NameServer,
    broker: Broker,
}

impl Embedded {
    /// Starts a cluster that keeps its data below `dir` and has these topics; they are in the routes when this returns.
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
        in_routes(nameserver.addr, topics).await?;
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

/// Waits until clients find these topics.
async fn in_routes(nameserver: SocketAddr, topics: &[&str]) -> Result<(), RouteError> {
    let deadline = Instant::now() + ROUTES_BOUND;
    let links = Arc::new(Links::new(Arc::new(Client::new(ClientOptions::default()))));
    let finder = RouteFinder::new(Arc::clone(&links), vec![nameserver.to_string()], FinderOptions::default())?;
    let mut result = Ok(());
    for topic in topics {
        loop {
            match finder.fresh(topic).await {
                Ok(_) => break,
                Err(error) if Instant::now() >= deadline => {
                    result = Err(error);
                    break;
                }
                Err(_) => sleep(LOOK_EVERY).await,
            }
        }
    }
    finder.stop();
    links.close();
    result
}

//! A name server and a broker in this process.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use orbitmq_broker::config::Config;
use orbitmq_broker::node::Node;
use orbitmq_broker::store::options::IndexSize;

use crate::go::Go;

pub struct Servers {
    pub broker: SocketAddr,
    pub nameserver: SocketAddr,
    nodes: Option<(Node, orbitmq_nameserver::node::Node)>,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Servers {
    /// Both, once the broker is routed. It asks about half messages after a moment.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (node, nameserver) = runtime.block_on(async {
            let config = orbitmq_nameserver::config::Config {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                ..Default::default()
            };
            let nameserver = orbitmq_nameserver::node::Node::start(config).await.unwrap();
            let mut config = Config::local(dir.path(), vec![nameserver.addr.to_string()]);
            config.store.segment_size = 16 << 20;
            config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
            config.transactions.timeout = Duration::from_millis(200);
            config.transactions.check_interval = Duration::from_millis(200);
            (Node::start(config).await.unwrap(), nameserver)
        });
        let (broker, address) = (node.bound(), nameserver.addr);
        let servers = Self { broker, nameserver: address, nodes: Some((node, nameserver)), runtime, _dir: dir };
        servers.routed("TBW102");
        servers
    }

    /// Waits until the name server knows a topic.
    pub fn routed(&self, topic: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut go = Go::connect(self.nameserver);
        while go.ask(105, &[("topic", topic)], b"").code != 0 {
            assert!(Instant::now() < deadline, "{topic} is never routed");
            std::thread::yield_now();
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some((node, nameserver)) = self.nodes.take() {
            self.runtime.block_on(async {
                node.stop().await;
                nameserver.shutdown().await;
            });
        }
    }
}

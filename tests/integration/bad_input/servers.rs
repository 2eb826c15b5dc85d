//! A name server and a broker in this process, and the panics of their threads.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use orbitmq_broker::config::Config;
use orbitmq_broker::node::Node;
use orbitmq_broker::store::options::{IndexSize, Options};
use orbitmq_common::message::sysflag::pull;
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::nameserver::RouteRequest;
use orbitmq_common::protocol::header::pull::PullRequest;
use orbitmq_common::protocol::header::send::SendRequestV2;
use parking_lot::{Mutex, MutexGuard, Once};

use crate::wire::Wire;

/// A topic that is there.
pub const TOPIC: &str = "sound";
/// A group that is there.
pub const GROUP: &str = "readers";

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Memory is the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Both servers; dropping them stops them and fails the test if any of their threads panicked.
pub struct Servers {
    pub broker: SocketAddr,
    pub nameserver: SocketAddr,
    nodes: Option<(Node, orbitmq_nameserver::node::Node)>,
    runtime: Option<tokio::runtime::Runtime>,
    _dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Servers {
    pub fn start() -> Self {
        watch_panics();
        let alone = ALONE.lock();
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (node, nameserver) = runtime.block_on(async {
            let config = orbitmq_nameserver::config::Config {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                ..Default::default()
            };
            let nameserver = orbitmq_nameserver::node::Node::start(config).await.unwrap();
            let node = Node::start(config_of(dir.path(), nameserver.addr)).await.unwrap();
            (node, nameserver)
        });
        await_route(nameserver.addr);
        let servers = Self {
            broker: node.bound(),
            nameserver: nameserver.addr,
            nodes: Some((node, nameserver)),
            runtime: Some(runtime),
            _dir: dir,
            _alone: alone,
        };
        servers.serve_still();
        servers
    }

    /// Both servers do what they are there for.
    pub fn serve_still(&self) {
        let mut broker = Wire::connect(self.broker);
        let sent = broker.ask(send(Encoding::Json, TOPIC, b"sound"));
        assert_eq!((sent.code, sent.remark), (0, None));
        let pulled = broker.ask(pull_at(0));
        assert_eq!(pulled.code, 0, "{:?}", pulled.remark);
        assert!(pulled.body_len() > 0);
        let route = Wire::connect(self.nameserver).ask(route());
        assert_eq!((route.code, route.remark), (0, None));
        assert_eq!(*PANICS.lock(), Vec::<String>::new(), "threads of a server panicked");
    }
}

/// Asks for a route that is there once the broker has registered.
fn route() -> Frame {
    let header = RouteRequest { topic: "TBW102".into(), accept_standard_json_only: None };
    Frame::request(request::GET_ROUTEINFO_BY_TOPIC, Encoding::Json).with_fields(&header)
}

fn await_route(nameserver: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut wire = Wire::connect(nameserver);
    while wire.ask(route()).code != 0 {
        assert!(Instant::now() < deadline, "the broker never registers");
        std::thread::yield_now();
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let (Some((node, nameserver)), Some(runtime)) = (self.nodes.take(), self.runtime.take()) {
            runtime.block_on(async {
                node.stop().await;
                nameserver.shutdown().await;
            });
        }
        let panics = std::mem::take(&mut *PANICS.lock());
        if !std::thread::panicking() {
            assert!(panics.is_empty(), "threads of a server panicked: {panics:#?}");
        }
    }
}

fn config_of(dir: &Path, nameserver: SocketAddr) -> Config {
    let mut config = Config::local(dir.join("store"), vec![nameserver.to_string()]);
    config.store = Options {
        segment_size: 64 << 20,
        index: Some(IndexSize { slots: 10_007, entries: 40_000 }),
        reserve_ahead: 8 << 20,
        reserve_step: 8 << 20,
        ..config.store
    };
    config
}

/// Threads of the servers that panic leave their tests unharmed; this writes them down.
fn watch_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            if thread.name().is_none_or(|name| name.starts_with("tokio") || name.starts_with("store")) {
                PANICS.lock().push(info.to_string());
            }
            before(info);
        }));
    });
}

/// A send that a broker takes.
pub fn send(encoding: Encoding, topic: &str, body: &[u8]) -> Frame {
    let header = SendRequestV2 {
        producer_group: "writers".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        properties: Some("KEYS\u{1}k\u{2}".into()),
        ..SendRequestV2::default()
    };
    Frame::request(request::SEND_MESSAGE_V2, encoding).with_fields(&header).with_body(body.to_vec())
}

/// A pull of queue 0 from an offset that answers at once.
pub fn pull_at(offset: i64) -> Frame {
    let header = PullRequest {
        consumer_group: GROUP.into(),
        topic: TOPIC.into(),
        queue_offset: offset,
        max_msg_nums: 8,
        sys_flag: pull::SUBSCRIPTION as i32,
        subscription: Some("*".into()),
        ..PullRequest::default()
    };
    Frame::request(request::PULL_MESSAGE, Encoding::Json).with_fields(&header)
}

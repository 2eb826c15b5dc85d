//! A cluster of two brokers, and nodes of a small service on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orbitmq_calls::{Caller, CallerBuilder, Fault, Incoming, Method, Provider, ProviderBuilder};
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::session::Session;
use orbitmq_tests::wait::{time_until, until};
use tokio::sync::Notify;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Answers with the node's name.
pub const WHO: Method<(), String> = Method::new("greeting", "who");
/// Doubles; refuses numbers over a million.
pub const DOUBLE: Method<u64, u64> = Method::new("greeting", "double");
/// Answers with the node's name once the node is let go.
pub const HOLD: Method<(), String> = Method::new("greeting", "hold");
/// Panics.
pub const BREAK: Method<(), ()> = Method::new("greeting", "break");

pub struct Cluster {
    _place: Place,
    pub nameserver: Daemon,
    pub brokers: Vec<Daemon>,
}

impl Cluster {
    pub async fn start() -> Self {
        let place = Place::new(TESTD);
        let nameserver = place.nameserver("n").start();
        let list = std::slice::from_ref(&nameserver);
        let brokers: Vec<Daemon> = ["a", "b"].iter().map(|name| place.broker(name).nameservers(list).start()).collect();
        let session = Session::new(nameserver.address());
        let both = async || session.route("TBW102").await.unwrap().unwrap_or_default().broker_datas.len() == 2;
        time_until("both brokers are routed", PATIENCE, both).await;
        Self { _place: place, nameserver, brokers }
    }

    pub fn provider(&self, node: &str) -> (ProviderBuilder, Arc<Node>) {
        let state = Arc::new(Node { name: node.to_owned(), ..Node::default() });
        let builder = Provider::builder().nameservers([self.nameserver.address()]).node(node);
        let (who, held) = (Arc::clone(&state), Arc::clone(&state));
        let builder = builder
            .offer(WHO, move |(), _| {
                who.calls.fetch_add(1, Ordering::Relaxed);
                let name = who.name.clone();
                async move { Ok(name) }
            })
            .offer(DOUBLE, |number: u64, incoming: Incoming| async move {
                assert_eq!(incoming.caller, "tester");
                if number > 1_000_000 { Err(Fault::new(7, "too large")) } else { Ok(2 * number) }
            })
            .offer(HOLD, move |(), _| hold(Arc::clone(&held)))
            .offer(BREAK, |(), _| async { panic!("as asked") });
        (builder, state)
    }

    pub async fn node(&self, name: &str) -> (Provider, Arc<Node>) {
        let (builder, state) = self.provider(name);
        (builder.build().await.unwrap(), state)
    }

    pub fn caller(&self) -> CallerBuilder {
        Caller::builder().nameservers([self.nameserver.address()]).name("tester").within(PATIENCE)
    }

    /// A caller that knows of so many nodes.
    pub async fn caller_of(&self, nodes: usize) -> Caller {
        let caller = self.caller().build().await.unwrap();
        knows(&caller, nodes).await;
        caller
    }
}

pub async fn knows(caller: &Caller, nodes: usize) {
    until("the caller knows the nodes", PATIENCE, async || {
        (caller.nodes(WHO.service()).await.unwrap().len() == nodes).then_some(())
    })
    .await;
}

/// What happens at a node.
#[derive(Default)]
pub struct Node {
    pub name: String,
    /// Calls of `who`.
    pub calls: AtomicU64,
    /// Calls of `hold` that began.
    pub held: AtomicU64,
    /// Those that ended in any way.
    pub ended: AtomicU64,
    pub release: Notify,
}

impl Node {
    pub async fn until_held(&self, calls: u64) {
        let begun = async || (self.held.load(Ordering::Relaxed) >= calls).then_some(());
        until("the node holds a call", PATIENCE, begun).await;
    }
}

async fn hold(node: Arc<Node>) -> Result<String, Fault> {
    struct Ends(Arc<Node>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
    let _ends = Ends(Arc::clone(&node));
    let released = node.release.notified();
    node.held.fetch_add(1, Ordering::Relaxed);
    released.await;
    Ok(node.name.clone())
}

//! Checks of finding routes against fake name servers.

use std::sync::atomic::AtomicBool;

use crate::net::client::{Client, ClientOptions, answer_hello};
use crate::net::connection::{ConnectionOptions, Handler, Outcome};
use crate::net::peer::Peer;
use crate::net::server::{bind, serve};
use crate::protocol::body::route::{BrokerData, QueueData};
use crate::protocol::frame::Frame;

use super::*;

/// What a fake name server knows, and how often it was asked.
#[derive(Default)]
struct Fake {
    routes: Mutex<HashMap<String, TopicRoute>>,
    asked: AtomicUsize,
    silent: AtomicBool,
}

impl Handler for Fake {
    fn call(&self, _: &Arc<Peer>, frame: Frame) -> Outcome {
        if frame.code == request::HELLO {
            return Outcome::Answer(answer_hello(&frame));
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.silent.load(Ordering::Relaxed) {
            return Outcome::Nothing;
        }
        let fields: RouteRequest<'_> = frame.fields().unwrap();
        Outcome::Answer(match self.routes.lock().get(fields.topic.as_ref()) {
            Some(route) => frame.answer(response::SUCCESS).with_json(route),
            None => frame.refuse(response::TOPIC_NOT_EXIST, "never heard of it"),
        })
    }
}

struct Running {
    fake: Arc<Fake>,
    address: String,
    stop: CancellationToken,
    done: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.done.await.unwrap();
    }
}

fn start() -> Running {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (fake, stop) = (Arc::new(Fake::default()), CancellationToken::new());
    let options = ConnectionOptions { drain: Duration::ZERO, ..ConnectionOptions::default() };
    let done = tokio::spawn(serve(listener, Arc::<Fake>::clone(&fake), options, 100, stop.clone()));
    Running { fake, address, stop, done }
}

fn route(queues: i32) -> TopicRoute {
    TopicRoute {
        broker_datas: vec![BrokerData {
            broker_addrs: [(0, "h:1".to_owned()), (1, "h:2".to_owned())].into(),
            broker_name: "b".to_owned(),
            cluster: "c".to_owned(),
            enable_acting_master: false,
            zone_name: None,
        }],
        queue_datas: vec![QueueData {
            broker_name: "b".to_owned(),
            perm: 6,
            read_queue_nums: queues,
            topic_sys_flag: 0,
            write_queue_nums: queues,
        }],
        ..TopicRoute::default()
    }
}

fn finder(servers: &[&str], refresh: Duration) -> RouteFinder {
    let client = Client::new(ClientOptions::default());
    let options = FinderOptions { refresh, ask_timeout: Duration::from_millis(300), ..FinderOptions::default() };
    let servers = servers.iter().map(|server| (*server).to_owned()).collect();
    RouteFinder::new(Arc::new(Links::new(Arc::new(client))), servers, options).unwrap()
}

const NEVER: Duration = Duration::from_secs(3600);

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waited).await.unwrap_or_else(|_| panic!("{what} never happened"));
}

#[tokio::test]
async fn any_name_server_that_knows_the_topic_answers() {
    let (empty, full, silent) = (start(), start(), start());
    silent.fake.silent.store(true, Ordering::Relaxed);
    full.fake.routes.lock().insert("t".to_owned(), route(4));
    let finder = finder(&[&silent.address, "127.0.0.1:1", &empty.address, &full.address], NEVER);
    let found = finder.find("t").await.unwrap();
    assert_eq!((found.writable.len(), found.master("b")), (4, Some("h:1")));
    // From now on the one that answered is asked first.
    let before = silent.fake.asked.load(Ordering::Relaxed);
    finder.fresh("t").await.unwrap();
    assert_eq!(silent.fake.asked.load(Ordering::Relaxed), before);
}

#[tokio::test]
async fn errors_name_every_name_server_and_its_reason() {
    let (empty, silent) = (start(), start());
    silent.fake.silent.store(true, Ordering::Relaxed);
    let error = finder(&[&empty.address, "127.0.0.1:1"], NEVER).find("t").await.unwrap_err();
    assert!(matches!(error, RouteError::NotFound { .. }));
    let text = error.to_string();
    for part in ["'t'", empty.address.as_str(), "never heard of it", "127.0.0.1:1", "cannot connect"] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    let error = finder(&[&silent.address, "127.0.0.1:1"], NEVER).find("t").await.unwrap_err();
    assert!(matches!(error, RouteError::Unreachable { .. }), "{error}");
    assert!(
        RouteFinder::new(finder(&["x:1"], NEVER).inner.links.clone(), Vec::new(), FinderOptions::default()).is_err()
    );
}

#[tokio::test]
async fn the_last_known_route_outlives_all_name_servers() {
    let server = start();
    server.fake.routes.lock().insert("t".to_owned(), route(4));
    let finder = finder(&[&server.address], NEVER);
    finder.find("t").await.unwrap();
    server.fake.routes.lock().clear();
    assert!(finder.fresh("t").await.is_err());
    server.stop().await;
    assert!(finder.fresh("t").await.is_err());
    assert_eq!(finder.find("t").await.unwrap().writable.len(), 4);
}

#[tokio::test]
async fn a_sign_of_staleness_refreshes_once_and_tells_of_the_change() {
    let server = start();
    server.fake.routes.lock().insert("t".to_owned(), route(4));
    let finder = finder(&[&server.address], NEVER);
    finder.find("t").await.unwrap();
    let mut changes = finder.changes();
    server.fake.routes.lock().insert("t".to_owned(), route(8));
    let before = server.fake.asked.load(Ordering::Relaxed);
    for _ in 0..1000 {
        finder.stale("t");
    }
    tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
    assert_eq!(finder.find("t").await.unwrap().writable.len(), 8);
    assert_eq!(server.fake.asked.load(Ordering::Relaxed) - before, 1);
}

#[tokio::test]
async fn one_sign_has_a_route_asked_for_until_it_changes() {
    let server = start();
    server.fake.routes.lock().insert("t".to_owned(), route(4));
    let finder = finder(&[&server.address], NEVER);
    finder.find("t").await.unwrap();
    let before = server.fake.asked.load(Ordering::Relaxed);
    finder.stale("t");
    until("a second question", || server.fake.asked.load(Ordering::Relaxed) >= before + 2).await;
    let mut changes = finder.changes();
    server.fake.routes.lock().insert("t".to_owned(), route(8));
    tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
    // Signs end by themselves, too.
    finder.stale("t");
    until("an end", || !finder.inner.signs.lock().get("t").unwrap().chased).await;
}

#[tokio::test]
async fn the_timer_refreshes_what_is_known() {
    let server = start();
    server.fake.routes.lock().insert("t".to_owned(), route(4));
    let finder = finder(&[&server.address], Duration::from_millis(20));
    finder.find("t").await.unwrap();
    server.fake.routes.lock().insert("t".to_owned(), route(2));
    until("a refresh", || finder.table().get("t").is_some_and(|route| route.writable.len() == 2)).await;
}

#[tokio::test]
async fn an_unknown_topic_is_lent_the_default_topics_queues() {
    let server = start();
    let finder = finder(&[&server.address], NEVER);
    assert!(matches!(finder.find_or_default("new", 4).await, Err(RouteError::NotFound { .. })));
    server.fake.routes.lock().insert(DEFAULT_TOPIC.to_owned(), route(8));
    let lent = finder.find_or_default("new", 4).await.unwrap();
    assert_eq!((lent.writable.len(), lent.provisional), (4, true));
    server.fake.routes.lock().insert("new".to_owned(), route(6));
    let real = finder.fresh("new").await.unwrap();
    assert_eq!((real.writable.len(), real.provisional), (6, false));
}

#[tokio::test]
async fn who_asks_at_the_same_time_shares_one_answer() {
    let server = start();
    server.fake.routes.lock().insert("t".to_owned(), route(4));
    let finder = finder(&[&server.address], NEVER);
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let finder = finder.clone();
            tokio::spawn(async move { finder.find("t").await.unwrap().writable.len() })
        })
        .collect();
    for answer in asking {
        assert_eq!(answer.await.unwrap(), 4);
    }
    assert!(server.fake.asked.load(Ordering::Relaxed) <= 2);
}

#[test]
fn lists_of_name_servers_are_read_as_people_write_them() {
    assert_eq!(split_nameservers(["a:1;b:2", " b:2 , c:3 ", ""]), ["a:1", "b:2", "c:3"]);
}

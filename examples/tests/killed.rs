//! Cluster, web service and mailer are killed (SIGKILL) while people register: every user gets a mail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_broker::config::Config as BrokerConfig;
use orbitmq_broker::node::Node as Broker;
use orbitmq_examples::http;
use orbitmq_nameserver::config::Config as NameServerConfig;
use orbitmq_nameserver::node::Node as NameServer;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

const VISITORS: usize = 4;
const PEOPLE_PER_KILL: usize = 12;
const KILLS: usize = 12;
/// Mails that one mailer has in hand at most.
const MAILS_AT_ONCE: usize = 4;
const BOUND: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Tells this program, started anew, to be the cluster: data directory, addresses of name server and broker.
const BE_THE_CLUSTER: &str = "REGISTRATION_TEST_CLUSTER";

/// The application and its cluster, each part a process.
struct Application {
    cluster: Child,
    /// Addresses of name server and broker, the same after each restart.
    addresses: [String; 2],
    smtp: String,
    mailer: Child,
    web: Child,
    page: watch::Sender<SocketAddr>,
    _mailbox: Child,
    /// Last, so that it goes after everybody who writes there.
    dir: TempDir,
}

impl Application {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (cluster, addresses) = start_cluster(dir.path(), &["127.0.0.1:0".into(), "127.0.0.1:0".into()]).await;
        let (mailbox, smtp) = start(dir.path(), &["mailbox", "--listen", "127.0.0.1:0"]).await;
        let (mailer, _) = start(dir.path(), &["mail", "--nameserver", &addresses[0], "--smtp", &smtp]).await;
        let (web, address) = start_web(dir.path(), &addresses[0]).await;
        let page = watch::channel(address.parse().unwrap()).0;
        Self { cluster, addresses, smtp, mailer, web, page, _mailbox: mailbox, dir }
    }

    async fn kill_mailer(&mut self) {
        kill(&mut self.mailer).await;
        let arguments = ["mail", "--nameserver", &self.addresses[0], "--smtp", &self.smtp];
        (self.mailer, _) = start(self.dir.path(), &arguments).await;
    }

    async fn kill_web(&mut self) {
        kill(&mut self.web).await;
        let (web, address) = start_web(self.dir.path(), &self.addresses[0]).await;
        self.web = web;
        self.page.send_replace(address.parse().unwrap());
    }

    async fn start_cluster(&mut self) {
        (self.cluster, self.addresses) = start_cluster(self.dir.path(), &self.addresses).await;
    }

    fn rows<T: rusqlite::types::FromSql>(&self, file: &str, sql: &str) -> Vec<T> {
        let path = self.dir.path().join(file);
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut statement = db.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Waits until each of so many users has a mail and the web service knows it; answers with the mails per event.
    async fn every_user_has_a_mail(&self, users: usize) -> BTreeMap<String, usize> {
        let owed: BTreeSet<String> = self.rows("users.db", "SELECT event FROM users").into_iter().collect();
        assert_eq!(owed.len(), users);
        let deadline = Instant::now() + BOUND;
        loop {
            let mut mails = BTreeMap::new();
            for id in self.rows::<String>("mailbox.db", "SELECT message_id FROM mails") {
                let event = id.trim_start_matches('<').trim_end_matches("@registration.orbitmq>").to_owned();
                *mails.entry(event).or_insert(0) += 1;
            }
            assert!(mails.keys().all(|event| owed.contains(event)), "a mail for nobody");
            let open = self.rows::<i64>("users.db", "SELECT count(*) FROM users WHERE mailed_us IS NULL");
            if mails.len() == owed.len() && open == [0] {
                return mails;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {} users have a mail; unreported: {open:?}",
                mails.len(),
                owed.len()
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Not a test of its own: the process of the cluster, which is this program started anew.
#[tokio::test(flavor = "multi_thread")]
async fn the_cluster() {
    let Ok(text) = std::env::var(BE_THE_CLUSTER) else { return };
    let [dir, nameserver, broker] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let config = NameServerConfig { listen: nameserver.parse().unwrap(), ..NameServerConfig::default() };
    let nameserver = NameServer::start(config).await.unwrap();
    let mut config = BrokerConfig::local(Path::new(dir).join("broker"), vec![nameserver.addr.to_string()]);
    config.listen = broker.parse().unwrap();
    config.store.segment_size = 32 << 20;
    // The broker asks soon about what a killed process left open.
    config.transactions.timeout = Duration::from_secs(1);
    config.transactions.check_interval = Duration::from_secs(1);
    let broker = Broker::start(config).await.unwrap();
    println!("\ncluster {} {}", nameserver.addr, broker.address());
    std::future::pending::<()>().await;
}

async fn start_cluster(dir: &Path, addresses: &[String; 2]) -> (Child, [String; 2]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_cluster", "--nocapture"])
        .env(BE_THE_CLUSTER, format!("{} {} {}", dir.display(), addresses[0], addresses[1]))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let line = line_with("cluster ", &mut child).await;
    let addresses = line.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    (child, addresses)
}

async fn start_web(dir: &Path, nameserver: &str) -> (Child, String) {
    start(dir, &["serve", "--nameserver", nameserver, "--listen", "127.0.0.1:0"]).await
}

/// A part of the application as a process, and the address that ends its first line.
async fn start(dir: &Path, arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_registration"))
        .args(arguments)
        .args(["--log", "error", "--data", dir.to_str().unwrap()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let line = line_with(": ", &mut child).await;
    let address = line.split(' ').next_back().unwrap().trim_start_matches("http://").trim_end_matches('/');
    (child, address.to_owned())
}

/// The first line of the process that holds `mark`.
async fn line_with(mark: &str, child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = timeout(BOUND, lines.next_line()).await.unwrap().unwrap().expect("the process ended at its start");
        if line.contains(mark) {
            return line;
        }
    }
}

async fn kill(child: &mut Child) {
    child.start_kill().unwrap();
    child.wait().await.unwrap();
}

/// Registers with one address until the web service says that it is saved; answers with the status.
async fn register(page: watch::Receiver<SocketAddr>, email: String) -> u16 {
    let body = json!({ "name": "Somebody", "email": email });
    let deadline = Instant::now() + BOUND;
    while Instant::now() < deadline {
        let address = *page.borrow();
        match http::post(address, "/api/registrations", &body, Duration::from_secs(10)).await {
            // 409: an earlier attempt was saved before its process died.
            Ok((status @ (201 | 202 | 409), _)) => return status,
            Ok((503, _)) => {}
            Ok((status, answer)) => panic!("{status} {answer}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    panic!("{email} could not be registered");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_has_a_mail_whoever_is_killed() {
    let mut application = Application::start().await;
    let (asked, mut count) = watch::channel(0_usize);
    let asked = Arc::new(asked);
    let visitors: Vec<_> = (0..VISITORS)
        .map(|visitor| {
            let (asked, page) = (Arc::clone(&asked), application.page.subscribe());
            tokio::spawn(async move {
                for number in 0..KILLS * PEOPLE_PER_KILL / VISITORS {
                    asked.send_modify(|count| *count += 1);
                    register(page.clone(), format!("person.{visitor}.{number}@example.org")).await;
                }
            })
        })
        .collect();
    for round in 0..KILLS {
        let moment = round * PEOPLE_PER_KILL + fastrand::usize(1..PEOPLE_PER_KILL);
        timeout(BOUND, count.wait_for(|count| *count >= moment)).await.unwrap().unwrap();
        match round % 3 {
            0 => application.kill_mailer().await,
            1 => application.kill_web().await,
            _ => {
                kill(&mut application.cluster).await;
                application.start_cluster().await;
            }
        }
    }
    for visitor in visitors {
        visitor.await.unwrap();
    }

    // A second mail is explained only by a mailer that died after an attempt without a record of it.
    let mails = application.every_user_has_a_mail(KILLS * PEOPLE_PER_KILL).await;
    let again: BTreeSet<String> =
        application.rows("mailer.db", "SELECT event FROM mails WHERE attempts > 1").into_iter().collect();
    let twice: Vec<_> = mails.iter().filter(|(_, copies)| **copies > 1).map(|(event, _)| event).collect();
    assert!(twice.iter().all(|event| again.contains(*event)), "a second mail without a reason");
    assert!(twice.len() <= KILLS.div_ceil(3) * MAILS_AT_ONCE, "{} second mails", twice.len());
    println!("{} users, {KILLS} kills, {} mails tried again, {} twice", mails.len(), again.len(), twice.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_go_out_while_the_cluster_is_dead_and_mails_follow() {
    let mut application = Application::start().await;
    let page = application.page.subscribe();
    assert_eq!(register(page.clone(), "before@example.org".into()).await, 201);
    kill(&mut application.cluster).await;
    let during = ["a@example.org", "b@example.org", "c@example.org"];
    let statuses = futures_util::future::join_all(during.map(|email| register(page.clone(), email.into()))).await;
    assert_eq!(statuses, [202; 3]);
    application.kill_web().await;
    application.start_cluster().await;
    let mails = application.every_user_has_a_mail(1 + during.len()).await;
    assert!(mails.values().all(|copies| *copies == 1), "{mails:?}");
}

//! The greeting service as processes: the whole of it ends well; providers are killed or stand still under calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use orbitmq_calls::{CallError, Caller, Choice, Method, Policy};
use orbitmq_examples::cluster::Embedded;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(120);
const PROGRAM: &str = env!("CARGO_BIN_EXE_greeting");
const SAY_HELLO: Method<Hello, Greeting> = Method::new("GreetingService", "sayHello");

/// The program's request and result, as another program would write them down.
#[derive(Serialize)]
struct Hello {
    name: &'static str,
    takes_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Greeting {
    from: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_of_it_ends_well() {
    let run = Command::new(PROGRAM).arg("--once").kill_on_drop(true).output();
    let Output { status, stdout, stderr } = timeout(BOUND, run).await.unwrap().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success() && stdout.contains("All as expected."), "{stdout}{stderr}");
}

struct Service {
    cluster: Embedded,
    providers: Vec<Child>,
    caller: Caller,
    _dir: TempDir,
}

impl Service {
    async fn start(nodes: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Embedded::start(dir.path(), &[]).await.unwrap();
        let nameserver = cluster.nameserver().to_string();
        let mut providers = Vec::new();
        for node in nodes {
            let mut child = Command::new(PROGRAM)
                .args(["provide", "--with-parent", "--nameserver", &nameserver, "--node", node])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            assert_eq!(line(&mut child).await, format!("providing as {node}"));
            providers.push(child);
        }
        let caller = Caller::builder().nameservers([nameserver]).within(BOUND).build().await.unwrap();
        Self { cluster, providers, caller, _dir: dir }
    }

    async fn end(self) {
        self.caller.close().await;
        drop(self.providers);
        self.cluster.stop().await;
    }

    fn say_hello(&self, takes: Duration, node: &str) -> orbitmq_calls::Call<Greeting> {
        let hello = Hello { name: "you", takes_ms: takes.as_millis() as u64 };
        self.caller.call(SAY_HELLO, &hello).choice(Choice::Fixed(node.to_owned()))
    }
}

/// The next line of a process, which goes on writing.
async fn line(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    timeout(BOUND, lines.next_line()).await.unwrap().unwrap().expect("the process has ended")
}

fn signal(child: &Child, signal: &str) {
    let told = std::process::Command::new("kill").args([signal, &child.id().unwrap().to_string()]).status();
    assert!(told.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_provider_is_left_long_before_the_deadline() {
    let mut service = Service::start(&["n1", "n2"]).await;
    let call = service.say_hello(BOUND, "n1").start();
    assert_eq!(service.say_hello(Duration::ZERO, "n1").await.unwrap().from, "n1");
    let began = Instant::now();
    service.providers[0].kill().await.unwrap();
    let error = call.await.unwrap_err();
    assert!(matches!(&error, CallError::Gone { node } if node == "n1"), "{error}");
    assert!(began.elapsed() < BOUND / 4);
    let anywhere = service.say_hello(Duration::ZERO, "").choice(Choice::RoundRobin);
    assert_eq!(anywhere.policy(Policy::RetryElsewhere { attempts: 2 }).await.unwrap().from, "n2");
    service.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_stood_still_does_nothing_late() {
    let mut service = Service::start(&["n1", "n2"]).await;
    assert_eq!(service.say_hello(Duration::ZERO, "n1").await.unwrap().from, "n1");
    signal(&service.providers[0], "-STOP");
    let short = Duration::from_millis(500);
    for _ in 0..2 {
        let error = service.say_hello(Duration::ZERO, "n1").within(short).await.unwrap_err();
        assert!(matches!(&error, CallError::NoAnswer { node, .. } if node == "n1"), "{error}");
    }
    // It is passed over while there is another.
    for _ in 0..4 {
        let anywhere = service.say_hello(Duration::ZERO, "").choice(Choice::RoundRobin);
        assert_eq!(anywhere.await.unwrap().from, "n2");
    }
    signal(&service.providers[0], "-CONT");
    // What was for it before comes before this.
    assert_eq!(service.say_hello(Duration::ZERO, "n1").await.unwrap().from, "n1");
    drop(service.providers[0].stdin.take());
    assert_eq!(line(&mut service.providers[0]).await, "n1: 2 calls done, 2 came too late");
    service.end().await;
}

//! A cluster in the test's process, and the built command line run against it.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use orbitmq_broker::config::Config as BrokerConfig;
use orbitmq_broker::node::Node as Broker;
use orbitmq_nameserver::config::Config as NameServerConfig;
use orbitmq_nameserver::node::Node as NameServer;
use serde_json::Value;

/// No command of these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(120);

/// A name server and a broker.
pub struct Cluster {
    nameserver: NameServer,
    broker: Broker,
    _dir: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// The output of a command that must have succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// The JSON output of a command that must have succeeded.
    pub fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// The words of a command that must have failed so.
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.err
    }
}

impl Cluster {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let nameserver = NameServer::start(NameServerConfig { listen, ..NameServerConfig::default() }).await.unwrap();
        let mut config = BrokerConfig::local(dir.path(), vec![nameserver.addr.to_string()]);
        config.store.segment_size = 32 << 20;
        config.store.reserve_ahead = 4 << 20;
        config.store.reserve_step = 4 << 20;
        let broker = Broker::start(config).await.unwrap();
        let cluster = Self { nameserver, broker, _dir: dir };
        let registered = async { while cluster.run("cluster -o json").await.json() == Value::Array(Vec::new()) {} };
        tokio::time::timeout(DEADLINE, registered).await.unwrap();
        cluster
    }

    pub fn nameserver(&self) -> String {
        self.nameserver.addr.to_string()
    }

    pub fn broker(&self) -> String {
        self.broker.address().to_string()
    }

    /// Runs `orbitmq` with these blank-separated arguments.
    pub async fn run(&self, arguments: &str) -> Ended {
        let words: Vec<&str> = arguments.split(' ').collect();
        orbitmq(&self.nameserver(), &words).await
    }

    pub async fn stop(self) {
        self.broker.stop().await;
        self.nameserver.shutdown().await;
    }
}

/// Runs the built binary to its end.
pub async fn orbitmq(nameserver: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orbitmq"));
    command.args(arguments).env("ORBITMQ_NAMESERVER", nameserver).stdin(Stdio::null());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = tokio::time::timeout(DEADLINE, run).await.expect("the command hangs").unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `orbitmq dev`, killed when it is dropped.
pub struct Dev {
    child: Child,
    pub ready: Value,
}

impl Dev {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orbitmq"));
        command.args(["dev", "--port", "0", "-o", "json"]).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, ready: serde_json::from_str(&line).unwrap() }
    }

    pub fn nameserver(&self) -> String {
        self.ready["nameserver"].as_str().unwrap().to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal and tells the exit code.
    pub fn stop(mut self, signal: rustix::process::Signal) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It has ended already where it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A broker and a name server that run as processes of their own: what they use, how the broker dies and how it comes back.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::frame::Encoding;
use orbitmq_tests::session::Session;
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process};

use crate::Figures;
use crate::values::note;

/// Longest time for a start.
const START: Duration = Duration::from_secs(180);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Which of the two.
#[derive(Debug, Clone, Copy)]
pub enum Daemon {
    Broker,
    Nameserver,
}

impl Daemon {
    fn pid_key(self) -> &'static str {
        match self {
            Self::Broker => "BROKER_PID",
            Self::Nameserver => "NAMESRV_PID",
        }
    }
}

/// See the module.
pub struct Servers {
    env: PathBuf,
    start: String,
}

impl Servers {
    pub fn new(env: PathBuf, start: String) -> Self {
        Self { env, start }
    }

    fn known(&self, key: &str) -> Option<String> {
        let text = fs::read_to_string(&self.env).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
    }

    /// A connection to the broker, made anew when it was lost.
    pub fn broker(&self) -> Session {
        session(&self.known("BROKER_ADDR").expect("env names BROKER_ADDR"))
    }

    /// A connection to the name server.
    pub fn nameserver(&self) -> Session {
        session(&self.known("NAMESRV").expect("env names NAMESRV"))
    }

    fn pid(&self, daemon: Daemon) -> u32 {
        let text = self.known(daemon.pid_key()).expect("env names the process");
        text.parse().expect("a process number")
    }

    /// User and system time so far, s.
    pub fn cpu(&self, daemon: Daemon) -> f64 {
        let fields = stat(self.pid(daemon)).unwrap_or_else(|| panic!("the {daemon:?} is gone"));
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        ticks as f64 / clock_ticks_per_second() as f64
    }

    /// Notes the memory of a daemon: its own, and what it has of mapped files.
    pub fn note_memory(&self, figures: &mut Figures, name: &str, daemon: Daemon) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid(daemon))).unwrap();
        let mib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
            line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
        };
        note(figures, &format!("{name}_own_mib"), mib("RssAnon"));
        note(figures, &format!("{name}_mapped_mib"), mib("RssFile") + mib("RssShmem"));
    }

    /// Kills the broker with SIGKILL; returns once it is gone.
    pub async fn kill_broker(&self) {
        let pid = self.pid(Daemon::Broker);
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
        // Gone, or dead and not yet collected by whoever started it.
        while stat(pid).is_some_and(|fields| fields[0] != "Z") {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Starts the broker again and waits until it answers and until `serves` says so; milliseconds for both, from the begin of its
    /// process, to 10 ms.
    pub async fn start_broker(&self, mut serves: impl AsyncFnMut() -> bool) -> (f64, f64) {
        let old = self.known(Daemon::Broker.pid_key());
        let command = Command::new("sh").args(["-c", &self.start]).stdout(Stdio::null()).stdin(Stdio::null()).spawn();
        let mut command = command.unwrap();
        let (end, broker) = (Instant::now() + START, self.broker().within(Duration::from_secs(2)));
        while broker.call(request::GET_BROKER_RUNTIME_INFO, |frame| frame).await.is_err() {
            assert!(Instant::now() < end, "the broker does not answer after {START:?}");
            tokio::time::sleep(PAUSE).await;
        }
        let answered = uptime();
        while !serves().await {
            assert!(Instant::now() < end, "the broker does not serve after {START:?}");
            tokio::time::sleep(PAUSE).await;
        }
        let served = uptime();
        assert!(command.wait().unwrap().success(), "{} failed", self.start);
        assert_ne!(self.known(Daemon::Broker.pid_key()), old, "{} noted no new process", self.start);
        let began = stat(self.pid(Daemon::Broker)).expect("the broker runs")[19].parse::<f64>().unwrap();
        let since = |time: f64| ((time - began / clock_ticks_per_second() as f64) * 1000.0).max(0.0);
        (since(answered), since(served))
    }
}

/// JSON: what both kinds of servers read, and the only form that holds the numbers of popping.
fn session(address: &str) -> Session {
    Session::speaking(address, Some(Encoding::Json)).within(Duration::from_secs(20))
}

/// Fields of a process from the third on, its state; the second, the command, may hold blanks and brackets.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Seconds since the machine started, as a process's begin is counted.
fn uptime() -> f64 {
    fs::read_to_string("/proc/uptime").unwrap().split_ascii_whitespace().next().unwrap().parse().unwrap()
}

//! A daemon as a process of its own: started, killed, paused and stopped by a test, gone when it is dropped.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A start or a clean stop that takes longer has failed, even on a crowded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test's daemons share: the program, a directory that vanishes, and a loopback address of their own.
///
/// The address keeps tests that run side by side apart, and a dead daemon's port from being taken by an outgoing connection.
pub struct Place {
    program: PathBuf,
    directory: TempDir,
    host: Ipv4Addr,
    given: Mutex<HashSet<u16>>,
}

impl Place {
    /// `program`: `env!("CARGO_BIN_EXE_orbitmq-testd")`.
    #[must_use]
    pub fn new(program: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("orbitmq-").tempdir().unwrap();
        let host = Ipv4Addr::new(127, fastrand::u8(1..255), fastrand::u8(..), fastrand::u8(1..255));
        Self { program: program.into(), directory, host, given: Mutex::default() }
    }

    /// The directory stays when the test is over, for whoever looks into it.
    pub fn keep(&mut self) {
        self.directory.disable_cleanup(true);
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The loopback address.
    #[must_use]
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// A name server that keeps its settings.
    #[must_use]
    pub fn nameserver(&self, name: &str) -> Setup {
        let setup = self.setup("nameserver", name);
        let data = self.path().join(name);
        setup.argument("--data-dir", data.display().to_string())
    }

    /// A broker of this name with its store in a directory of that name.
    #[must_use]
    pub fn broker(&self, name: &str) -> Setup {
        let data = self.path().join(name);
        self.broker_in(name, &data)
    }

    /// A broker with its store in a directory of the caller's.
    #[must_use]
    pub fn broker_in(&self, name: &str, data: &Path) -> Setup {
        self.setup("broker", name).argument("--name", name).argument("--data-dir", data.display().to_string())
    }

    fn setup(&self, kind: &'static str, name: &str) -> Setup {
        let address = self.free_address();
        Setup {
            name: name.to_owned(),
            address,
            prefix: Vec::new(),
            program: self.program.clone(),
            arguments: vec!["--listen".into(), address.to_string().into()],
            environment: vec![("TESTD".into(), kind.into())],
            log: self.path().join(format!("{name}.log")),
            notices: self.path().join(format!("{name}.notify")),
        }
    }

    /// An address that nobody listens on now, nor on the ports beside it that a broker takes, and that is given to nobody
    /// else.
    fn free_address(&self) -> SocketAddr {
        let port = || fastrand::u16(2_560..8_000) * 4 + 2;
        let is_free = |port| TcpListener::bind((self.host, port)).is_ok();
        let are_free = |port| [port - 2, port, port + 1].into_iter().all(is_free);
        let mut candidates = std::iter::repeat_with(port).take(100);
        let free = candidates.find(|port| are_free(*port) && self.given.lock().insert(*port));
        (self.host, free.expect("a free port on a loopback address")).into()
    }
}

/// How a daemon is started.
#[derive(Clone)]
pub struct Setup {
    name: String,
    address: SocketAddr,
    prefix: Vec<OsString>,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    log: PathBuf,
    notices: PathBuf,
}

impl Setup {
    /// Where the daemon will listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A flag with its value.
    #[must_use]
    pub fn argument(mut self, flag: &str, value: impl Into<OsString>) -> Self {
        self.arguments.extend([flag.into(), value.into()]);
        self
    }

    /// Any setting by name.
    #[must_use]
    pub fn set(self, key: &str, value: &str) -> Self {
        self.argument("--set", format!("{key}={value}"))
    }

    /// The name servers of a broker.
    #[must_use]
    pub fn nameservers(self, daemons: &[Daemon]) -> Self {
        let list: Vec<&str> = daemons.iter().map(Daemon::address).collect();
        self.argument("--nameserver", list.join(","))
    }

    /// An environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Removes environment variables set before.
    #[must_use]
    pub fn without_environment(mut self, prefix: &str) -> Self {
        self.environment.retain(|(name, _)| !name.to_string_lossy().starts_with(prefix));
        self
    }

    /// A command that runs the daemon in its own place, such as `nsenter`.
    #[must_use]
    pub fn through(mut self, command: &[OsString]) -> Self {
        self.prefix = command.to_vec();
        self
    }

    /// The daemon, not started yet.
    #[must_use]
    pub fn daemon(self) -> Daemon {
        Daemon { address: self.address.to_string(), setup: self, child: None }
    }

    /// Starts the daemon and waits until it is ready.
    #[must_use]
    pub fn start(self) -> Daemon {
        let mut daemon = self.daemon();
        daemon.start();
        daemon
    }
}

/// A daemon that runs, or did. Must be started on a thread that lives as long as the test.
pub struct Daemon {
    setup: Setup,
    address: String,
    child: Option<Child>,
}

impl Daemon {
    /// The name it was set up with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.setup.name
    }

    /// Where it listens, also after a restart.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Changes how the next start is done.
    pub fn change(&mut self, change: impl FnOnce(Setup) -> Setup) {
        self.setup = change(self.setup.clone());
    }

    /// Starts it and waits until it says that it is ready; tells how long that took.
    pub fn start(&mut self) -> Duration {
        let notices = self.listen_for_notices();
        let started = Instant::now();
        self.spawn();
        let mut buffer = [0; 4096];
        loop {
            match notices.recv(&mut buffer) {
                Ok(length) if String::from_utf8_lossy(&buffer[..length]).contains("READY=1") => {
                    return started.elapsed();
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("{}: no notices: {error}", self.setup.name),
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            if ended.is_some() || started.elapsed() > PATIENCE {
                panic!("{} is not ready after {:?} ({ended:?}); {}", self.setup.name, started.elapsed(), self.tail());
            }
        }
    }

    fn listen_for_notices(&self) -> UnixDatagram {
        let _ = std::fs::remove_file(&self.setup.notices);
        let notices = UnixDatagram::bind(&self.setup.notices).unwrap();
        notices.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        notices
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.setup.name);
        let setup = &self.setup;
        let mut words = setup.prefix.iter().cloned().chain([setup.program.clone().into_os_string()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(&setup.arguments).env_clear();
        // Nothing of the caller's environment is a setting; what coverage and loaders need stays.
        for name in ["PATH", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE", "RUST_BACKTRACE", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(setup.environment.iter().cloned()).env("NOTIFY_SOCKET", &setup.notices);
        let log: File = OpenOptions::new().create(true).append(true).open(&setup.log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", setup.name));
        self.child = Some(child);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM alone.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.ask_to_stop();
        let mut child = self.child.take().expect("a running daemon");
        let asked = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if asked.elapsed() > PATIENCE {
                let _ = child.kill().and_then(|()| child.wait());
                panic!("{} does not stop within {PATIENCE:?}; {}", self.setup.name, self.tail());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGSTOP: it stands still and its connections stay open.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether the process is there still.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a running daemon");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// What it has logged in all its runs.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.setup.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of the log.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!("its log ends with\n{}", lines[from..].join("\n"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().and_then(|()| child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- {}: {}", self.setup.name, self.tail());
        }
    }
}

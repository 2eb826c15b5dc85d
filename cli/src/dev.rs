//! `orbitmq dev`: a name server and a broker in one process, ready at once, gone without a trace.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use orbitmq_broker::config::Config as BrokerConfig;
use orbitmq_broker::node::Node as Broker;
use orbitmq_broker::store::options::Flush;
use orbitmq_common::shutdown;
use orbitmq_common::telemetry::{self, LogFormat};
use orbitmq_nameserver::config::Config as NameServerConfig;
use orbitmq_nameserver::node::Node as NameServer;
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{Output, Report, pairs};
use crate::session::Session;

const NAMESERVER_PORT: u16 = 9876;
const BROKER_PORT: u16 = 10911;
/// Disk reserved ahead of the log: less than a real broker's.
const RESERVE: u64 = 16 << 20;
/// How long the broker may take to be found through the name server.
const REGISTERED_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Run a name server and a broker in this process, for development.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to keep the messages; "temporary": in a new directory that is removed at the end.
    #[arg(long, value_name = "DIR|temporary", default_value = "temporary")]
    dir: PathBuf,
    /// Port of the name server; 0: any free one.
    #[arg(long, value_name = "PORT", default_value_t = NAMESERVER_PORT)]
    port: u16,
    /// Port of the broker; 0: any free one [default: 10911 beside the name server's usual port, else any free one].
    #[arg(long, value_name = "PORT")]
    broker_port: Option<u16>,
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// Host under which clients reach the broker [default: the address it listens on].
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// When a send is acknowledged.
    #[arg(long, value_enum, default_value_t)]
    flush: FlushArgument,
    /// What to log to standard error: a level, or directives such as info,orbitmq_broker=debug.
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
}

/// When a send is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum FlushArgument {
    /// Once it is on the disk.
    #[default]
    Sync,
    /// Once the system has it: a power cut loses the last moments.
    Async,
}

impl FlushArgument {
    fn promise(self) -> &'static str {
        match self {
            Self::Sync => "sync: a send is acknowledged once it is on the disk",
            Self::Async => "async: a send is acknowledged before it is on the disk; a power cut loses the last moments",
        }
    }
}

/// What is printed when the server is ready.
#[derive(Debug, Serialize)]
struct Ready {
    ready_ms: u64,
    nameserver: String,
    broker: String,
    data: String,
    temporary: bool,
    flush: &'static str,
}

/// Runs until a signal stops it.
pub async fn run(arguments: Arguments, output: Output) -> Result<Report, Failure> {
    let began = Instant::now();
    telemetry::start(&arguments.log, LogFormat::Text).map_err(Failure::Usage)?;
    let stop = shutdown::on_signals().map_err(Failure::Runtime)?;
    let temporary = temporary(&arguments)?;
    let dir = temporary.as_ref().map_or(arguments.dir.clone(), |dir| dir.path().to_owned());
    let nameserver = start_nameserver(&arguments, dir.join("nameserver")).await?;
    let broker = match start_broker(&arguments, dir.join("broker"), nameserver.addr).await {
        Ok(broker) => broker,
        Err(failure) => {
            nameserver.shutdown().await;
            return Err(failure);
        }
    };
    let ended = tokio::select! {
        registered = registered(nameserver.addr) => registered.and_then(|()| {
            let ready = Ready {
                ready_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                nameserver: reachable(nameserver.addr).to_string(),
                broker: broker.address().to_string(),
                data: dir.display().to_string(),
                temporary: temporary.is_some(),
                flush: arguments.flush.promise(),
            };
            announce(&ready, output)
        }),
        () = stop.cancelled() => Ok(()),
    };
    if ended.is_ok() {
        stop.cancelled().await;
    }
    telemetry::stopping();
    broker.stop().await;
    nameserver.shutdown().await;
    if let Some(dir) = temporary {
        dir.close().map_err(|error| Failure::other(format!("the temporary directory was not removed: {error}")))?;
    }
    ended.map(|()| Report::nothing())
}

fn temporary(arguments: &Arguments) -> Result<Option<tempfile::TempDir>, Failure> {
    if arguments.dir.as_os_str() != "temporary" {
        return Ok(None);
    }
    let made = tempfile::Builder::new().prefix("orbitmq-dev-").tempdir();
    made.map(Some).map_err(|error| Failure::other(format!("no temporary directory: {error}; give one with --dir")))
}

async fn start_nameserver(arguments: &Arguments, data_dir: PathBuf) -> Result<NameServer, Failure> {
    let listen = SocketAddr::new(arguments.listen, arguments.port);
    let config = NameServerConfig { listen, data_dir: Some(data_dir), ..NameServerConfig::default() };
    NameServer::start(config)
        .await
        .map_err(|error| Failure::other(format!("name server on {listen}: {error}; another one goes with --port")))
}

async fn start_broker(arguments: &Arguments, dir: PathBuf, nameserver: SocketAddr) -> Result<Broker, Failure> {
    let usual = if arguments.port == NAMESERVER_PORT { BROKER_PORT } else { 0 };
    let listen = SocketAddr::new(arguments.listen, arguments.broker_port.unwrap_or(usual));
    let mut config = BrokerConfig::local(dir, vec![reachable(nameserver).to_string()]);
    config.listen = listen;
    config.advertise.clone_from(&arguments.advertise);
    config.store.reserve_ahead = RESERVE;
    config.store.reserve_step = RESERVE;
    config.store.flush = match arguments.flush {
        FlushArgument::Sync => Flush::Sync,
        FlushArgument::Async => Flush::Async,
    };
    Broker::start(config)
        .await
        .map_err(|error| Failure::other(format!("broker on {listen}: {error}; another port goes with --broker-port")))
}

/// An address that can be connected to, also where all of them are listened on.
fn reachable(bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() { SocketAddr::new(Ipv4Addr::LOCALHOST.into(), bound.port()) } else { bound }
}

/// Waits until clients find the broker.
async fn registered(nameserver: SocketAddr) -> Result<(), Failure> {
    let session = Session::new(&reachable(nameserver).to_string(), REGISTERED_WITHIN)?;
    let found = async {
        loop {
            match session.masters().await {
                Err(Failure::Other(_)) => tokio::time::sleep(LOOK_AGAIN).await,
                other => return other.map(drop),
            }
        }
    };
    let late = || {
        Failure::other(format!("the broker did not register within {REGISTERED_WITHIN:?}; see the log (--log info)"))
    };
    tokio::time::timeout(REGISTERED_WITHIN, found).await.map_err(|_| late())?
}

fn announce(ready: &Ready, output: Output) -> Result<(), Failure> {
    let data = if ready.temporary {
        format!("{} (removed at the end; keep it with --dir)", ready.data)
    } else {
        ready.data.clone()
    };
    let lines = pairs([
        ("name server", ready.nameserver.clone()),
        ("broker", ready.broker.clone()),
        ("data", data),
        ("flush", ready.flush.to_owned()),
    ]);
    let text = format!("OrbitMQ is ready after {} ms; Ctrl-C stops it.\n{lines}", ready.ready_ms);
    Report::new(ready, text)?.print(output)?;
    telemetry::ready(&format!("name server on {}, broker on {}", ready.nameserver, ready.broker));
    Ok(())
}

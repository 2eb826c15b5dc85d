//! What a name server is told at start: flags over environment over file over defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;
use orbitmq_common::config::{ConfigError, Key, Settings};
use orbitmq_common::telemetry::LogFormat;

use crate::config::controller::ControllerConfig;
use crate::options::{SWITCHES, Switches};

pub mod controller;

/// RocketMQ's port for name servers.
const PORT: u16 = 9876;
const MAX_CONNECTIONS: usize = 65_536;

const LISTEN: Key = Key { name: "listen", aliases: &[] };
const LISTEN_PORT: Key = Key { name: "listen_port", aliases: &["listenPort"] };
const DATA_DIR: Key = Key { name: "data_dir", aliases: &[] };
const MAX_CONNECTIONS_KEY: Key = Key { name: "max_connections", aliases: &[] };
const LOG: Key = Key { name: "log", aliases: &[] };
const LOG_FORMAT: Key = Key { name: "log_format", aliases: &[] };

/// RocketMQ's keys that mean nothing here.
const IGNORED: [&str; 27] = [
    "rocketmqHome",
    "kvConfigPath",
    "configStorePath",
    "configBlackList",
    "productEnvName",
    "clusterTest",
    "clientRequestThreadPoolNums",
    "defaultThreadPoolNums",
    "clientRequestThreadPoolQueueCapacity",
    "defaultThreadPoolQueueCapacity",
    "scanNotActiveBrokerInterval",
    "unRegisterBrokerQueueCapacity",
    "notifyMinBrokerIdChanged",
    "enableControllerInNamesrv",
    "needWaitForService",
    "waitSecondsForService",
    "bindAddress",
    "serverWorkerThreads",
    "serverCallbackExecutorThreads",
    "serverSelectorThreads",
    "serverOnewaySemaphoreValue",
    "serverAsyncSemaphoreValue",
    "serverChannelMaxIdleTimeSeconds",
    "serverSocketSndBufSize",
    "serverSocketRcvBufSize",
    "serverPooledByteBufAllocatorEnable",
    "useEpollNativeSelector",
];

/// OrbitMQ's name server: which broker is alive and holds which queue.
///
/// Every setting can stand in the file of --config (TOML, or key=value lines), in an environment variable such as
/// ORBITMQ_DATA_DIR, or in a flag; later ones win. RocketMQ's names of settings are understood.
#[derive(Debug, Parser)]
#[command(name = "orbitmq-nameserver", version)]
pub struct Args {
    /// File with settings.
    #[arg(long, value_name = "FILE", env = "ORBITMQ_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on [default: 0.0.0.0:9876].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Directory of the key-value settings and of the controller; without one they end with the process.
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<String>,
    /// Number of this name server in the controller quorum; without one it has no controller.
    #[arg(long, value_name = "NUMBER")]
    pub controller_id: Option<String>,
    /// Number and address of every name server of the controller quorum, this one included.
    #[arg(long, value_name = "1=HOST:PORT,...")]
    pub controller_peers: Option<String>,
    /// How long a master may acknowledge after it last heard from the controller [default: 1500ms].
    #[arg(long, value_name = "TIME")]
    pub controller_lease: Option<String>,
    /// What to log: a level, or directives such as info,orbitmq_nameserver=debug [default: info].
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines look: text or json [default: text].
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Any setting by its name, ours or RocketMQ's; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// The settings of a name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Directory of the key-value settings; `None`: they end with the process.
    pub data_dir: Option<PathBuf>,
    /// The controller in this name server.
    pub controller: Option<ControllerConfig>,
    /// Connections that may be open at once; further ones wait.
    pub max_connections: usize,
    /// How this server behaves, unless that was changed while it ran.
    pub switches: Switches,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)),
            data_dir: None,
            controller: None,
            max_connections: MAX_CONNECTIONS,
            switches: Switches::default(),
        }
    }
}

/// The settings of the daemon around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// The name server's own.
    pub server: Config,
    /// What to log.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// RocketMQ's keys that were given and mean nothing here.
    pub ignored: Vec<String>,
}

impl Daemon {
    /// Gathers the settings of all sources.
    pub fn gather(args: Args, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut keys = vec![LISTEN, LISTEN_PORT, DATA_DIR, MAX_CONNECTIONS_KEY, LOG, LOG_FORMAT];
        keys.extend(controller::KEYS);
        keys.extend(SWITCHES.iter().map(|switch| switch.key));
        let settings = Settings::gather(&keys, &IGNORED, args.config.as_deref(), environment, flags(&args))?;
        Self::read(&settings)
    }

    fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let mut server = Config::default();
        if let Some(port) = settings.get(LISTEN_PORT.name)? {
            server.listen.set_port(port);
        }
        if let Some(listen) = settings.get(LISTEN.name)? {
            server.listen = listen;
        }
        server.data_dir = settings.get(DATA_DIR.name)?;
        server.controller = ControllerConfig::read(settings, server.data_dir.as_deref())?;
        match settings.get(MAX_CONNECTIONS_KEY.name)? {
            Some(0) => return Err(settings.refuse(MAX_CONNECTIONS_KEY.name, "expected at least 1")),
            Some(connections) => server.max_connections = connections,
            None => {}
        }
        for switch in &SWITCHES {
            if let Some(on) = settings.get(switch.key.name)? {
                server.switches.set(switch.key.name, on);
            }
        }
        let log_format = match settings.text(LOG_FORMAT.name) {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(_) => return Err(settings.refuse(LOG_FORMAT.name, "expected text or json")),
        };
        let log = settings.text(LOG.name).unwrap_or("info").to_owned();
        let ignored = settings.ignored().iter().map(|(key, origin)| format!("{key} ({origin})")).collect();
        Ok(Self { server, log, log_format, ignored })
    }
}

/// Flags as `(how it was written, key, value)`.
fn flags(args: &Args) -> Vec<(String, String, String)> {
    let named = [
        (LISTEN.name, &args.listen),
        (DATA_DIR.name, &args.data_dir),
        (controller::ID.name, &args.controller_id),
        (controller::PEERS.name, &args.controller_peers),
        (controller::LEASE.name, &args.controller_lease),
        (LOG.name, &args.log),
        (LOG_FORMAT.name, &args.log_format),
    ];
    let named = named.into_iter().filter_map(|(key, value)| {
        value.clone().map(|value| (format!("--{}", key.replace('_', "-")), key.to_owned(), value))
    });
    let set = args.set.iter().map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (format!("--set {pair}"), key.trim().to_owned(), value.trim().to_owned())
    });
    named.chain(set).collect()
}

#[cfg(test)]
mod tests;

//! The broker's settings: what there is, where it comes from, what it must look like.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use orbitmq_common::config::{ByteSize, ConfigError, Settings};
use orbitmq_common::name;
use orbitmq_common::net::network::Addresses;
use orbitmq_common::telemetry::LogFormat;

use crate::config::address::{outward, resolve};
use crate::config::filtering::Filtering;
use crate::config::keys::{KEYS, WITHOUT_EFFECT};
use crate::config::replication::{Acknowledge, RoleSetting};
use crate::config::timers::TimerSettings;
use crate::config::transaction::TransactionSettings;
use crate::memory;
use crate::replica::role::MasterAddress;
use crate::store::options::Options;
mod address;
pub mod filtering;
mod keys;
pub mod replication;
mod store;
pub mod timers;
pub mod transaction;

/// OrbitMQ's broker: stores messages and hands them out.
#[derive(Debug, Parser)]
#[command(name = "orbitmq-broker", version)]
pub struct Arguments {
    /// File with settings: TOML, or properties text such as RocketMQ's broker.conf.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on [0.0.0.0:10911].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Host, or host:port, under which clients reach this broker [the address of the interface].
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Name servers, separated by commas.
    #[arg(long, value_name = "HOST:PORT,…")]
    nameserver: Option<String>,
    /// Name of the cluster [DefaultCluster].
    #[arg(long)]
    cluster: Option<String>,
    /// Name of the broker [broker-a].
    #[arg(long)]
    name: Option<String>,
    /// Number of the broker among those of its name; 0 is the master, with `--role auto` all count from 1 [0].
    #[arg(long)]
    id: Option<String>,
    /// `master`, `slave`, or `auto`: the controller in the name servers decides [master].
    #[arg(long, value_name = "master|slave|auto")]
    role: Option<String>,
    /// What an acknowledgement means: `async`, `sync-flush`, or `sync-replica`: flushed here and at every in-sync slave [sync-flush].
    #[arg(long, value_name = "LEVEL")]
    acknowledge: Option<String>,
    /// Directory of the messages and everything else that lasts [./store].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// `sync`: a message is acknowledged once it is on the disk; `async`: once the system has it [sync].
    #[arg(long, value_name = "sync|async")]
    flush: Option<String>,
    /// Address and port of /livez, /readyz and /metrics [none].
    #[arg(long, value_name = "ADDRESS:PORT")]
    monitor: Option<String>,
    /// Level of the log, or a list such as info,orbitmq_broker=debug [info].
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// `text` or `json` [text].
    #[arg(long)]
    log_format: Option<String>,
    /// Any setting by name, ours or RocketMQ's; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// What a broker is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Host, or host:port, given to clients; `None`: the listening address.
    pub advertise: Option<String>,
    /// Addresses given to clients in certain networks instead.
    pub advertise_networks: Addresses,
    /// Name servers, `host:port` each.
    pub nameservers: Vec<String>,
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the broker.
    pub name: String,
    /// Number among the brokers of the name.
    pub id: i64,
    /// Who decides whether it is master.
    pub role: RoleSetting,
    /// What an acknowledgement means.
    pub acknowledge: Acknowledge,
    /// Copies, the master's among them, below which `sync-replica` refuses messages.
    pub min_in_sync: usize,
    /// How long a sender waits for durability and slaves, at most.
    pub acknowledge_timeout: Duration,
    /// A slave that lags for longer than this leaves the in-sync set.
    pub in_sync_timeout: Duration,
    /// Where the controller is asked; empty: at the name servers.
    pub controllers: Vec<String>,
    /// The master of a slave, if it is not to be learned from name servers.
    pub master: Option<MasterAddress>,
    /// Where slaves connect; `None`: at the port after the listening one.
    pub ha_listen: Option<SocketAddr>,
    /// Host, or host:port, given to slaves; `None`: the host given to clients.
    pub ha_advertise: Option<String>,
    /// Whether to listen two ports below the first too, as RocketMQ's brokers do.
    pub fast_port: bool,
    /// Whether an empty slave gets the whole log, or only its last segment.
    pub whole_log: bool,
    /// How messages are stored.
    pub store: Options,
    /// How half messages are treated.
    pub transactions: TransactionSettings,
    /// Messages for a time of their own.
    pub timers: TimerSettings,
    /// Whether a send may create its topic.
    pub auto_create_topics: bool,
    /// Whether a consumer may create its group.
    pub auto_create_groups: bool,
    /// Queues of automatically created topics, at most.
    pub default_topic_queues: i32,
    /// Longest body, bytes.
    pub max_message_size: usize,
    /// Connections open at once.
    pub max_connections: usize,
    /// Whether pulls may wait for messages.
    pub long_polling: bool,
    /// What may be filtered by, and what becomes of conflicts.
    pub filtering: Filtering,
    /// A reader so many bytes behind the end of the log is sent to a slave.
    pub slave_read_after: u64,
    /// Whether the topic of message traces exists.
    pub trace_topic: bool,
    /// After so long without a heartbeat name servers drop this broker.
    pub lease: Duration,
    /// Where health and figures are served; `None`: nowhere.
    pub monitor: Option<SocketAddr>,
    /// Filter of the log.
    pub log: String,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Settings that were accepted without effect, with their places.
    pub ignored: Vec<String>,
}

impl Config {
    /// A broker with every default that keeps its data in `data_dir` and listens on a port of the system's choice on loopback.
    #[must_use]
    pub fn local(data_dir: impl Into<PathBuf>, nameservers: Vec<String>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            advertise_networks: Addresses::default(),
            nameservers,
            cluster: "DefaultCluster".to_owned(),
            name: "broker-a".to_owned(),
            id: 0,
            role: RoleSetting::Master,
            acknowledge: Acknowledge::Flush,
            min_in_sync: 2,
            acknowledge_timeout: Duration::from_secs(2),
            in_sync_timeout: Duration::from_millis(1500),
            controllers: Vec::new(),
            master: None,
            ha_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            ha_advertise: None,
            fast_port: false,
            whole_log: true,
            store: Options::new(data_dir),
            transactions: TransactionSettings::default(),
            timers: TimerSettings::default(),
            auto_create_topics: true,
            auto_create_groups: true,
            default_topic_queues: 8,
            max_message_size: 4 << 20,
            max_connections: 65_536,
            long_polling: true,
            filtering: Filtering::default(),
            slave_read_after: memory::percent(40),
            trace_topic: false,
            lease: Duration::from_secs(5),
            monitor: None,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            ignored: Vec::new(),
        }
    }

    /// Gathers the settings of file, environment and flags.
    ///
    /// # Errors
    /// The first setting that cannot be used, with its place.
    pub fn gather(
        arguments: Arguments,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let named = [
            ("listen", arguments.listen),
            ("advertise", arguments.advertise),
            ("nameserver", arguments.nameserver),
            ("cluster", arguments.cluster),
            ("name", arguments.name),
            ("id", arguments.id),
            ("role", arguments.role),
            ("acknowledge", arguments.acknowledge),
            ("data_dir", arguments.data_dir),
            ("flush", arguments.flush),
            ("monitor", arguments.monitor),
            ("log", arguments.log),
            ("log_format", arguments.log_format),
        ];
        let named = named.into_iter().filter_map(|(key, value)| {
            value.map(|value| (format!("--{}", key.replace('_', "-")), key.to_owned(), value))
        });
        let set = arguments.set.iter().map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (format!("--set {pair}"), key.to_owned(), value.to_owned())
        });
        let settings =
            Settings::gather(&KEYS, &WITHOUT_EFFECT, arguments.config.as_deref(), environment, named.chain(set))?;
        Self::read(&settings)
    }

    fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let data_dir = settings.get::<PathBuf>("data_dir")?.unwrap_or_else(|| PathBuf::from("store"));
        let mut config = Self::local(data_dir, Vec::new());
        config.listen = listen(settings)?;
        config.advertise = settings.get("advertise")?;
        if let Some(text) = settings.text("advertise_networks") {
            let networks = text.parse::<Addresses>();
            config.advertise_networks =
                networks.map_err(|error| settings.refuse("advertise_networks", &error.to_string()))?;
        }
        if let Some(list) = settings.get::<Vec<String>>("nameserver")? {
            if list.iter().any(|address| address.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()))
            {
                return Err(settings.refuse("nameserver", "expected host:port, several separated by commas"));
            }
            config.nameservers = list;
        }
        for (key, place) in [("cluster", &mut config.cluster), ("name", &mut config.name)] {
            if let Some(text) = settings.get::<String>(key)? {
                name::check_topic(&text).map_err(|error| settings.refuse(key, &error.to_string()))?;
                *place = text;
            }
        }
        config.id = settings.get("id")?.unwrap_or(0);
        store::read(settings, &mut config.store)?;
        replication::read(settings, &mut config)?;
        transaction::read(settings, &mut config.transactions)?;
        config.timers = timers::read(settings)?;
        let truth = |key| settings.get::<bool>(key);
        config.auto_create_topics = truth("auto_create_topics")?.unwrap_or(true);
        config.auto_create_groups = truth("auto_create_groups")?.unwrap_or(true);
        config.long_polling = truth("long_polling")?.unwrap_or(true);
        config.trace_topic = truth("trace_topic")?.unwrap_or(false);
        config.filtering = filtering::read(settings)?;
        if let Some(text) = settings.text("slave_read_after") {
            config.slave_read_after =
                memory::parse(text).map_err(|cause| settings.refuse("slave_read_after", &cause))?;
        }
        if let Some(queues) = settings.get("default_topic_queues")? {
            if !(1..=1024).contains(&queues) {
                return Err(settings.refuse("default_topic_queues", "expected 1 to 1024"));
            }
            config.default_topic_queues = queues;
        }
        if let Some(ByteSize(size)) = settings.get("max_message_size")? {
            config.max_message_size =
                usize::try_from(size).ok().filter(|size| (1..=15 << 20).contains(size)).ok_or_else(|| {
                    settings.refuse("max_message_size", "expected 1 byte to 15MiB, for a frame holds 16MiB")
                })?;
        }
        config.max_connections = settings.get("max_connections")?.unwrap_or(config.max_connections);
        config.lease = settings.get("lease")?.unwrap_or(config.lease);
        if config.lease < Duration::from_secs(2) {
            return Err(settings.refuse("lease", "expected 2s or more, for heartbeats come each second"));
        }
        config.monitor = settings.get("monitor")?;
        config.log = settings.get("log")?.unwrap_or(config.log);
        config.log_format = match settings.text("log_format") {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(_) => return Err(settings.refuse("log_format", "expected text or json")),
        };
        config.ignored = settings.ignored().iter().map(|(key, origin)| format!("{key} ({origin})")).collect();
        Ok(config)
    }

    /// The address clients are told, once the port is known.
    ///
    /// # Errors
    /// The advertised host has no address.
    pub fn advertised(&self, bound: SocketAddr) -> Result<SocketAddr, String> {
        match &self.advertise {
            Some(host) => resolve("advertise", host, bound.port()),
            None if bound.ip().is_unspecified() => Ok(SocketAddr::new(outward(), bound.port())),
            None => Ok(bound),
        }
    }

    /// The address slaves are told, once the ports are known.
    ///
    /// # Errors
    /// The advertised host has no address.
    pub fn ha_advertised(&self, clients: SocketAddr, bound: SocketAddr) -> Result<SocketAddr, String> {
        match &self.ha_advertise {
            Some(host) => resolve("ha_advertise", host, bound.port()),
            None => Ok(SocketAddr::new(clients.ip(), bound.port())),
        }
    }
}

fn listen(settings: &Settings) -> Result<SocketAddr, ConfigError> {
    let mut listen = settings.get::<SocketAddr>("listen")?.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 10911)));
    if let Some(text) = settings.text("bind_address") {
        let ip = text.parse().map_err(|_| settings.refuse("bind_address", "expected an IP address"))?;
        listen.set_ip(ip);
    }
    if let Some(port) = settings.get("port")? {
        listen.set_port(port);
    }
    Ok(listen)
}

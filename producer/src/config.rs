//! Settings of a producer and their defaults.

use std::time::Duration;

use orbitmq_common::net::client::ClientOptions;
use orbitmq_common::protocol::frame::Encoding;
use orbitmq_common::route::finder::FinderOptions;

use crate::error::BuildError;
use crate::producer::Producer;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub nameservers: Vec<String>,
    pub group: String,
    pub send_timeout: Duration,
    pub try_timeout: Duration,
    pub retries: usize,
    pub max_in_flight: usize,
    pub max_bytes_in_flight: usize,
    pub max_message_size: usize,
    pub compress_over: Option<usize>,
    pub default_topic_queues: i32,
    pub trace: Option<String>,
    pub heartbeat: Duration,
    pub client: ClientOptions,
    pub finder: FinderOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            group: "DEFAULT_PRODUCER".to_owned(),
            send_timeout: Duration::from_secs(10),
            try_timeout: Duration::from_secs(3),
            retries: 2,
            max_in_flight: 4096,
            max_bytes_in_flight: 64 * 1024 * 1024,
            max_message_size: 4 * 1024 * 1024,
            compress_over: None,
            default_topic_queues: 4,
            trace: None,
            heartbeat: Duration::from_secs(30),
            client: ClientOptions::default(),
            finder: FinderOptions::default(),
        }
    }
}

/// Collects the settings of a [`Producer`]; every setting but the name servers has a default.
#[derive(Debug, Clone, Default)]
pub struct ProducerBuilder {
    pub(crate) config: Config,
}

impl ProducerBuilder {
    /// Name servers as `host:port`, one by one or joined with `;`. Required.
    #[must_use]
    pub fn nameservers<S: AsRef<str>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.config.nameservers = orbitmq_common::route::finder::split_nameservers(servers);
        self
    }

    /// Name of the group of producers that do the same work.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.config.group = group.into();
        self
    }

    /// Writes a trace of each message to the topic of RocketMQ's message traces, `RMQ_SYS_TRACE_TOPIC`, where `mqadmin
    /// queryMsgTraceById` and the dashboard look for it. Traces are gathered and sent apart; what cannot be sent is dropped and
    /// logged once. Brokers have that topic with `traceTopicEnable=true`, or create it as they do others.
    #[must_use]
    pub fn trace(self) -> Self {
        self.trace_to(orbitmq_common::name::TRACE_TOPIC)
    }

    /// Like [`Self::trace`], to a topic of one's own.
    #[must_use]
    pub fn trace_to(mut self, topic: impl Into<String>) -> Self {
        self.config.trace = Some(topic.into());
        self
    }

    /// Longest time a send takes with all its tries (10 s).
    #[must_use]
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.config.send_timeout = timeout;
        self
    }

    /// Longest time one try takes (3 s). A try given up too early may store the message twice.
    #[must_use]
    pub fn try_timeout(mut self, timeout: Duration) -> Self {
        self.config.try_timeout = timeout;
        self
    }

    /// Further tries after one that a broker refused or left unanswered (2). Tries that surely never reached a broker, and
    /// brokers that say they are busy, do not count: they are bounded by the send timeout alone.
    #[must_use]
    pub fn retries(mut self, retries: usize) -> Self {
        self.config.retries = retries;
        self
    }

    /// Messages that may be in hand at once; further sends wait (4096).
    #[must_use]
    pub fn max_in_flight(mut self, messages: usize) -> Self {
        self.config.max_in_flight = messages.max(1);
        self
    }

    /// Bytes that may be in hand at once; further sends wait (64 MiB).
    #[must_use]
    pub fn max_bytes_in_flight(mut self, bytes: usize) -> Self {
        self.config.max_bytes_in_flight = bytes.max(1);
        self
    }

    /// Largest message, body and properties together (4 MiB, as brokers allow by default).
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.config.max_message_size = bytes;
        self
    }

    /// Compress bodies larger than this with zlib. Off by default, since it costs more time than a local network does;
    /// RocketMQ's own clients use 4096.
    #[must_use]
    pub fn compress_over(mut self, bytes: usize) -> Self {
        self.config.compress_over = Some(bytes);
        self
    }

    /// Queues of a topic that a first send creates (4), if the brokers create topics at all.
    #[must_use]
    pub fn default_topic_queues(mut self, queues: i32) -> Self {
        self.config.default_topic_queues = queues.max(1);
        self
    }

    /// How often known routes are refreshed without any sign of staleness (1 s; with more
    /// than 20 topics less often).
    #[must_use]
    pub fn route_refresh(mut self, every: Duration) -> Self {
        self.config.finder.refresh = every;
        self
    }

    /// How often brokers are told that this producer is alive (30 s).
    #[must_use]
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.config.heartbeat = every;
        self
    }

    /// How long making a connection may take (3 s).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.client.connect_timeout = timeout;
        self
    }

    /// Speaks this encoding without asking first. By default MessagePack where the server reads it, else JSON.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.config.client.encoding = Some(encoding);
        self
    }

    /// Builds the producer. Connections are made when they are needed.
    ///
    /// # Errors
    /// The group's name cannot be used, or no name server is given.
    pub async fn build(self) -> Result<Producer, BuildError> {
        Producer::start_with(self.config, None).await
    }
}

//! Settings of a consumer and their defaults.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::net::client::ClientOptions;
use orbitmq_common::protocol::frame::Encoding;
use orbitmq_common::route::finder::FinderOptions;

use crate::assign::{Assign, Average};
use crate::consumer::Consumer;
use crate::error::BuildError;
use crate::modes::{Fetch, Mode, StartFrom};

/// Everything that can be set.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub nameservers: Vec<String>,
    pub group: String,
    pub instance: Option<String>,
    pub subscriptions: Vec<(String, &'static str, String)>,
    pub part: Option<String>,
    pub mode: Mode,
    pub fetch: Fetch,
    pub trace: Option<String>,
    pub invisible: Duration,
    pub start: StartFrom,
    pub assign: Arc<dyn Assign>,
    pub concurrency: usize,
    pub max_in_hand: usize,
    pub max_bytes_in_hand: usize,
    pub max_per_queue: usize,
    pub max_bytes_per_queue: usize,
    pub max_span: i64,
    pub pull_batch: i32,
    pub suspend: Duration,
    pub call_timeout: Duration,
    pub commit: Duration,
    pub rebalance: Duration,
    pub heartbeat: Duration,
    pub redeliver_after: Duration,
    pub suspend_queue: Duration,
    pub max_deliveries: Option<i32>,
    pub max_body: usize,
    pub close_within: Duration,
    pub client: ClientOptions,
    pub finder: FinderOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            group: String::new(),
            instance: None,
            subscriptions: Vec::new(),
            part: None,
            mode: Mode::Clustering,
            fetch: Fetch::Pull,
            trace: None,
            invisible: Duration::from_secs(60),
            start: StartFrom::default(),
            assign: Arc::new(Average),
            concurrency: 20,
            max_in_hand: 10_000,
            max_bytes_in_hand: 256 * 1024 * 1024,
            max_per_queue: 1_000,
            max_bytes_per_queue: 64 * 1024 * 1024,
            max_span: 2_000,
            pull_batch: 32,
            suspend: Duration::from_secs(15),
            call_timeout: Duration::from_secs(3),
            commit: Duration::from_secs(1),
            rebalance: Duration::from_secs(5),
            heartbeat: Duration::from_secs(30),
            redeliver_after: Duration::from_secs(5),
            suspend_queue: Duration::from_secs(1),
            max_deliveries: None,
            max_body: 64 * 1024 * 1024,
            close_within: Duration::from_secs(10),
            client: ClientOptions::default(),
            finder: FinderOptions::default(),
        }
    }
}

/// Collects the settings of a [`Consumer`]. Name servers, group and one subscription are required.
#[derive(Debug, Clone, Default)]
pub struct ConsumerBuilder {
    pub(crate) config: Config,
}

impl ConsumerBuilder {
    /// Name servers as `host:port`, one by one or joined with `;`.
    #[must_use]
    pub fn nameservers<S: AsRef<str>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.config.nameservers = orbitmq_common::route::finder::split_nameservers(servers);
        self
    }

    /// Name of the group whose members share the messages. All members must subscribe to the same.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.config.group = group.into();
        self
    }

    /// Subscribes to a topic: to everything (`*`) or to messages with certain tags (`TagA || TagB`).
    #[must_use]
    pub fn subscribe(mut self, topic: impl Into<String>, tags: impl Into<String>) -> Self {
        self.config.subscriptions.push((topic.into(), "TAG", tags.into()));
        self
    }

    /// Subscribes to the messages of a topic whose properties fulfil an SQL92 condition, in RocketMQ's dialect:
    /// `=`, `<>`, `<`, `<=`, `>`, `>=`, `BETWEEN`, `IN`, `IS NULL`, `CONTAINS`, `STARTSWITH`, `ENDSWITH`, `NOT`, `AND`, `OR`.
    /// `TAGS` and `KEYS` are properties like others. The brokers filter; Apache RocketMQ's do so with `enablePropertyFilter=true`.
    ///
    /// ```no_run
    /// # use orbitmq_consumer::Consumer;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let consumer = Consumer::builder()
    ///     .nameservers(["127.0.0.1:9876"])
    ///     .group("large-northern-orders")
    ///     .subscribe_sql("orders", "TAGS IN ('paid', 'sent') AND amount >= 100.0 AND region = 'north'")
    ///     .build()
    ///     .await?;
    /// while let Some(delivery) = consumer.next().await {
    ///     println!("{:?} of {:?}", delivery.key(), delivery.message().property("region"));
    ///     delivery.ack();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A number without a point compares with properties that are whole numbers of 32 bits; `100.0` compares with any number.
    /// A message that lacks a property, or has no number where one is compared, is not wanted.
    #[must_use]
    pub fn subscribe_sql(mut self, topic: impl Into<String>, condition: impl Into<String>) -> Self {
        self.config.subscriptions.push((topic.into(), "SQL92", condition.into()));
        self
    }

    /// Messages of one queue come one after the other, in order: the next when the one before is acknowledged.
    #[must_use]
    pub fn ordered(mut self) -> Self {
        self.config.mode = Mode::Ordered;
        self
    }

    /// How messages get here ([`Fetch::Pull`]). A broadcasting consumer always pulls.
    ///
    /// ```no_run
    /// # use orbitmq_consumer::{Consumer, Fetch};
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let consumer = Consumer::builder()
    ///     .nameservers(["127.0.0.1:9876"])
    ///     .group("resizers")
    ///     .subscribe("pictures", "*")
    ///     .fetch(Fetch::Pop)
    ///     .build()
    ///     .await?;
    /// while let Some(delivery) = consumer.next().await {
    ///     // However long it takes: the message is kept invisible to others for as long as the delivery lives.
    ///     println!("{} bytes", delivery.body().len());
    ///     delivery.ack();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn fetch(mut self, fetch: Fetch) -> Self {
        self.config.fetch = fetch;
        self
    }

    /// For how long nobody else is given a popped message (60 s). It is renewed for as long as a delivery is in hand; what is
    /// popped by a consumer that dies is given to the others after so long.
    #[must_use]
    pub fn invisible_time(mut self, time: Duration) -> Self {
        self.config.invisible = time.clamp(Duration::from_millis(100), Duration::from_secs(7 * 24 * 3600));
        self
    }

    /// Every member of the group gets every message. Offsets are kept in a file below `directory`; without one every start
    /// begins anew where [`ConsumerBuilder::start_from`] says.
    #[must_use]
    pub fn broadcasting(mut self, directory: Option<PathBuf>) -> Self {
        self.config.mode = Mode::Broadcasting(directory);
        self
    }

    /// Of the messages that the group subscribes to by tags, this member takes those with certain tags (`TagA || TagB`) alone;
    /// each member may take others. Only for broadcasting groups: in a shared queue nobody would see the rest.
    #[must_use]
    pub fn only_tags(mut self, tags: impl Into<String>) -> Self {
        self.config.part = Some(tags.into());
        self
    }

    /// Brokers know this consumer as `ip@instance`; by default the instance is random. No two members of a group may have the
    /// same.
    #[must_use]
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.config.instance = Some(instance.into());
        self
    }

    /// Where the group starts in queues of which it has no stored offset (after the last message).
    #[must_use]
    pub fn start_from(mut self, start: StartFrom) -> Self {
        self.config.start = start;
        self
    }

    /// How the group's members share the queues ([`Average`]). All members must use the same.
    #[must_use]
    pub fn assignment(mut self, assign: impl Assign + 'static) -> Self {
        self.config.assign = Arc::new(assign);
        self
    }

    /// Writes traces of each delivery to the topic of RocketMQ's message traces, `RMQ_SYS_TRACE_TOPIC`, where `mqadmin
    /// queryMsgTraceById` and the dashboard look for them. Traces are gathered and sent apart; what cannot be sent is dropped and
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

    /// Messages that [`Consumer::run`] handles at once (20).
    #[must_use]
    pub fn concurrency(mut self, messages: usize) -> Self {
        self.config.concurrency = messages.max(1);
        self
    }

    /// Messages that this consumer holds at once, fetched ahead or delivered and not yet done (10,000 and 256 MiB).
    /// Fetches that are under way when a limit is reached may exceed it by what they bring.
    #[must_use]
    pub fn max_in_hand(mut self, messages: usize, bytes: usize) -> Self {
        self.config.max_in_hand = messages.max(1);
        self.config.max_bytes_in_hand = bytes.max(1);
        self
    }

    /// Messages of one queue held at once (1,000 and 64 MiB).
    #[must_use]
    pub fn max_per_queue(mut self, messages: usize, bytes: usize) -> Self {
        self.config.max_per_queue = messages.max(1);
        self.config.max_bytes_per_queue = bytes.max(1);
        self
    }

    /// Offsets that may lie between the oldest message of a queue that is not done and the newest fetched (2,000): this bounds
    /// what is seen again after a crash.
    #[must_use]
    pub fn max_span(mut self, offsets: i64) -> Self {
        self.config.max_span = offsets.max(1);
        self
    }

    /// Messages that one request fetches (32, the most that brokers give by default).
    #[must_use]
    pub fn pull_batch(mut self, messages: i32) -> Self {
        self.config.pull_batch = messages.clamp(1, 1024);
        self
    }

    /// How long a broker holds a request for messages that are not there yet (15 s).
    #[must_use]
    pub fn long_poll(mut self, time: Duration) -> Self {
        self.config.suspend = time;
        self
    }

    /// How often offsets are stored (1 s).
    #[must_use]
    pub fn commit_every(mut self, time: Duration) -> Self {
        self.config.commit = time;
        self
    }

    /// How often the sharing of queues is checked when nobody tells of a change (5 s).
    #[must_use]
    pub fn rebalance_every(mut self, time: Duration) -> Self {
        self.config.rebalance = time;
        self
    }

    /// How often brokers are told that this consumer is alive (30 s).
    #[must_use]
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.config.heartbeat = every;
        self
    }

    /// How often known routes are refreshed without any sign of staleness (1 s; with more
    /// than 20 topics less often).
    #[must_use]
    pub fn route_refresh(mut self, every: Duration) -> Self {
        self.config.finder.refresh = every;
        self
    }

    /// When a delivery that was dropped without a word is delivered again (5 s).
    #[must_use]
    pub fn redeliver_after(mut self, time: Duration) -> Self {
        self.config.redeliver_after = time;
        self
    }

    /// How long an ordered queue rests after [`crate::Delivery::retry_later`] (1 s).
    #[must_use]
    pub fn suspend_queue(mut self, time: Duration) -> Self {
        self.config.suspend_queue = time;
        self
    }

    /// After how many returns a message goes to the dead letters (the group's setting, 16 by default). In ordered mode:
    /// for ever.
    #[must_use]
    pub fn max_deliveries(mut self, times: i32) -> Self {
        self.config.max_deliveries = Some(times.max(0));
        self
    }

    /// Largest body after decompression (64 MiB); a larger one goes to the dead letters.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.config.max_body = bytes;
        self
    }

    /// How long [`Consumer::close`] waits for deliveries in hand (10 s).
    #[must_use]
    pub fn close_within(mut self, time: Duration) -> Self {
        self.config.close_within = time;
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

    /// Builds the consumer, which starts fetching at once. A topic that does not exist yet is waited for.
    ///
    /// # Errors
    /// See [`BuildError`]. Some name server must answer.
    pub async fn build(self) -> Result<Consumer, BuildError> {
        Consumer::start_with(self.config).await
    }
}

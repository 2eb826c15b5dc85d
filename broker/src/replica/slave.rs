//! The slave's end of the replication stream: greets the master, checks and stores what it sends, and says what is durable.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::protocol::body::kv::KvTable;
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::relaxed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::plant::{self, Plant};
use crate::replica::metadata;
use crate::replica::role::{MasterAddress, Restart};
use crate::replica::wire::{self, CLASSIC_HEAD, HEAD, Head, Hello, Verdict, Welcome};
use crate::store::error::{AppendError, CopyError};

/// Time to the next attempt after one that failed.
const RETRY: Duration = Duration::from_millis(200);
const CONNECT: Duration = Duration::from_secs(2);
const GREETING: Duration = Duration::from_secs(3);
/// A master that says nothing for so long is gone; RocketMQ's speak every 5 s.
const SILENCE: Duration = Duration::from_secs(2);
const CLASSIC_SILENCE: Duration = Duration::from_secs(20);
/// Time between two signs of life.
const BEAT: Duration = Duration::from_millis(300);
const READ: usize = 256 << 10;

/// Why a session with a master ended.
#[derive(Debug, thiserror::Error)]
pub enum SlaveError {
    /// The network.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The master is of no use.
    #[error("the master at {address} refuses: {reason}")]
    Refused {
        /// Its replication address.
        address: String,
        /// What it said.
        reason: String,
    },
    /// Our own log takes nothing more.
    #[error("this slave's log is closed for writing until a restart has recovered: {0}")]
    Poisoned(String),
    /// What it sent is no log.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Blocks with a gap between them.
    #[error("the master sent offset {got} where {wanted} was due; connecting again")]
    Gap {
        /// What came.
        got: u64,
        /// What was due.
        wanted: u64,
    },
    /// The metadata cannot be stored.
    #[error(transparent)]
    Meta(#[from] crate::meta::db::DbError),
}

/// Copies a master's log and its metadata until `stop`.
pub async fn follow(broker: &Arc<Broker>, master: &MasterAddress, stop: &CancellationToken) {
    tokio::join!(
        copy_log(broker, master, stop),
        metadata::follow(Arc::clone(broker), master.client.clone(), stop.clone())
    );
}

/// Copies the log, over one connection after the other.
async fn copy_log(broker: &Arc<Broker>, master: &MasterAddress, stop: &CancellationToken) {
    let client = Client::new(ClientOptions::default());
    let mut told = String::new();
    while !stop.is_cancelled() {
        let ended = tokio::select! {
            ended = session(broker, master, &client) => ended,
            () = stop.cancelled() => break,
        };
        broker.role.set_master_alive(false);
        if let Err(error) = ended {
            let text = error.to_string();
            if told != text {
                tracing::warn!(master = %master.ha, error = text, "not copying the master; it is tried again");
                told = text;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.cancelled() => break,
        }
    }
    broker.role.set_master_alive(false);
}

async fn session(broker: &Broker, master: &MasterAddress, client: &Client) -> Result<(), SlaveError> {
    client.forget_failures(&master.client);
    let link = client.link(&master.client).await.map_err(std::io::Error::other)?;
    let stream = wire::within(CONNECT, TcpStream::connect(&master.ha)).await?;
    stream.set_nodelay(true)?;
    let (mut from, mut to) = stream.into_split();
    let classic = !link.speaks_message_pack();
    let begin = if classic {
        greet_classic(broker, &link, &mut to).await?
    } else {
        match greet(broker, master, &mut from, &mut to).await? {
            Some(at) => Begin { at: Some(at), asked: at, carry: BytesMut::new() },
            None => return Ok(()),
        }
    };
    tracing::info!(master = %master.ha, at = begin.at, classic, "copying the master's log");
    broker.role.set_master_alive(true);
    let copied = Copied { broker, classic, asked: begin.asked };
    tokio::select! {
        ended = copied.receive(&mut from, begin) => ended,
        ended = copied.report(&mut to) => ended,
    }
}

/// Where the stream begins; `None`: where its first block says.
struct Begin {
    at: Option<u64>,
    /// The offset that was asked for.
    asked: u64,
    /// Bytes that are known before they come.
    carry: BytesMut,
}

/// The log's end, once all of it is durable: bytes of an earlier session may still be on their way to the disk. What is told to a
/// master counts as an acknowledgement, so a log of which a flush has failed has no such end.
async fn durable_end(broker: &Broker) -> Result<u64, SlaveError> {
    let store = &broker.store;
    let end = store.end();
    store.nudge();
    loop {
        let news = store.news().notified();
        if let Some(reason) = store.poisoned() {
            return Err(SlaveError::Poisoned(reason));
        }
        if store.local() >= end {
            return Ok(end);
        }
        let _ = tokio::time::timeout(BEAT, news).await;
    }
}

/// Greets a master of ours. Returns the offset at which the stream begins; `None`: the store has to be closed first.
async fn greet(
    broker: &Broker,
    master: &MasterAddress,
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
) -> Result<Option<u64>, SlaveError> {
    let (store, config) = (&broker.store, &broker.config);
    let end = durable_end(broker).await?;
    let hello = Hello {
        cluster: config.cluster.clone(),
        broker: config.name.clone(),
        member: config.id,
        highest_epoch: broker.epochs.highest(),
        end,
        segment_size: store.segment_size(),
        epochs: broker.epochs.until(end),
        witness: store.last_record(),
    };
    wire::within(GREETING, async {
        to.write_i64(wire::MAGIC).await?;
        wire::write_message(to, &hello).await
    })
    .await?;
    let welcome: Welcome = wire::within(GREETING, wire::read_message(from)).await?;
    let refused = |reason: String| SlaveError::Refused { address: master.ha.clone(), reason };
    let begin = match welcome.verdict {
        Verdict::Follow => end,
        Verdict::BeginAt(at) => {
            if !store.begin_at(at) {
                return Err(refused(format!("its log begins at {at}, and ours is not empty")));
            }
            at
        }
        Verdict::Cut(at) => {
            broker.role.ask_restart(Restart::Cut(at));
            return Ok(None);
        }
        Verdict::StartOver(reason) => {
            broker.role.ask_restart(Restart::StartOver { segment_size: welcome.segment_size, reason });
            return Ok(None);
        }
        Verdict::Refused(reason) => return Err(refused(reason)),
    };
    if welcome.epoch < broker.epochs.highest() {
        return Err(refused(format!("its epoch {} is older than {}", welcome.epoch, broker.epochs.highest())));
    }
    // Known for good before anything of the new epoch is.
    broker.epochs.replace(welcome.epochs).await?;
    broker.role.set_readable();
    Ok(Some(begin))
}

/// Greets a master of RocketMQ's: tells it our end. An empty slave that says 0 gets the last segment alone, so it asks for offset
/// 1 if the log begins at 0: the byte before that is the highest of a record's length, which is 0 in every record there can be, and
/// the record's checksums vouch for it.
async fn greet_classic(broker: &Broker, link: &Link, to: &mut OwnedWriteHalf) -> Result<Begin, SlaveError> {
    let store = &broker.store;
    let end = durable_end(broker).await?;
    let mut begin = Begin { at: Some(end), asked: end, carry: BytesMut::new() };
    if end == 0 && broker.config.whole_log {
        let start = master_start(link).await?;
        if start > 0 && store.begin_at(start) {
            begin.at = Some(start);
            begin.asked = start;
        } else {
            begin.carry.extend_from_slice(&[0]);
            begin.asked = 1;
        }
    } else if end == 0 {
        begin.at = None;
    }
    wire::within(GREETING, to.write_u64(begin.asked)).await?;
    Ok(begin)
}

/// First offset of a master's log, as its figures say.
async fn master_start(link: &Link) -> Result<u64, SlaveError> {
    let answer =
        link.call(link.request(request::GET_BROKER_RUNTIME_INFO), GREETING).await.map_err(std::io::Error::other)?;
    let figures: KvTable = relaxed::parse(&answer.body).map_err(std::io::Error::other)?;
    let start = figures.table.get("commitLogMinOffset").and_then(|text| text.parse().ok());
    start.ok_or_else(|| {
        std::io::Error::other("the master does not say where its log begins (commitLogMinOffset)").into()
    })
}

/// A log that is being copied.
struct Copied<'b> {
    broker: &'b Broker,
    classic: bool,
    /// The offset that was asked for.
    asked: u64,
}

impl Copied<'_> {
    /// Takes the log as it comes.
    async fn receive(&self, from: &mut OwnedReadHalf, begin: Begin) -> Result<(), SlaveError> {
        let store = &self.broker.store;
        let silence = if self.classic { CLASSIC_SILENCE } else { SILENCE };
        let Begin { mut at, mut carry, .. } = begin;
        let mut inbox = BytesMut::with_capacity(READ);
        // Bytes of the block at hand that have yet to come.
        let mut left = 0_usize;
        loop {
            while left > 0 || inbox.len() >= if self.classic { CLASSIC_HEAD } else { HEAD } {
                if left == 0 {
                    let Some(head) = self.head(&mut inbox) else { break };
                    let start = match at {
                        Some(at) => at,
                        // A master of RocketMQ's has chosen where an empty slave begins.
                        None => {
                            store.begin_at(head.offset);
                            head.offset
                        }
                    };
                    let wanted = start + carry.len() as u64;
                    if head.offset != wanted {
                        return Err(SlaveError::Gap { got: head.offset, wanted });
                    }
                    at = Some(start);
                    left = usize::try_from(head.size).unwrap_or(usize::MAX);
                    if !self.classic {
                        store.set_ceiling(head.confirmed);
                        store.show_confirmed();
                    }
                    continue;
                }
                if inbox.is_empty() {
                    break;
                }
                let piece = inbox.split_to(left.min(inbox.len()));
                left -= piece.len();
                carry.extend_from_slice(&piece);
            }
            if let Some(at) = &mut at {
                *at = self.store(*at, &mut carry).await?;
            }
            inbox.reserve(READ);
            if wire::within(silence, from.read_buf(&mut inbox)).await? == 0 {
                return Err(std::io::Error::other("the master has closed the connection").into());
            }
        }
    }

    fn head(&self, inbox: &mut BytesMut) -> Option<Head> {
        let head = if self.classic {
            let head = Head::decode_classic(inbox.first_chunk()?);
            inbox.advance(CLASSIC_HEAD);
            head
        } else {
            let head = Head::decode(inbox.first_chunk()?);
            inbox.advance(HEAD);
            head
        };
        Some(head)
    }

    /// Stores the whole records at the start of `carry`; returns the log's new end.
    async fn store(&self, at: u64, carry: &mut BytesMut) -> Result<u64, SlaveError> {
        let store = &self.broker.store;
        loop {
            let news = store.news().notified();
            tokio::pin!(news);
            news.as_mut().enable();
            match store.replicate(at, carry) {
                Ok(taken) => {
                    carry.advance(taken);
                    if taken > 0 {
                        store.nudge();
                    }
                    return Ok(at + taken as u64);
                }
                // The disk is slower than the master, or full: the master hears of it by our silence.
                Err(CopyError::Append(
                    AppendError::Busy { .. } | AppendError::DiskFull { .. } | AppendError::Reserve { .. },
                )) => {
                    let _ = tokio::time::timeout(RETRY, news).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Tells the master what is durable here, as soon as it is, and that we are there.
    async fn report(&self, to: &mut OwnedWriteHalf) -> Result<(), SlaveError> {
        let store = &self.broker.store;
        let (mut told, mut beat_due) = (None, Instant::now());
        loop {
            let news = store.news().notified();
            tokio::pin!(news);
            news.as_mut().enable();
            // A master of RocketMQ's reads only the last of several numbers: what was asked for must not be taken back.
            let durable = if plant::is(Plant::SlaveAckBeforeFlush) { store.end() } else { store.local() };
            let local = durable.max(self.asked);
            if told == Some(local) && Instant::now() < beat_due {
                let _ = tokio::time::timeout_at(beat_due, news).await;
                continue;
            }
            wire::within(CLASSIC_SILENCE, to.write_u64(local)).await?;
            told = Some(local);
            beat_due = Instant::now() + BEAT;
        }
    }
}

//! The master's end of the replication stream: greets slaves, sends them the log, and hears what they have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::replica::epochs::common_end;
use crate::replica::in_sync::{Gate, Member};
use crate::replica::role::Role;
use crate::replica::wire::{self, Head, Hello, Verdict, Welcome};

/// Bytes of the log in one block for our slaves, and for RocketMQ's, which expect no more.
const BLOCK: u64 = 256 << 10;
const CLASSIC_BLOCK: u64 = 32 << 10;
/// Time between two signs of life.
const BEAT: Duration = Duration::from_millis(300);
const CLASSIC_BEAT: Duration = Duration::from_secs(5);
/// A slave that says nothing for so long is gone; RocketMQ's speak every 5 s.
const SILENCE: Duration = Duration::from_secs(3);
const CLASSIC_SILENCE: Duration = Duration::from_secs(20);
const GREETING: Duration = Duration::from_secs(3);

/// Numbers of slaves that do not tell theirs.
static NEXT_STRANGER: AtomicI64 = AtomicI64::new(-1);

/// What the in-sync set holds back in a broker: nothing, unless slaves confirm its messages.
impl Gate for Broker {
    fn freeze(&self) -> u64 {
        if self.config.store.replicated { self.store.freeze() } else { self.store.confirmed() }
    }

    fn set(&self, ceiling: u64) {
        if self.config.store.replicated {
            self.store.set_ceiling(ceiling);
        }
    }

    fn newest_change(&self) -> u64 {
        self.db.newest()
    }

    fn has_change(&self, member: Member, number: u64) -> bool {
        // Slaves of RocketMQ's do not tell what metadata they have.
        member < 0 || self.db.followers().has(member, number)
    }
}

/// Accepts slaves until `stop`. Whoever comes while this broker is no master is sent away.
pub async fn serve(broker: Arc<Broker>, listener: TcpListener, stop: CancellationToken) {
    let slaves = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a slave could not be accepted; trying again");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (broker, stop) = (Arc::clone(&broker), stop.clone());
        slaves.spawn(async move {
            tokio::select! {
                ended = feed(&broker, stream, remote) => {
                    if let Err(error) = ended {
                        tracing::info!(slave = %remote, %error, "the connection of a slave has ended");
                    }
                }
                () = stop.cancelled() => {}
            }
        });
    }
    drop(listener);
    slaves.close();
    slaves.wait().await;
}

/// One slave, from its greeting to its end.
async fn feed(broker: &Broker, stream: TcpStream, remote: SocketAddr) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut role = broker.role.watch();
    let Role::Master { epoch } = role.borrow_and_update().clone() else { return Ok(()) };
    let (mut from, mut to) = stream.into_split();
    let first = wire::within(GREETING, from.read_i64()).await?;
    let slave = if first == wire::MAGIC {
        let hello: Hello = wire::within(GREETING, wire::read_message(&mut from)).await?;
        let welcome = welcome(broker, epoch, &hello);
        tracing::info!(slave = %remote, member = hello.member, end = hello.end, verdict = ?welcome.verdict, "a slave greets");
        wire::within(GREETING, wire::write_message(&mut to, &welcome)).await?;
        let at = match welcome.verdict {
            Verdict::Follow => hello.end,
            Verdict::BeginAt(at) => at,
            Verdict::Cut(_) | Verdict::StartOver(_) | Verdict::Refused(_) => return Ok(()),
        };
        Slave { broker, member: hello.member, epoch, at, classic: false }
    } else {
        let at = classic_start(broker, u64::try_from(first).unwrap_or(0));
        tracing::info!(slave = %remote, end = first, at, "a slave of RocketMQ's kind connects");
        let member = NEXT_STRANGER.fetch_sub(1, Ordering::Relaxed);
        Slave { broker, member, epoch, at, classic: true }
    };
    broker.in_sync.connected(slave.member, &remote.to_string(), slave.at);
    let ended = tokio::select! {
        ended = slave.send(&mut to) => ended,
        ended = slave.hear(&mut from) => ended,
        // Another epoch, even of this broker: slaves have to greet again.
        _ = role.changed() => Ok(()),
    };
    broker.in_sync.disconnected(slave.member);
    ended
}

/// Where a slave of RocketMQ's begins: at its end; if it is empty, with the whole log or, if so set, the last segment.
fn classic_start(broker: &Broker, end: u64) -> u64 {
    if end > 0 {
        return end;
    }
    let (start, local) = (broker.store.min_physical(), broker.store.local());
    let size = broker.store.segment_size();
    if broker.config.whole_log { start } else { local - local.checked_rem(size).unwrap_or(0) }
}

/// What our slave has to do.
fn welcome(broker: &Broker, epoch: i32, hello: &Hello) -> Welcome {
    let epochs = broker.epochs.until(u64::MAX);
    let verdict = verdict(broker, epoch, hello);
    Welcome { verdict, epoch, epochs, segment_size: broker.store.segment_size() }
}

fn verdict(broker: &Broker, epoch: i32, hello: &Hello) -> Verdict {
    let config = &broker.config;
    if hello.cluster != config.cluster || hello.broker != config.name {
        let (theirs, ours) =
            (format!("{}/{}", hello.cluster, hello.broker), format!("{}/{}", config.cluster, config.name));
        return Verdict::Refused(format!("this is {ours}, not {theirs}: correct the slave's cluster, name or master"));
    }
    if hello.member == broker.config.id {
        return Verdict::Refused(format!("the master has id {} itself: give the slave another id", hello.member));
    }
    if hello.highest_epoch > epoch {
        return Verdict::Refused(format!(
            "the slave has heard of epoch {}, this master is of epoch {epoch}: it is not the newest master",
            hello.highest_epoch
        ));
    }
    if hello.segment_size != broker.store.segment_size() {
        let size = broker.store.segment_size();
        if hello.end == 0 {
            return Verdict::StartOver(format!("the master's segments have {size} bytes"));
        }
        return Verdict::Refused(format!(
            "the slave's segments have {} bytes, the master's {size}",
            hello.segment_size
        ));
    }
    let (start, end) = (broker.store.min_physical(), broker.store.end());
    if hello.end == 0 {
        let first = if config.whole_log { start } else { classic_start(broker, 0) };
        return if first == 0 { Verdict::Follow } else { Verdict::BeginAt(first) };
    }
    let common = common_end(&hello.epochs, hello.end, &broker.epochs.until(end), end);
    if let Some((at, sum)) = hello.witness
        && at < common
        && at >= start
        && broker.store.checksum_at(at) != Some(sum)
    {
        return Verdict::StartOver(format!("its log holds another record at offset {at} than the master's"));
    }
    if common < start {
        return Verdict::StartOver(format!(
            "the master's log begins at {start}, behind the slave's common end {common}"
        ));
    }
    if common < hello.end { Verdict::Cut(common) } else { Verdict::Follow }
}

/// A slave that is being fed.
struct Slave<'b> {
    broker: &'b Broker,
    member: Member,
    epoch: i32,
    /// Where its stream begins.
    at: u64,
    classic: bool,
}

impl Slave<'_> {
    /// Sends the log as it grows. Our slaves get what is written, so that they flush while the master does: epochs tell them what
    /// to take back. RocketMQ's cannot take anything back, so they get what the master itself would not lose.
    async fn send(&self, to: &mut OwnedWriteHalf) -> std::io::Result<()> {
        let store = &self.broker.store;
        let (block, beat) = if self.classic { (CLASSIC_BLOCK, CLASSIC_BEAT) } else { (BLOCK, BEAT) };
        let (mut at, mut told) = (self.at, 0);
        let mut beat_due = Instant::now() + beat;
        loop {
            let news = store.news().notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let limit = if self.classic { store.local() } else { store.written() };
            let bytes = if at < limit { store.log_bytes(at, limit, block) } else { None };
            let confirmed = store.confirmed();
            match bytes {
                Some(bytes) => {
                    let next = at + bytes.len() as u64;
                    self.write(to, at, bytes, confirmed).await?;
                    (at, told) = (next, confirmed);
                }
                None if at < store.min_physical() => {
                    return Err(std::io::Error::other(format!("the log does not have offset {at} any more")));
                }
                None if !self.classic && confirmed > told => {
                    self.write(to, at, Bytes::new(), confirmed).await?;
                    told = confirmed;
                }
                None if Instant::now() < beat_due => {
                    // What is news to others must not keep a slave from hearing that we are here.
                    let _ = tokio::time::timeout_at(beat_due, news).await;
                    continue;
                }
                None => self.write(to, at, Bytes::new(), confirmed).await?,
            }
            beat_due = Instant::now() + beat;
        }
    }

    async fn write(&self, to: &mut OwnedWriteHalf, offset: u64, bytes: Bytes, confirmed: u64) -> std::io::Result<()> {
        let size = u32::try_from(bytes.len()).unwrap_or(0);
        let head = Head { offset, size, epoch: self.epoch, confirmed };
        // The bytes are a view of the mapped segment; nothing copies them on the way to the socket.
        let written = async {
            if self.classic {
                to.write_all_buf(&mut Bytes::from_owner(head.encode_classic()).chain(bytes)).await
            } else {
                to.write_all_buf(&mut Bytes::from_owner(head.encode()).chain(bytes)).await
            }
        };
        wire::within(CLASSIC_SILENCE, written).await
    }

    /// Hears what the slave has.
    async fn hear(&self, from: &mut OwnedReadHalf) -> std::io::Result<()> {
        let silence = if self.classic { CLASSIC_SILENCE } else { SILENCE };
        loop {
            let offset = wire::within(silence, from.read_i64()).await?;
            let Ok(offset) = u64::try_from(offset) else { continue };
            // Nobody has what was not written yet; a slave that says so belongs to another log.
            if offset > self.broker.store.end() {
                return Err(std::io::Error::other(format!(
                    "it claims to have the log up to {offset}, beyond the master's end"
                )));
            }
            self.broker.in_sync.acked(self.member, offset, self.broker);
            self.broker.store.show_confirmed();
        }
    }
}

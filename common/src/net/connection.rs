//! One connection's loop: reads frames in batches, has them handled, writes answers in batches.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::codec::Decoder;
use tokio_util::sync::CancellationToken;

use crate::net::outgoing::Outgoing;
use crate::net::peer::Peer;
use crate::protocol::codec::{DecodeError, FrameCodec};
use crate::protocol::frame::Frame;

/// An answer that takes time.
pub type Later = Pin<Box<dyn Future<Output = Option<Frame>> + Send>>;

/// What a handler makes of a request.
pub enum Outcome {
    /// The answer is here.
    Answer(Frame),
    /// The answer needs to wait for something; the connection goes on meanwhile.
    Later(Later),
    /// There is no answer.
    Nothing,
}

impl Outcome {
    /// An answer that takes time.
    pub fn later(answer: impl Future<Output = Frame> + Send + 'static) -> Self {
        Self::Later(Box::pin(answer.map(Some)))
    }
}

/// Handles the requests of connections. Calls for one connection come one after another, in the order of its frames.
pub trait Handler: Send + Sync + 'static {
    /// Deals with one request; must not block.
    fn call(&self, peer: &Arc<Peer>, request: Frame) -> Outcome;

    /// The connection has ended.
    fn closed(&self, peer: &Arc<Peer>) {
        let _ = peer;
    }
}

/// Bounds of one connection.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// Longest frame accepted, bytes.
    pub max_frame: usize,
    /// Requests of one connection that may be in hand at once; beyond it nothing is read.
    pub max_in_hand: usize,
    /// Bytes of answers that may wait for a slow reader; beyond it nothing is read.
    pub max_unwritten: usize,
    /// A connection that sends nothing for so long is closed.
    pub max_idle: Duration,
    /// A connection that takes none of what is to be written for so long is closed.
    pub max_stalled: Duration,
    /// How long requests in hand may take once the server stops.
    pub drain: Duration,
    /// Bytes of frames that have not arrived in full, over all connections that share this; beyond it the connection that
    /// brings more is closed.
    pub max_unfinished: usize,
    /// The count for `max_unfinished`; clones of these options share it.
    pub unfinished: Arc<AtomicUsize>,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            max_frame: crate::protocol::codec::MAX_FRAME,
            max_in_hand: 4096,
            max_unwritten: 8 * 1024 * 1024,
            max_idle: Duration::from_secs(120),
            max_stalled: Duration::from_secs(30),
            drain: Duration::from_secs(3),
            max_unfinished: 512 * 1024 * 1024,
            unfinished: Arc::default(),
        }
    }
}

/// Why a connection ended, when not in peace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("{0}")]
    Decode(#[from] DecodeError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("nothing was received for {0:?}")]
    Idle(Duration),
    #[error("the other end takes no data since {0:?}")]
    Stalled(Duration),
    #[error("{0} bytes of unfinished frames wait on all connections together; this one brought more")]
    Unfinished(usize),
}

const SMALLEST_READ: usize = 4 * 1024;
const LARGEST_READ: usize = 256 * 1024;
const CHECK: Duration = Duration::from_secs(5);

struct Loop<'c, H: ?Sized> {
    peer: &'c Arc<Peer>,
    handler: &'c H,
    options: &'c ConnectionOptions,
    out: Outgoing,
    in_hand: FuturesUnordered<Later>,
    codec: FrameCodec,
    read_size: usize,
    unfinished: usize,
}

/// Runs a connection until one side ends it, and tells the handler when it has ended.
pub(crate) async fn run<H: Handler + ?Sized>(
    stream: TcpStream,
    peer: &Arc<Peer>,
    outbox: mpsc::Receiver<Frame>,
    handler: &H,
    options: &ConnectionOptions,
    stop: &CancellationToken,
) {
    let mut connection = Loop {
        peer,
        handler,
        options,
        out: Outgoing::default(),
        in_hand: FuturesUnordered::new(),
        codec: FrameCodec::new(options.max_frame),
        read_size: SMALLEST_READ,
        unfinished: 0,
    };
    match connection.serve(stream, outbox, stop).await {
        Ok(()) => tracing::debug!(peer = %peer.remote(), "connection closed"),
        Err(Ended::Io(error)) if is_ordinary(&error) => {
            tracing::debug!(peer = %peer.remote(), %error, "connection lost")
        }
        Err(error) => tracing::warn!(peer = %peer.remote(), %error, "connection closed by us"),
    }
    peer.abandon();
    handler.closed(peer);
}

fn is_ordinary(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof)
}

impl<H: Handler + ?Sized> Loop<'_, H> {
    async fn serve(
        &mut self,
        stream: TcpStream,
        mut outbox: mpsc::Receiver<Frame>,
        stop: &CancellationToken,
    ) -> Result<(), Ended> {
        let (mut reader, writer) = stream.into_split();
        let mut tick = tokio::time::interval_at(Instant::now() + CHECK, CHECK);
        let mut stalled_since: Option<Instant> = None;
        let mut drain_until: Option<Instant> = None;
        let mut told = Vec::new();
        let mut buffer = BytesMut::new();
        let peer = Arc::clone(self.peer);
        loop {
            let before = self.out.len();
            self.out.write(&writer)?;
            let unwritten = self.out.len();
            stalled_since = match stalled_since {
                _ if unwritten == 0 || unwritten < before => None,
                None => Some(Instant::now()),
                since => since,
            };
            if let Some(until) = drain_until
                && ((self.in_hand.is_empty() && unwritten == 0) || Instant::now() >= until)
            {
                return Ok(());
            }
            let reads = drain_until.is_none()
                && unwritten < self.options.max_unwritten
                && self.in_hand.len() < self.options.max_in_hand;
            buffer.reserve(self.read_size);
            let room = buffer.capacity() - buffer.len();
            tokio::select! {
                count = reader.read_buf(&mut buffer), if reads => match count? {
                    0 => return Ok(()),
                    count => self.received(&mut buffer, count, room)?,
                },
                Some(answer) = self.in_hand.next(), if !self.in_hand.is_empty() => self.answered(answer),
                count = outbox.recv_many(&mut told, 256) => {
                    if count == 0 { return Ok(()) }
                    for mut frame in told.drain(..) { self.out.push(&mut frame); }
                }
                writable = writer.writable(), if unwritten > 0 => writable?,
                () = peer.closed() => return Ok(()),
                () = stop.cancelled(), if drain_until.is_none() => drain_until = Some(Instant::now() + self.options.drain),
                _ = tick.tick() => self.check(stalled_since, unwritten)?,
                () = drain_deadline(drain_until), if drain_until.is_some() => {}
            }
        }
    }

    /// Handles every frame that is complete in `buffer`, whose last `count` bytes came in with one read into `room`.
    fn received(&mut self, buffer: &mut BytesMut, count: usize, room: usize) -> Result<(), Ended> {
        self.peer.note_read();
        self.read_size = if count == room {
            (self.read_size * 2).min(LARGEST_READ)
        } else if count < self.read_size / 4 {
            (self.read_size / 2).max(SMALLEST_READ)
        } else {
            self.read_size
        };
        while let Some(frame) = self.codec.decode(buffer)? {
            self.handle(frame);
        }
        self.count_unfinished(buffer.len())
    }

    /// Small rests are bounded by the number of connections; long frames that come slowly, or never end, are not.
    fn count_unfinished(&mut self, rest: usize) -> Result<(), Ended> {
        let rest = if rest > LARGEST_READ { rest } else { 0 };
        let (before, count) = (std::mem::replace(&mut self.unfinished, rest), &self.options.unfinished);
        if rest <= before {
            count.fetch_sub(before - rest, Ordering::Relaxed);
            return Ok(());
        }
        let more = rest - before;
        let all = count.fetch_add(more, Ordering::Relaxed) + more;
        if all > self.options.max_unfinished { Err(Ended::Unfinished(all)) } else { Ok(()) }
    }

    fn handle(&mut self, frame: Frame) {
        if frame.is_answer() {
            return self.peer.complete(frame);
        }
        let oneway = frame.is_oneway();
        match self.handler.call(self.peer, frame) {
            Outcome::Answer(_) if oneway => {}
            Outcome::Answer(mut answer) => self.out.push(&mut answer),
            Outcome::Later(later) if oneway => self.in_hand.push(Box::pin(later.map(|_| None))),
            Outcome::Later(later) => self.in_hand.push(later),
            Outcome::Nothing => {}
        }
    }

    /// Takes an answer and all others that are ready by now, so that one write carries them.
    fn answered(&mut self, first: Option<Frame>) {
        let mut next = Some(first);
        while let Some(answer) = next {
            if let Some(mut frame) = answer {
                self.out.push(&mut frame);
            }
            next = self.in_hand.next().now_or_never().flatten();
        }
    }

    fn check(&self, stalled_since: Option<Instant>, unwritten: usize) -> Result<(), Ended> {
        if let Some(since) = stalled_since
            && unwritten > 0
            && since.elapsed() > self.options.max_stalled
        {
            return Err(Ended::Stalled(since.elapsed()));
        }
        let idle = self.peer.idle();
        if idle > self.options.max_idle && self.in_hand.is_empty() && !self.peer.has_calls() {
            return Err(Ended::Idle(idle));
        }
        Ok(())
    }
}

impl<H: ?Sized> Drop for Loop<'_, H> {
    fn drop(&mut self) {
        self.options.unfinished.fetch_sub(self.unfinished, Ordering::Relaxed);
    }
}

async fn drain_deadline(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

//! The other end of a connection: asked, told, or closed from anywhere.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::protocol::frame::Frame;

/// Frames that may wait for a slow reader before its connection is given up.
pub(crate) const OUTBOX: usize = 16 * 1024;

/// A request got no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// No connection could be made.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// Where to.
        address: String,
        /// What the system said, and what to look at.
        cause: String,
    },
    /// The connection ended before the answer came.
    #[error(
        "the connection to {address} was closed before the answer came: it stopped, or something between cut the connection"
    )]
    Closed {
        /// The other end.
        address: String,
    },
    /// The deadline passed.
    #[error("no answer from {address} within {after:?}: it hangs or is overloaded, or the network loses packets")]
    Timeout {
        /// The other end.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// More is waiting to be sent than the connection takes.
    #[error("too many requests wait for {address}; send more slowly")]
    Overloaded {
        /// The other end.
        address: String,
    },
}

impl CallError {
    /// The other end.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Self::Connect { address, .. }
            | Self::Closed { address }
            | Self::Timeout { address, .. }
            | Self::Overloaded { address } => address,
        }
    }

    /// Whether the request certainly never reached the other end.
    #[must_use]
    pub fn never_sent(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Overloaded { .. })
    }
}

/// One end of a connection as the other sees it.
#[derive(Debug)]
pub struct Peer {
    id: u64,
    remote: SocketAddr,
    local: SocketAddr,
    outbox: mpsc::Sender<Frame>,
    closed: CancellationToken,
    next_opaque: AtomicI32,
    calls: Mutex<HashMap<i32, oneshot::Sender<Frame>>>,
    opened: Instant,
    last_read_ms: AtomicU64,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Peer {
    pub(crate) fn new(remote: SocketAddr, local: SocketAddr) -> (Arc<Self>, mpsc::Receiver<Frame>) {
        let (outbox, frames) = mpsc::channel(OUTBOX);
        let peer = Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            remote,
            local,
            outbox,
            closed: CancellationToken::new(),
            next_opaque: AtomicI32::new(1),
            calls: Mutex::default(),
            opened: Instant::now(),
            last_read_ms: AtomicU64::new(0),
        };
        (Arc::new(peer), frames)
    }

    /// Number of the connection, unique in this process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Address of the other end.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Our own address on this connection.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Ends the connection; requests still waiting for an answer fail.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Resolves when the connection has ended.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Sends a request that wants no answer, or an answer that was promised for later.
    ///
    /// # Errors
    /// The connection has ended or is so slow that its outbox is full; then it is closed.
    pub fn tell(&self, frame: Frame) -> Result<(), CallError> {
        if self.is_closed() {
            return Err(self.closed_error());
        }
        match self.outbox.try_send(frame) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.closed_error()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(CallError::Overloaded { address: self.remote.to_string() }),
        }
    }

    /// Sends a request and hands out its answer as a future that may be awaited later, or dropped. The deadline runs from now.
    pub fn start(self: &Arc<Self>, mut request: Frame, deadline: Duration) -> Answer {
        let opaque = self.next_opaque.fetch_add(1, Ordering::Relaxed);
        request.opaque = opaque;
        let (sender, receiver) = oneshot::channel();
        self.calls.lock().insert(opaque, sender);
        let sent = Instant::now();
        let refused = self.tell(request).err();
        // A connection that ended between the check and the insertion has already dropped its waiting requests.
        if self.is_closed() {
            self.calls.lock().remove(&opaque);
        }
        let timer = Box::pin(tokio::time::sleep(deadline));
        Answer { peer: Arc::clone(self), opaque, receiver, refused, timer, deadline, sent }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// See [`CallError`]. An answer that refuses is no error here.
    pub async fn call(self: &Arc<Self>, request: Frame, deadline: Duration) -> Result<Frame, CallError> {
        self.start(request, deadline).await
    }

    /// Sends a request and has `done` called with its answer.
    pub fn call_back(
        self: &Arc<Self>,
        request: Frame,
        deadline: Duration,
        done: impl FnOnce(Result<Frame, CallError>) + Send + 'static,
    ) {
        let answer = self.start(request, deadline);
        tokio::spawn(async move { done(answer.await) });
    }

    /// Hands an answer to whoever waits for it.
    pub(crate) fn complete(&self, answer: Frame) {
        let waiting = self.calls.lock().remove(&answer.opaque);
        match waiting {
            // The receiver may be gone: its caller lost interest.
            Some(waiting) => drop(waiting.send(answer)),
            None => tracing::debug!(peer = %self.remote, opaque = answer.opaque, "an answer nobody waits for"),
        }
    }

    pub(crate) fn note_read(&self) {
        self.last_read_ms.store(millis(self.opened.elapsed()), Ordering::Relaxed);
    }

    pub(crate) fn idle(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.last_read_ms.load(Ordering::Relaxed)))
    }

    pub(crate) fn has_calls(&self) -> bool {
        !self.calls.lock().is_empty()
    }

    /// Ends all waiting; for the connection's own end.
    pub(crate) fn abandon(&self) {
        self.closed.cancel();
        self.calls.lock().clear();
    }

    fn closed_error(&self) -> CallError {
        CallError::Closed { address: self.remote.to_string() }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The answer to a request that was sent; dropping it gives the answer up.
#[derive(Debug)]
pub struct Answer {
    peer: Arc<Peer>,
    opaque: i32,
    receiver: oneshot::Receiver<Frame>,
    refused: Option<CallError>,
    timer: Pin<Box<tokio::time::Sleep>>,
    deadline: Duration,
    sent: Instant,
}

impl Future for Answer {
    type Output = Result<Frame, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        use std::task::Poll;
        if let Some(error) = self.refused.take() {
            return Poll::Ready(Err(error));
        }
        match Pin::new(&mut self.receiver).poll(cx) {
            Poll::Ready(Ok(frame)) => return Poll::Ready(Ok(frame)),
            Poll::Ready(Err(_)) => return Poll::Ready(Err(self.peer.closed_error())),
            Poll::Pending => {}
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        // Nothing at all came since the request went out: the connection is half open, and the next request needs a new one.
        if self.peer.idle() >= self.sent.elapsed() {
            self.peer.close();
        }
        Poll::Ready(Err(CallError::Timeout { address: self.peer.remote.to_string(), after: self.deadline }))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.peer.calls.lock().remove(&self.opaque);
    }
}

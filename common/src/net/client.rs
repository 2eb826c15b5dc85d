//! Connections to servers, one per address, made when needed and made anew when they end.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::net::connection::{self, ConnectionOptions, Handler, Outcome};
use crate::net::peer::{Answer, CallError, Peer};
use crate::net::server::tune;
use crate::protocol::code::{request, response};
use crate::protocol::frame::{Encoding, Frame};
use crate::protocol::header::nameserver::Hello;

/// The serialize types we read, as [`Hello`] states them.
pub const ENCODINGS: u32 = 0b111;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How connections are made.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Header encoding; `None`: MessagePack where the server speaks it, else JSON.
    pub encoding: Option<Encoding>,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// Bounds of each connection.
    pub connection: ConnectionOptions,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            encoding: None,
            connect_timeout: Duration::from_secs(3),
            connection: ConnectionOptions { max_unwritten: usize::MAX, ..ConnectionOptions::default() },
        }
    }
}

/// An open connection with the encoding its server reads.
#[derive(Debug, Clone)]
pub struct Link {
    peer: Arc<Peer>,
    encoding: Encoding,
}

impl Link {
    /// A request of kind `code` in the encoding of this connection. RocketMQ's binary header has no room for the large numbers of
    /// popping; such a request goes as JSON, which every server reads.
    #[must_use]
    pub fn request(&self, code: i32) -> Frame {
        let fits = self.encoding != Encoding::Binary || i16::try_from(code).is_ok();
        Frame::request(code, if fits { self.encoding } else { Encoding::Json })
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Whether the other end is of our kind rather than RocketMQ's.
    #[must_use]
    pub fn speaks_message_pack(&self) -> bool {
        self.encoding == Encoding::MessagePack
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, request: Frame, deadline: Duration) -> Result<Frame, CallError> {
        self.peer.call(request, deadline).await
    }

    /// Sends a request and hands out its answer as a future.
    pub fn start(&self, request: Frame, deadline: Duration) -> Answer {
        self.peer.start(request, deadline)
    }

    /// Sends a request and has `done` called with its answer.
    pub fn call_back(
        &self,
        request: Frame,
        deadline: Duration,
        done: impl FnOnce(Result<Frame, CallError>) + Send + 'static,
    ) {
        self.peer.call_back(request, deadline, done);
    }

    /// Sends a request that wants no answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn oneway(&self, request: Frame) -> Result<(), CallError> {
        self.peer.tell(request.oneway())
    }
}

#[derive(Default)]
struct Slot {
    link: Option<Link>,
    failures: u32,
    not_before: Option<Instant>,
    last_cause: String,
}

/// Connections by address. Cheap to share; all of them end when it is dropped or closed.
pub struct Client {
    options: ClientOptions,
    handler: Arc<dyn Handler>,
    slots: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Answers whatever a server asks of a client that expects no requests.
struct NoRequests;

impl Handler for NoRequests {
    fn call(&self, _: &Arc<Peer>, request: Frame) -> Outcome {
        let remark = format!("request kind {} is not understood by this client", request.code);
        Outcome::Answer(request.refuse(response::REQUEST_CODE_NOT_SUPPORTED, remark))
    }
}

impl Client {
    /// A client that expects no requests from servers.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        Self::with_handler(options, Arc::new(NoRequests))
    }

    /// A client whose `handler` deals with what servers ask.
    #[must_use]
    pub fn with_handler(options: ClientOptions, handler: Arc<dyn Handler>) -> Self {
        Self { options, handler, slots: Mutex::default(), stop: CancellationToken::new() }
    }

    /// The connection to `address` (`host:port`), made now if there is none. After a failure the next attempt waits a
    /// jittered moment; until then the failure is repeated at once.
    ///
    /// # Errors
    /// [`CallError::Connect`].
    pub async fn link(&self, address: &str) -> Result<Link, CallError> {
        let slot = Arc::clone(self.slots.lock().entry(address.to_owned()).or_default());
        let mut slot = slot.lock().await;
        if let Some(link) = &slot.link
            && !link.peer.is_closed()
        {
            return Ok(link.clone());
        }
        slot.link = None;
        if slot.not_before.is_some_and(|time| Instant::now() < time) {
            return Err(CallError::Connect { address: address.to_owned(), cause: slot.last_cause.clone() });
        }
        match self.connect(address).await {
            Ok(link) => {
                *slot = Slot { link: Some(link.clone()), ..Slot::default() };
                Ok(link)
            }
            Err(error) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << slot.failures.min(10)).min(LONGEST_PAUSE);
                slot.failures = slot.failures.saturating_add(1);
                slot.not_before = Some(Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0));
                if let CallError::Connect { cause, .. } = &error {
                    slot.last_cause.clone_from(cause);
                }
                Err(error)
            }
        }
    }

    async fn connect(&self, address: &str) -> Result<Link, CallError> {
        let failed = |cause: String| CallError::Connect { address: address.to_owned(), cause };
        let stream = tokio::time::timeout(self.options.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| failed(no_connection_within(self.options.connect_timeout)))?
            .map_err(|error| failed(explained(&error)))?;
        tune(&stream);
        let addresses = stream.peer_addr().and_then(|remote| Ok((remote, stream.local_addr()?)));
        let (remote, local) = addresses.map_err(|error| failed(error.to_string()))?;
        let (peer, outbox) = Peer::new(remote, local);
        let (handler, options, stop) =
            (Arc::clone(&self.handler), self.options.connection.clone(), self.stop.child_token());
        let running = Arc::clone(&peer);
        tokio::spawn(async move {
            connection::run(stream, &running, outbox, handler.as_ref(), &options, &stop).await;
        });
        let encoding = match self.options.encoding {
            Some(encoding) => encoding,
            None => self.negotiate(&peer).await.map_err(|error| failed(error.to_string()))?,
        };
        Ok(Link { peer, encoding })
    }

    /// Asks the server whether it reads MessagePack; RocketMQ's own refuse the question.
    async fn negotiate(&self, peer: &Arc<Peer>) -> Result<Encoding, CallError> {
        let hello = Frame::request(request::HELLO, Encoding::Json).with_fields(&hello(None));
        let answer = peer.call(hello, self.options.connect_timeout).await.inspect_err(|_| peer.close())?;
        let known = (answer.code == response::SUCCESS).then(|| answer.fields::<Hello>().ok()).flatten();
        let both = known.map_or(0, |hello| hello.encodings & ENCODINGS);
        Ok(if both & (1 << Encoding::MessagePack as u32) != 0 { Encoding::MessagePack } else { Encoding::Json })
    }

    /// Forgets a pause after failures, for an address that is known to be back.
    pub fn forget_failures(&self, address: &str) {
        let slot = self.slots.lock().get(address).cloned();
        if let Some(slot) = slot
            && let Ok(mut slot) = slot.try_lock()
        {
            slot.failures = 0;
            slot.not_before = None;
        }
    }

    /// Ends all connections; answers still awaited fail.
    pub fn close(&self) {
        self.stop.cancel();
        self.slots.lock().clear();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Answers HELLO: which encodings we read.
#[must_use]
pub fn answer_hello(request: &Frame) -> Frame {
    request.answer(response::SUCCESS).with_fields(&hello(None))
}

/// What we say of ourselves; `instance`: a number that no other running broker has.
#[must_use]
pub fn hello(instance: Option<i64>) -> Hello {
    Hello { encodings: ENCODINGS, instance }
}
/// The cause of a connection that does not come about in time.
pub fn no_connection_within(limit: Duration) -> String {
    format!(
        "no connection within {limit:?}; a firewall drops it, the machine is off, or the address does not lead there from here"
    )
}

/// What the system says of a failed connection, and what to look at.
fn explained(error: &io::Error) -> String {
    let look = match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there: start the daemon, or correct the port",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "no way leads there from here: correct the address, or advertise one that is reachable"
        }
        io::ErrorKind::InvalidInput => "expected host:port",
        // Resolvers have no error numbers of the system's.
        _ if error.raw_os_error().is_none() => {
            "the host name is not found: correct it, or look at DNS and /etc/hosts here"
        }
        _ => "is the daemon running there and the address reachable?",
    };
    format!("{error}; {look}")
}

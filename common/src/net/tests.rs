//! Checks of sockets over loopback.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::net::client::{Client, ClientOptions, answer_hello};
use crate::net::connection::{ConnectionOptions, Handler, Outcome};
use crate::net::peer::{CallError, Peer};
use crate::net::server::{bind, serve};
use crate::protocol::code::request;
use crate::protocol::frame::{Encoding, Frame};

const ECHO: i32 = 1;
const NEVER: i32 = 2;
const SLOW: i32 = 3;
const ASK_BACK: i32 = 4;
const DEADLINE: Duration = Duration::from_secs(10);

struct Echo {
    speaks: bool,
    release: Arc<tokio::sync::Notify>,
}

impl Handler for Echo {
    fn call(&self, peer: &Arc<Peer>, frame: Frame) -> Outcome {
        match frame.code {
            request::HELLO if self.speaks => Outcome::Answer(answer_hello(&frame)),
            ECHO => Outcome::Answer(frame.answer(0).with_body(frame.body.clone())),
            NEVER => Outcome::Nothing,
            SLOW => {
                let release = Arc::clone(&self.release);
                Outcome::later(async move {
                    release.notified().await;
                    frame.answer(0)
                })
            }
            ASK_BACK => {
                let peer = Arc::clone(peer);
                Outcome::later(async move {
                    let asked =
                        peer.call(Frame::request(ECHO, frame.encoding).with_body(frame.body.clone()), DEADLINE).await;
                    frame.answer(0).with_body(asked.unwrap().body)
                })
            }
            _ => Outcome::Answer(frame.refuse(3, "unknown")),
        }
    }
}

struct Running {
    address: String,
    stop: CancellationToken,
    release: Arc<tokio::sync::Notify>,
    done: tokio::task::JoinHandle<()>,
}

fn start(speaks: bool, options: ConnectionOptions) -> Running {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, release) = (CancellationToken::new(), Arc::new(tokio::sync::Notify::new()));
    let handler = Arc::new(Echo { speaks, release: Arc::clone(&release) });
    let done = tokio::spawn(serve(listener, handler, options, 100, stop.clone()));
    Running { address, stop, release, done }
}

#[tokio::test]
async fn speaks_message_pack_where_the_server_does_and_json_elsewhere() {
    for (speaks, encoding) in [(true, Encoding::MessagePack), (false, Encoding::Json)] {
        let server = start(speaks, ConnectionOptions::default());
        let client = Client::new(ClientOptions::default());
        let link = client.link(&server.address).await.unwrap();
        assert_eq!(link.request(ECHO).encoding, encoding);
        let answer = link.call(link.request(ECHO).with_body("hello"), DEADLINE).await.unwrap();
        assert_eq!((answer.body.as_ref(), answer.encoding), (b"hello".as_ref(), encoding));
    }
}

#[tokio::test]
async fn all_four_call_modes_carry_bodies_of_every_size() {
    let server = start(true, ConnectionOptions::default());
    let client = Client::new(ClientOptions::default());
    let link = client.link(&server.address).await.unwrap();
    link.oneway(link.request(ECHO)).unwrap();
    for size in [0usize, 1, 2047, 2048, 2049, 70_000, 3_000_000] {
        let body = vec![7u8; size];
        let pending = link.start(link.request(ECHO).with_body(body.clone()), DEADLINE);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        link.call_back(link.request(ECHO).with_body(body.clone()), DEADLINE, |answer| sender.send(answer).unwrap());
        assert_eq!(link.call(link.request(ECHO).with_body(body.clone()), DEADLINE).await.unwrap().body, body);
        assert_eq!(receiver.await.unwrap().unwrap().body, body);
        assert_eq!(pending.await.unwrap().body, body);
    }
}

#[tokio::test]
async fn answers_overtake_slow_ones_and_many_are_in_hand() {
    let server = start(true, ConnectionOptions::default());
    let client = Client::new(ClientOptions::default());
    let link = client.link(&server.address).await.unwrap();
    let slow: Vec<_> = (0..500).map(|_| link.start(link.request(SLOW), DEADLINE)).collect();
    assert_eq!(link.call(link.request(ECHO).with_body("quick"), DEADLINE).await.unwrap().body, "quick");
    server.release.notify_waiters();
    for answer in slow {
        assert_eq!(answer.await.unwrap().code, 0);
    }
}

#[tokio::test]
async fn a_server_asks_its_client() {
    let server = start(true, ConnectionOptions::default());
    let handler = Arc::new(Echo { speaks: true, release: Arc::default() });
    let client = Client::with_handler(ClientOptions::default(), handler);
    let link = client.link(&server.address).await.unwrap();
    assert_eq!(
        link.call(link.request(ASK_BACK).with_body("there and back"), DEADLINE).await.unwrap().body,
        "there and back"
    );
}

#[tokio::test]
async fn a_silent_connection_is_given_up_after_its_deadline_and_made_anew() {
    let server = start(true, ConnectionOptions::default());
    let client = Client::new(ClientOptions::default());
    let link = client.link(&server.address).await.unwrap();
    let failed = link.call(link.request(NEVER), Duration::from_millis(50)).await;
    assert!(matches!(failed, Err(CallError::Timeout { .. })), "{failed:?}");
    assert!(link.peer().is_closed());
    let link = client.link(&server.address).await.unwrap();
    assert_eq!(link.call(link.request(ECHO), DEADLINE).await.unwrap().code, 0);
}

#[tokio::test]
async fn a_dead_server_fails_waiting_requests_and_further_ones_at_once() {
    let server = start(true, ConnectionOptions { drain: Duration::from_millis(10), ..ConnectionOptions::default() });
    let client = Client::new(ClientOptions::default());
    let link = client.link(&server.address).await.unwrap();
    let waiting = link.start(link.request(NEVER), DEADLINE);
    server.stop.cancel();
    assert!(matches!(waiting.await, Err(CallError::Closed { .. })));
    server.done.await.unwrap();
    assert!(matches!(client.link(&server.address).await, Err(CallError::Connect { .. })));
    assert!(matches!(client.link(&server.address).await, Err(CallError::Connect { .. })));
}

#[tokio::test]
async fn a_stopping_server_finishes_what_it_has_in_hand() {
    let server = start(true, ConnectionOptions::default());
    let client = Client::new(ClientOptions::default());
    let link = client.link(&server.address).await.unwrap();
    let slow = link.start(link.request(SLOW), DEADLINE);
    link.call(link.request(ECHO), DEADLINE).await.unwrap();
    server.stop.cancel();
    server.release.notify_waiters();
    assert_eq!(slow.await.unwrap().code, 0);
    server.done.await.unwrap();
}

#[tokio::test]
async fn frames_that_lie_close_their_connection_only() {
    let options = ConnectionOptions { max_frame: 1000, ..ConnectionOptions::default() };
    let server = start(true, options);
    let garbage: [&[u8]; 5] = [
        &[0xff; 8],
        &[0, 0, 0, 2, 0, 0],
        &[0, 0, 0, 8, 0, 0, 0, 200, 1, 2, 3, 4],
        &[0, 0, 0, 8, 9, 0, 0, 4, 1, 2, 3, 4],
        &[0, 0, 0, 8, 0, 0, 0, 4, b'{', b'}', b'}', b'}'],
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{bytes:?} left the connection open");
    }
    let client = Client::new(ClientOptions::default());
    let link = client.link(&server.address).await.unwrap();
    assert_eq!(link.call(link.request(99), DEADLINE).await.unwrap().code, 3);
}

#[tokio::test]
async fn frames_that_never_end_are_bounded_over_all_connections() {
    let options = ConnectionOptions { max_unfinished: 2 << 20, ..ConnectionOptions::default() };
    let unfinished = Arc::clone(&options.unfinished);
    let server = start(true, options);
    let mut streams = Vec::new();
    let mut refused = 0;
    for _ in 0..4 {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        // A frame of 8 MiB of which 1 MiB comes.
        stream.write_all(&[0, 128, 0, 0]).await.unwrap();
        if stream.write_all(&vec![0; 1 << 20]).await.is_err() {
            refused += 1;
        }
        streams.push(stream);
    }
    for stream in &mut streams {
        let ended = tokio::time::timeout(Duration::from_millis(500), stream.read_u8()).await;
        refused += usize::from(ended.is_ok());
    }
    assert!(refused > 0, "four unfinished frames of 1 MiB were all kept");
    let client = Client::new(ClientOptions::default());
    let link = client.link(&server.address).await.unwrap();
    assert_eq!(link.call(link.request(ECHO), DEADLINE).await.unwrap().code, 0);
    drop(streams);
    let emptied = async {
        while unfinished.load(std::sync::atomic::Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, emptied).await.unwrap();
}

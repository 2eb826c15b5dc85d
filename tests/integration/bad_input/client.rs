//! Our client against servers that answer nonsense: every call ends with an error that says why, in time.

use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use orbitmq_common::net::client::{Client, ClientOptions};
use orbitmq_common::net::peer::CallError;
use orbitmq_common::protocol::codec::{FrameCodec, encode_frame};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::Decoder;

const DEADLINE: Duration = Duration::from_millis(400);
/// A call that fails for another reason than its deadline does so long before this.
const SOON: Duration = Duration::from_secs(10);

/// The next frame of a connection.
async fn read(stream: &mut TcpStream, buffer: &mut BytesMut) -> Option<Frame> {
    loop {
        if let Some(frame) = FrameCodec::default().decode(buffer).unwrap() {
            return Some(frame);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_frame(frame, &mut out);
    out.to_vec()
}

/// A server that answers each request with the bytes that `nonsense` makes of it, and then closes if `close`.
async fn serve(nonsense: impl Fn(&Frame) -> Vec<u8> + Send + 'static, close: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = BytesMut::new();
            while let Some(request) = read(&mut stream, &mut buffer).await {
                if stream.write_all(&nonsense(&request)).await.is_err() || close {
                    break;
                }
            }
        }
    });
    address
}

fn client(encoding: Option<Encoding>) -> Client {
    Client::new(ClientOptions { encoding, connect_timeout: Duration::from_secs(5), ..ClientOptions::default() })
}

/// Calls a server with an encoding agreed upon beforehand.
async fn call(address: &str, deadline: Duration) -> Result<Frame, CallError> {
    let client = client(Some(Encoding::Json));
    let link = client.link(address).await?;
    link.call(link.request(10), deadline).await
}

#[tokio::test]
async fn bytes_that_are_no_frame_fail_the_call_at_once() {
    let broken: [&[u8]; 6] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0, 0, 0, 0],
        &[0xff; 16],
        &[0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0],
        &[0, 0, 0, 6, 0, 0, 0, 2, b'{', b'}'],
        &[0, 0, 0, 4, 9, 0, 0, 0],
    ];
    for bytes in broken {
        let address = serve(move |_| bytes.to_vec(), false).await;
        let begun = Instant::now();
        let error = call(&address, Duration::from_secs(60)).await.unwrap_err();
        assert!(matches!(error, CallError::Closed { .. }), "{error}");
        assert!(error.to_string().contains(&address), "{error}");
        assert!(begun.elapsed() < SOON);
    }
}

#[tokio::test]
async fn an_answer_that_ends_in_the_middle_fails_the_call_at_once() {
    for cut in [1, 5, 9, 20, 60] {
        let address = serve(move |request| bytes_of(&request.answer(0).with_body("body"))[..cut].to_vec(), true).await;
        let begun = Instant::now();
        let error = call(&address, Duration::from_secs(60)).await.unwrap_err();
        assert!(matches!(error, CallError::Closed { .. }), "{error}");
        assert!(begun.elapsed() < SOON);
    }
}

#[tokio::test]
async fn answers_to_other_requests_do_not_count() {
    let other = |request: &Frame| bytes_of(&Frame { opaque: request.opaque.wrapping_add(1), ..request.answer(0) });
    for address in [serve(other, false).await, serve(|_| Vec::new(), false).await] {
        let error = call(&address, DEADLINE).await.unwrap_err();
        assert!(matches!(error, CallError::Timeout { .. }), "{error}");
        assert!(error.to_string().contains(&address), "{error}");
    }
}

#[tokio::test]
async fn a_long_answer_that_never_comes_is_given_up() {
    let address = serve(|_| (15_u32 << 20).to_be_bytes().to_vec(), false).await;
    let error = call(&address, DEADLINE).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn of_two_answers_the_first_counts() {
    let twice = |request: &Frame| {
        let mut both = bytes_of(&request.answer(0).with_remark("first"));
        both.extend(bytes_of(&request.answer(1).with_remark("second")));
        both
    };
    let address = serve(twice, false).await;
    let client = client(Some(Encoding::Binary));
    let link = client.link(&address).await.unwrap();
    for _ in 0..50 {
        let answer = link.call(link.request(10), Duration::from_secs(20)).await.unwrap();
        assert_eq!(answer.remark.as_deref(), Some("first"));
    }
}

#[tokio::test]
async fn answers_in_another_encoding_are_read() {
    let address =
        serve(|request| bytes_of(&Frame { encoding: Encoding::MessagePack, ..request.answer(7) }), false).await;
    assert_eq!(call(&address, Duration::from_secs(20)).await.unwrap().code, 7);
}

#[tokio::test]
async fn requests_of_a_server_that_nobody_expects_are_refused() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    // The answer to the server's request comes in as the next frame.
    let ask = move |frame: &Frame| {
        if frame.is_answer() {
            tell.send(frame.clone()).unwrap();
            return Vec::new();
        }
        let mut both = bytes_of(&Frame { opaque: 3, ..Frame::request(40_000, Encoding::Json) });
        both.extend(bytes_of(&Frame { opaque: 4, ..Frame::request(40_000, Encoding::Json) }.oneway()));
        both.extend(bytes_of(&frame.answer(0)));
        both
    };
    let address = serve(ask, false).await;
    let client = client(Some(Encoding::Json));
    let link = client.link(&address).await.unwrap();
    link.call(link.request(10), Duration::from_secs(20)).await.unwrap();
    let refused = tokio::time::timeout(Duration::from_secs(20), told.recv()).await.unwrap().unwrap();
    assert_eq!((refused.opaque, refused.code), (3, 3));
    assert!(refused.remark.unwrap().contains("40000"));
}

#[tokio::test]
async fn servers_that_greet_with_nonsense_are_spoken_to_in_json() {
    for greeting in [
        br#"{"encodings":"many"}"#.as_slice(),
        br#"{"encodings":-1}"#,
        br#"{"encodings":"0"}"#,
        br#"{}"#,
        br#"{"encodings":"4294967288"}"#,
    ] {
        let address =
            serve(move |request| bytes_of(&Frame { raw_fields: greeting.into(), ..request.answer(0) }), false).await;
        let link = client(None).link(&address).await.unwrap();
        assert!(!link.speaks_message_pack(), "{}", String::from_utf8_lossy(greeting));
    }
}

#[tokio::test]
async fn servers_that_do_not_greet_at_all_are_reported() {
    let mut hello = BytesMut::new();
    hello.put_slice(b"SSH-2.0-OpenSSH\r\n");
    let hello = hello.freeze();
    let address = serve(move |_| hello.to_vec(), false).await;
    let error = client(None).link(&address).await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }) && error.to_string().contains(&address), "{error}");
}

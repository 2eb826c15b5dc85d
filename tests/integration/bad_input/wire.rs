//! A socket that says whatever it is told to, and waits for answers no longer than a deadline.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use orbitmq_common::protocol::codec::{FrameCodec, encode_frame};
use orbitmq_common::protocol::frame::Frame;
use tokio_util::codec::Decoder;

/// No request may take longer.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
    codec: FrameCodec,
    opaque: i32,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: BytesMut::new(), codec: FrameCodec::new(64 << 20), opaque: 0 }
    }

    /// Gives up writing after so long.
    pub fn patience(&self, patience: Duration) {
        self.stream.set_write_timeout(Some(patience)).unwrap();
    }

    /// Sends a frame under a number of its own, which is returned.
    pub fn send(&mut self, mut frame: Frame) -> i32 {
        self.opaque += 1;
        frame.opaque = self.opaque;
        let mut bytes = BytesMut::new();
        encode_frame(&frame, &mut bytes);
        self.send_bytes(&bytes).unwrap();
        self.opaque
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame; `None`: the other end closed.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.codec.decode(&mut self.buffer).unwrap() {
                return Some(frame);
            }
            let mut piece = [0; 64 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer within {DEADLINE:?}: {error}"),
            }
        }
    }

    /// Sends a request and returns its answer.
    pub fn ask(&mut self, request: Frame) -> Frame {
        let opaque = self.send(request);
        loop {
            let frame = self.next().expect("an answer, not a closed connection");
            if frame.is_answer() && frame.opaque == opaque {
                return frame;
            }
        }
    }

    /// Sends all requests and returns the answers in the order of the requests.
    pub fn ask_all(&mut self, requests: &[Frame]) -> Vec<Frame> {
        let sent: Vec<_> = requests.iter().map(|request| self.send(request.clone())).collect();
        let mut answers = BTreeMap::new();
        while answers.len() < sent.len() {
            let Some(frame) = self.next() else {
                let missing = sent.iter().position(|opaque| !answers.contains_key(opaque)).unwrap();
                panic!("closed before the answer to {:?}", requests[missing]);
            };
            if frame.is_answer() {
                assert!(sent.contains(&frame.opaque), "an answer to nothing: {frame:?}");
                assert!(answers.insert(frame.opaque, frame).is_none(), "a second answer");
            }
        }
        answers.into_values().collect()
    }

    /// Reads until the other end closes.
    pub fn assert_closed(&mut self, why: &str) {
        if let Some(frame) = self.next() {
            panic!("{why}: {frame:?}");
        }
    }
}

//! A connection that sends bytes as they are and takes frames apart no further than their lengths.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest time for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A frame as it came.
pub struct Raw {
    /// The four bytes before the header, as one number.
    pub header_length: u32,
    pub header: Vec<u8>,
    pub body: Vec<u8>,
}

pub struct Wire(TcpStream);

impl Wire {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// A JSON header and a body, as both clients frame them.
    pub fn send(&mut self, header: &str, body: &[u8]) {
        let length = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
        let total = length(4 + header.len() + body.len());
        let frame = [&total[..], &length(header.len()), header.as_bytes(), body].concat();
        self.0.write_all(&frame).unwrap();
    }

    pub fn receive(&mut self) -> Raw {
        let total = self.number() as usize;
        let header_length = self.number();
        let length = (header_length & 0xff_ffff) as usize;
        let mut header = vec![0; length];
        self.0.read_exact(&mut header).unwrap();
        let mut body = vec![0; total - 4 - length];
        self.0.read_exact(&mut body).unwrap();
        Raw { header_length, header, body }
    }

    fn number(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.0.read_exact(&mut bytes).unwrap();
        u32::from_be_bytes(bytes)
    }
}

/// What came, by the lowest bit of its flag.
pub enum Came<T> {
    Answer(T),
    Request(T),
}

impl<T> Came<T> {
    pub fn flagged(flag: i32, told: T) -> Self {
        if flag & 1 == 0 { Self::Request(told) } else { Self::Answer(told) }
    }
}

/// Requests of the broker that the client has yet to look at.
pub struct Inbox<T>(VecDeque<T>);

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Inbox<T> {
    /// The next answer that is wanted; others are dropped, requests kept.
    pub fn answer(&mut self, mut receive: impl FnMut() -> Came<T>, is_wanted: impl Fn(&T) -> bool) -> T {
        loop {
            match receive() {
                Came::Request(told) => self.0.push_back(told),
                Came::Answer(told) if is_wanted(&told) => return told,
                Came::Answer(_) => {}
            }
        }
    }

    /// The next request that is wanted; answers are dropped, other requests kept.
    pub fn request(&mut self, mut receive: impl FnMut() -> Came<T>, is_wanted: impl Fn(&T) -> bool) -> T {
        loop {
            if let Some(found) = self.0.iter().position(&is_wanted) {
                return self.0.remove(found).unwrap();
            }
            if let Came::Request(told) = receive() {
                self.0.push_back(told);
            }
        }
    }
}

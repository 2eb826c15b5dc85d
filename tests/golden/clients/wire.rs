//! A connection that sends bytes as they are and takes frames apart no further than their lengths.

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

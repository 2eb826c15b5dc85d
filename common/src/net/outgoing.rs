//! What is about to be written to a socket: heads gathered in one buffer, large bodies left where they are.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::net::tcp::OwnedWriteHalf;

use crate::protocol::codec::encode_head;
use crate::protocol::frame::Frame;

/// Bodies up to this length are cheaper to copy than to hand to the kernel as a slice of their own.
const COPY_UP_TO: usize = 2048;
const SLICES: usize = 64;

/// Bytes of frames in the order in which they were pushed.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    gathered: BytesMut,
    ready: VecDeque<Bytes>,
    ready_len: usize,
}

impl Outgoing {
    /// Appends a frame.
    pub(crate) fn push(&mut self, frame: &mut Frame) {
        encode_head(frame, &mut self.gathered);
        self.push_body(std::mem::take(&mut frame.body));
        for piece in std::mem::take(&mut frame.more) {
            self.push_body(piece);
        }
    }

    fn push_body(&mut self, body: Bytes) {
        if body.len() <= COPY_UP_TO {
            self.gathered.put_slice(&body);
        } else {
            self.seal();
            self.ready_len += body.len();
            self.ready.push_back(body);
        }
    }

    fn seal(&mut self) {
        if !self.gathered.is_empty() {
            let gathered = self.gathered.split().freeze();
            self.ready_len += gathered.len();
            self.ready.push_back(gathered);
        }
    }

    /// Bytes not yet written.
    pub(crate) fn len(&self) -> usize {
        self.ready_len + self.gathered.len()
    }

    /// Writes as much as the socket takes without waiting.
    pub(crate) fn write(&mut self, socket: &OwnedWriteHalf) -> io::Result<()> {
        self.seal();
        while !self.ready.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut used = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.ready) {
                *slice = IoSlice::new(bytes);
                used += 1;
            }
            match socket.try_write_vectored(slices.get(..used).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        self.ready_len = self.ready_len.saturating_sub(written);
        while let Some(front) = self.ready.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.ready.pop_front();
        }
    }
}

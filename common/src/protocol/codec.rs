//! Frames from and to bytes: `u32 length | u8 serialize type, u24 header length | header | body`, big endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use crate::protocol::code::response;
use crate::protocol::fields::brief;
use crate::protocol::frame::{Encoding, Frame};
use crate::protocol::{binary, json, msgpack};

/// The longest frame RocketMQ's servers accept by default, 16 MiB, without its own length field.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

const READ_AHEAD: usize = 256 * 1024;
const MAX_HEADER: usize = 0x00ff_ffff;

/// A frame cannot be read; its connection has to be closed, for where the next one begins is unknown.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The length field asks for more than is accepted.
    #[error("a frame of {length} bytes is longer than the limit of {limit}; send smaller messages or raise the limit")]
    TooLong {
        /// What the frame claims.
        length: usize,
        /// What is accepted.
        limit: usize,
    },
    /// The frame claims a header that does not fit into it.
    #[error("a frame of {length} bytes claims a header of {header}")]
    LyingHeader {
        /// Length of the frame.
        length: usize,
        /// Length it gives for its header.
        header: usize,
    },
    /// None of the encodings 0, 1, 2.
    #[error("serialize type {0} is unknown; known are 0 (JSON), 1 (RocketMQ binary) and 2 (MessagePack)")]
    UnknownEncoding(u8),
    /// The header does not parse.
    #[error("{0}")]
    Header(String),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl DecodeError {
    pub(crate) fn header(what: &str, cause: &dyn std::fmt::Display) -> Self {
        Self::Header(format!("{what}: {}", brief(&cause.to_string(), 150)))
    }
}

/// Cuts a byte stream into frames. A frame's body is a slice of the read buffer, not a copy.
#[derive(Debug, Clone)]
pub struct FrameCodec {
    limit: usize,
}

impl FrameCodec {
    /// A codec that refuses frames of more than `limit` bytes (their length field not counted).
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit }
    }
}

impl Default for FrameCodec {
    fn default() -> Self {
        Self::new(MAX_FRAME)
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = DecodeError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let Some(prefix) = source.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > self.limit {
            return Err(DecodeError::TooLong { length, limit: self.limit });
        }
        if length < 4 {
            return Err(DecodeError::LyingHeader { length, header: 0 });
        }
        if source.len() < 4 + length {
            // Room grows with what arrives: a lying length alone must not take memory.
            source.reserve((4 + length - source.len()).min(READ_AHEAD));
            return Ok(None);
        }
        source.advance(4);
        decode_frame(source.split_to(length).freeze()).map(Some)
    }
}

/// Reads one frame without its length field.
///
/// # Errors
/// The frame's header lies about its length, has an unknown serialize type or does not parse.
pub fn decode_frame(mut frame: Bytes) -> Result<Frame, DecodeError> {
    let length = frame.len();
    let Ok(mark) = frame.try_get_u32() else { return Err(DecodeError::LyingHeader { length, header: 0 }) };
    let header = (mark & 0x00ff_ffff) as usize;
    if header > frame.len() {
        return Err(DecodeError::LyingHeader { length, header });
    }
    let kind = (mark >> 24) as u8;
    let body = frame.split_off(header);
    let mut decoded = match Encoding::from_byte(kind).ok_or(DecodeError::UnknownEncoding(kind))? {
        Encoding::Json => json::decode(frame)?,
        Encoding::Binary => binary::decode(frame)?,
        Encoding::MessagePack => msgpack::decode(frame)?,
    };
    decoded.body = body;
    Ok(decoded)
}

/// Writes everything of `frame` that stands before its body, the length field included.
pub fn encode_head(frame: &Frame, out: &mut BytesMut) {
    let start = out.len();
    out.put_u64(0);
    match frame.encoding {
        Encoding::Json => json::encode(frame, out),
        Encoding::Binary => binary::encode(frame, out),
        Encoding::MessagePack => msgpack::encode(frame, out),
    }
    let header = out.len() - start - 8;
    if header > MAX_HEADER {
        out.truncate(start);
        return encode_head(&without_header(frame, header), out);
    }
    let length = (4 + header + frame.body_len()) as u32;
    let mark = ((frame.encoding as u32) << 24) | (header as u32 & 0x00ff_ffff);
    if let Some(prefix) = out.get_mut(start..start + 8) {
        prefix.copy_from_slice(&((u64::from(length) << 32) | u64::from(mark)).to_be_bytes());
    }
}

/// What is sent in place of a frame whose header has no room in the wire's 24 bits of length.
fn without_header(frame: &Frame, length: usize) -> Frame {
    tracing::error!(code = frame.code, length, "a frame's header is too long to be sent");
    let remark = format!("the header of this frame has {length} bytes, more than fit; ask for less at a time");
    let code = if frame.is_answer() { response::SYSTEM_ERROR } else { frame.code };
    Frame { code, raw_fields: Bytes::new(), ..frame.clone() }.with_remark(remark)
}

/// Writes all of `frame`, its body copied.
pub fn encode_frame(frame: &Frame, out: &mut BytesMut) {
    encode_head(frame, out);
    out.put_slice(&frame.body);
    for piece in &frame.more {
        out.put_slice(piece);
    }
}

//! Compression of message bodies: zlib, LZ4 frames and Zstandard are read, zlib is written.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use lz4_flex::frame::FrameDecoder;
use ruzstd::decoding::StreamingDecoder;

use crate::message::sysflag;

/// Greatest window a Zstandard body may ask for, so that a few bytes cannot claim gigabytes.
const ZSTD_WINDOW_MAX: u64 = 8 * 1024 * 1024;

/// Why a body cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// The bits name no known compression.
    #[error("compression kind {0} is unknown: zlib, LZ4 and ZSTD are known")]
    Kind(u32),
    /// The body is larger than the reader allows.
    #[error("the body has more than {0} bytes once decompressed: raise the limit if this is expected")]
    Limit(usize),
    /// The bytes are not of the form that the bits name.
    #[error("the body is not a whole {kind} stream: {cause}")]
    Damaged {
        /// Form that was expected.
        kind: &'static str,
        /// What the decoder said.
        cause: String,
    },
}

/// The body as the sender had it. A body that is not compressed comes back as it is.
pub fn decompress(body: &Bytes, sys_flag: u32, limit: usize) -> Result<Bytes, CompressError> {
    if sys_flag & sysflag::COMPRESSED == 0 {
        return Ok(body.clone());
    }
    match sys_flag & sysflag::COMPRESSION_MASK {
        // Old clients leave the kind empty.
        0 | sysflag::COMPRESSION_ZLIB => drain("zlib", ZlibDecoder::new(body.as_ref()), limit),
        sysflag::COMPRESSION_LZ4 => drain("LZ4", FrameDecoder::new(body.as_ref()), limit),
        sysflag::COMPRESSION_ZSTD => {
            let decoder = StreamingDecoder::new_with_max_window_size(body.as_ref(), ZSTD_WINDOW_MAX)
                .map_err(|cause| CompressError::Damaged { kind: "ZSTD", cause: cause.to_string() })?;
            drain("ZSTD", decoder, limit)
        }
        other => Err(CompressError::Kind(other >> 8)),
    }
}

/// The body as a zlib stream; its `sysFlag` bits are [`sysflag::COMPRESSED`] and [`sysflag::COMPRESSION_ZLIB`].
pub fn compress_zlib(body: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(body.len() / 2), Compression::new(5));
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}

/// Reads at most one byte more than the limit, so memory follows the output and stops there.
fn drain(kind: &'static str, decoder: impl Read, limit: usize) -> Result<Bytes, CompressError> {
    let mut out = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(most)
        .read_to_end(&mut out)
        .map_err(|cause| CompressError::Damaged { kind, cause: cause.to_string() })?;
    if out.len() > limit { Err(CompressError::Limit(limit)) } else { Ok(out.into()) }
}

#[cfg(test)]
mod tests;

//! The replication stream: RocketMQ's, and our own with a handshake before it.
//!
//! RocketMQ's: the slave sends its log's end (i64), first and after each append; the master sends blocks of the log, each with
//! offset (i64) and size (i32); size 0 is a sign of life.
//!
//! Ours begins with a number that no log offset can be, then a [`Hello`] and its [`Welcome`], each MessagePack with its length
//! (u32) before it. A block's head also has the epoch (i32) and the confirmed offset (i64). These bytes must stay as they are.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::replica::epochs::Epoch;

/// What our slaves send in place of a log offset.
pub const MAGIC: i64 = i64::from_be_bytes(*b"\xFFOMQHA1\n");
/// Bytes of a block's head in RocketMQ's stream.
pub const CLASSIC_HEAD: usize = 12;
/// Bytes of a block's head in ours.
pub const HEAD: usize = 24;
/// No hello or welcome is longer: tens of thousands of epochs.
const LONGEST: u32 = 1 << 20;

/// A slave says who it is and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The cluster.
    pub cluster: String,
    /// Name of the broker group.
    pub broker: String,
    /// Number of the slave within it.
    pub member: i64,
    /// Newest epoch it has heard of; an older master must not feed it.
    pub highest_epoch: i32,
    /// Log offset behind its last durable record.
    pub end: u64,
    /// Bytes of its log segments.
    pub segment_size: u64,
    /// Its epochs.
    pub epochs: Vec<Epoch>,
    /// A record that it has, and its checksum.
    pub witness: Option<(u64, u32)>,
}

/// A master's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// What the slave has to do.
    pub verdict: Verdict,
    /// The master's epoch.
    pub epoch: i32,
    /// Its epochs.
    pub epochs: Vec<Epoch>,
    /// Bytes of its log segments.
    pub segment_size: u64,
}

/// What a slave has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Go on: the stream begins at its end.
    Follow,
    /// It is empty and the master's log begins here: the stream does too.
    BeginAt(u64),
    /// First take back what it has from here on.
    Cut(u64),
    /// Set its log aside and begin anew, for a reason.
    StartOver(String),
    /// Go away, for a reason.
    Refused(String),
}

/// The head of a block of our stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Log offset of the block.
    pub offset: u64,
    /// Bytes of it.
    pub size: u32,
    /// The master's epoch.
    pub epoch: i32,
    /// Up to where the log is confirmed.
    pub confirmed: u64,
}

impl Head {
    /// As it is sent.
    pub fn encode(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        let fields = [
            &self.offset.to_be_bytes()[..],
            &self.size.to_be_bytes(),
            &self.epoch.to_be_bytes(),
            &self.confirmed.to_be_bytes(),
        ];
        fields.into_iter().flatten().zip(&mut bytes).for_each(|(from, to)| *to = *from);
        bytes
    }

    /// As RocketMQ's slaves read it.
    pub fn encode_classic(self) -> [u8; CLASSIC_HEAD] {
        let mut bytes = [0; CLASSIC_HEAD];
        self.encode().into_iter().zip(&mut bytes).for_each(|(from, to)| *to = from);
        bytes
    }

    /// Reads a head of our stream.
    pub fn decode(bytes: &[u8; HEAD]) -> Self {
        let [o0, o1, o2, o3, o4, o5, o6, o7, s0, s1, s2, s3, e0, e1, e2, e3, c0, c1, c2, c3, c4, c5, c6, c7] = *bytes;
        Self {
            offset: u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
            size: u32::from_be_bytes([s0, s1, s2, s3]),
            epoch: i32::from_be_bytes([e0, e1, e2, e3]),
            confirmed: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
        }
    }

    /// Reads a head of RocketMQ's stream, in which a master does not say what is confirmed.
    pub fn decode_classic(bytes: &[u8; CLASSIC_HEAD]) -> Self {
        let [o0, o1, o2, o3, o4, o5, o6, o7, s0, s1, s2, s3] = *bytes;
        Self {
            offset: u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
            size: u32::from_be_bytes([s0, s1, s2, s3]),
            epoch: 0,
            confirmed: u64::MAX,
        }
    }
}

/// Writes a hello or a welcome.
///
/// # Errors
/// The connection ended.
pub async fn write_message<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), message: &T) -> std::io::Result<()> {
    let body = rmp_serde::to_vec(message).map_err(std::io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(std::io::Error::other)?;
    to.write_all(&length.to_be_bytes()).await?;
    to.write_all(&body).await
}

/// Reads a hello or a welcome.
///
/// # Errors
/// The connection ended, or the bytes are none.
pub async fn read_message<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<T> {
    let length = from.read_u32().await?;
    if length > LONGEST {
        return Err(std::io::Error::other(format!("a greeting of {length} bytes is too long")));
    }
    let mut body = vec![0; usize::try_from(length).unwrap_or(0)];
    from.read_exact(&mut body).await?;
    rmp_serde::from_slice(&body).map_err(std::io::Error::other)
}

/// Waits for the other end, but not longer than `time`.
///
/// # Errors
/// The connection ended, or nothing happened in that time.
pub async fn within<T>(time: Duration, work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
        let cause = format!("the other end did nothing for {time:?}");
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, cause))
    })
}

#[cfg(test)]
mod tests;

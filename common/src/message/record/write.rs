//! Puts fields of a record into bytes.

use std::net::{IpAddr, SocketAddr};

use super::{FIXED, RecordError};

/// The address without IPv6's disguise of IPv4: not every client reads IPv6.
pub(super) fn canonical(host: SocketAddr) -> SocketAddr {
    SocketAddr::new(host.ip().to_canonical(), host.port())
}

pub(super) const fn host_len(v6: bool) -> usize {
    if v6 { 20 } else { 8 }
}

pub(super) fn put_host(out: &mut Vec<u8>, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&u32::from(host.port()).to_be_bytes());
}

/// Lengths were checked before: they fit.
pub(super) fn put_len32(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

pub(super) fn put_len16(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
}

pub(super) fn put_at(record: &mut [u8], at: usize, value: [u8; 8]) -> Result<(), RecordError> {
    let available = record.len();
    let place = record.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<8>);
    *place.ok_or(RecordError::Truncated { needed: FIXED, available })? = value;
    Ok(())
}

pub(super) fn limit(field: &'static str, len: usize, max: usize) -> Result<(), RecordError> {
    if len <= max { Ok(()) } else { Err(RecordError::TooLong { field, len, max }) }
}

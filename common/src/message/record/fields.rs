//! Takes a record apart, field by field.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::RecordError;

/// Takes fields off the front of the bytes.
pub(super) struct Fields<'a> {
    pub(super) rest: &'a [u8],
    pub(super) available: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.short_of(len))?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.short_of(N))?;
        self.rest = rest;
        Ok(*head)
    }

    fn short_of(&self, len: usize) -> RecordError {
        let needed = self.available.saturating_sub(self.rest.len()).saturating_add(len);
        RecordError::Truncated { needed, available: self.available }
    }

    pub(super) fn u8(&mut self) -> Result<u8, RecordError> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, RecordError> {
        self.chunk().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, RecordError> {
        self.chunk().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, RecordError> {
        self.chunk().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, RecordError> {
        self.chunk().map(i64::from_be_bytes)
    }

    /// A 16-bit length that readers take as signed.
    pub(super) fn short(&mut self, field: &'static str) -> Result<usize, RecordError> {
        let value = i16::from_be_bytes(self.chunk()?);
        usize::try_from(value).map_err(|_| RecordError::Field(field))
    }

    pub(super) fn host(&mut self, v6: bool, field: &'static str) -> Result<SocketAddr, RecordError> {
        let ip = if v6 {
            IpAddr::V6(Ipv6Addr::from(self.chunk::<16>()?))
        } else {
            IpAddr::V4(Ipv4Addr::from(self.chunk::<4>()?))
        };
        let port = u16::try_from(self.u32()?).map_err(|_| RecordError::Field(field))?;
        Ok(SocketAddr::new(ip, port))
    }
}

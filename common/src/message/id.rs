//! Message ids in RocketMQ's forms: the offset id, which is an address, and the unique id that a producer gives.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::now_ms;

/// Why a text is not an offset id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Neither 32 nor 56 characters.
    #[error("an offset message id has 32 or 56 characters, this one has {0}")]
    Length(usize),
    /// Not hexadecimal, or a port beyond 65535.
    #[error("this is no offset message id: it must be the hexadecimal form of address, port and log offset")]
    Form,
}

/// The id that tells where a message is stored: hex of address, port and log offset.
#[must_use]
pub fn offset_id(store_host: SocketAddr, physical_offset: u64) -> String {
    let mut id = String::with_capacity(56);
    match store_host.ip().to_canonical() {
        IpAddr::V4(ip) => push_hex(&mut id, &ip.octets()),
        IpAddr::V6(ip) => push_hex(&mut id, &ip.octets()),
    }
    push_hex(&mut id, &u32::from(store_host.port()).to_be_bytes());
    push_hex(&mut id, &physical_offset.to_be_bytes());
    id
}

/// Where a message with this offset id is stored.
pub fn parse_offset_id(id: &str) -> Result<(SocketAddr, u64), IdError> {
    let (ip, rest): (IpAddr, &str) = match id.len() {
        32 => {
            let (ip, rest) = id.split_at_checked(8).ok_or(IdError::Form)?;
            (Ipv4Addr::from(u32::try_from(hex(ip)?).map_err(|_| IdError::Form)?).into(), rest)
        }
        56 => {
            let (ip, rest) = id.split_at_checked(32).ok_or(IdError::Form)?;
            (Ipv6Addr::from(hex(ip)?).into(), rest)
        }
        other => return Err(IdError::Length(other)),
    };
    let (port, offset) = rest.split_at_checked(8).ok_or(IdError::Form)?;
    let port = u16::try_from(hex(port)?).map_err(|_| IdError::Form)?;
    let offset = u64::try_from(hex(offset)?).map_err(|_| IdError::Form)?;
    Ok((SocketAddr::new(ip, port), offset))
}

fn hex(text: &str) -> Result<u128, IdError> {
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        u128::from_str_radix(text, 16).map_err(|_| IdError::Form)
    } else {
        Err(IdError::Form)
    }
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 });
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 15));
    }
}

/// Makes unique ids of 32 hex characters: address 4, process 2, source 4, ms of the month 4, counter 2 bytes.
///
/// Time and counter are one number that only rises, so ids of one generator differ even if the clock steps back or
/// more than 65,536 are taken in a millisecond; the month is mixed into the source, so a later month repeats none.
#[derive(Debug)]
pub struct UniqueIds {
    address: [u8; 4],
    process: [u8; 2],
    source: u32,
    /// ms since 1970 in the upper 48 bits, counter in the lower 16.
    last: AtomicU64,
}

impl UniqueIds {
    /// A generator for a process reached at this address.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        let address = match address.to_canonical() {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(ip) => crc32fast::hash(&ip.octets()).to_be_bytes(),
        };
        let [_, _, high, low] = std::process::id().to_be_bytes();
        Self { address, process: [high, low], source: fastrand::u32(..), last: AtomicU64::new(0) }
    }

    /// The next id.
    #[must_use]
    pub fn next_id(&self) -> String {
        self.next_at(u64::try_from(now_ms()).unwrap_or(0))
    }

    fn next_at(&self, now_ms: u64) -> String {
        let fresh = now_ms.min(u64::MAX >> 17) << 16;
        let step = |last: u64| fresh.max(last.saturating_add(1));
        let before = match self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(step(last))) {
            Ok(last) | Err(last) => last,
        };
        let value = step(before);
        let (month, ms_of_month) = month_of(value >> 16);
        let [.., c0, c1] = value.to_be_bytes();

        let mut id = String::with_capacity(32);
        push_hex(&mut id, &self.address);
        push_hex(&mut id, &self.process);
        push_hex(&mut id, &(self.source ^ month).to_be_bytes());
        push_hex(&mut id, &ms_of_month.to_be_bytes());
        push_hex(&mut id, &[c0, c1]);
        id
    }
}

const DAY_MS: u64 = 86_400_000;

/// Months since year 0 and ms since that month began (UTC), by the days-to-civil rule of the Gregorian calendar.
fn month_of(unix_ms: u64) -> (u32, u32) {
    let days = unix_ms / DAY_MS + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5;
    // Years begin in March here; which month it is matters less than that no two share a number.
    let months = (era * 400 + year_of_era) * 12 + month;
    let ms = day * DAY_MS + unix_ms % DAY_MS;
    (u32::try_from(months).unwrap_or(u32::MAX), u32::try_from(ms).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;

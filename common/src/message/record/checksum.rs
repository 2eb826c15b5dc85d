//! The whole-record checksum at the end of a record, and what a damaged one looks like.

use super::{RecordError, checksum};

/// `__CRC32#`, separator, ten digits, separator.
pub(super) const CHECKSUM_LEN: usize = 20;
pub(super) const CHECKSUM_HEAD: &[u8; 9] = b"__CRC32#\x01";
pub(super) const CHECKSUM_BLANK: &[u8; CHECKSUM_LEN] = b"__CRC32#\x010000000000\x02";
pub(super) const VALUE_END: u8 = 2;
/// Wrong bytes in the checksum's name up to which it is taken for one that was damaged.
pub(super) const CHECKSUM_DAMAGE: usize = 2;

/// Checks a record against the checksum that it carries, if it carries one.
pub(super) fn check_whole(bytes: &[u8], properties: &str) -> Result<(), RecordError> {
    if let Some((covered, tail)) = bytes.split_last_chunk::<CHECKSUM_LEN>()
        && properties.len() >= CHECKSUM_LEN
    {
        match checksum_damage(tail) {
            0 => {
                let stored = stored_checksum(tail).ok_or(RecordError::Field("checksum (ten digits are expected)"))?;
                agree("whole", stored, checksum(covered))?;
            }
            // Else a flipped bit in the name would make a record that needs no checksum.
            1..=CHECKSUM_DAMAGE => return Err(RecordError::Field("checksum (its name is damaged)")),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn agree(what: &'static str, stored: u32, computed: u32) -> Result<(), RecordError> {
    if stored == computed { Ok(()) } else { Err(RecordError::Checksum { what, stored, computed }) }
}

/// Bytes in which the end of a record differs from the form of a checksum.
fn checksum_damage(tail: &[u8; CHECKSUM_LEN]) -> usize {
    let name = tail.iter().zip(CHECKSUM_HEAD).filter(|(found, right)| found != right).count();
    name + usize::from(!tail.ends_with(&[VALUE_END]))
}

/// The whole-record checksum, if the last property is one.
pub(super) fn stored_checksum(tail: &[u8; CHECKSUM_LEN]) -> Option<u32> {
    let digits = tail.strip_prefix(CHECKSUM_HEAD)?.strip_suffix(&[VALUE_END])?;
    let value = digits
        .iter()
        .rev()
        .try_fold(0_u64, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0')))?;
    u32::try_from(value).ok()
}

//! An entry of a consume queue, in the form that RocketMQ's files have.

/// Bytes of an entry.
pub const ENTRY_LEN: u64 = 20;
/// Size that marks an entry without a message.
const BLANK_SIZE: u32 = i32::MAX as u32;

/// Where one message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueEntry {
    /// Offset of its record in the log.
    pub physical_offset: u64,
    /// Length of its record.
    pub size: u32,
    /// Hash of its tag, or the time of delivery of a delayed message.
    pub tag_hash: i64,
}

/// An entry as it is in the file.
pub type RawEntry = [u8; ENTRY_LEN as usize];

impl QueueEntry {
    /// An entry for an offset that has no message.
    pub const BLANK: Self = Self { physical_offset: 0, size: BLANK_SIZE, tag_hash: 0 };

    /// The entry in its stable form.
    pub fn encode(self) -> RawEntry {
        let mut raw = [0; ENTRY_LEN as usize];
        let (offset, rest) = raw.split_at_mut(8);
        let (size, tag) = rest.split_at_mut(4);
        offset.copy_from_slice(&self.physical_offset.to_be_bytes());
        size.copy_from_slice(&self.size.to_be_bytes());
        tag.copy_from_slice(&self.tag_hash.to_be_bytes());
        raw
    }

    /// Reads the stable form.
    pub fn decode(raw: &RawEntry) -> Self {
        let [a, b, c, d, e, f, g, h, s0, s1, s2, s3, tag @ ..] = *raw;
        Self {
            physical_offset: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            size: u32::from_be_bytes([s0, s1, s2, s3]),
            tag_hash: i64::from_be_bytes(tag),
        }
    }

    /// Whether the offset is known to have no message.
    pub fn is_blank(self) -> bool {
        self.size == BLANK_SIZE
    }

    /// Whether nothing was ever written here.
    pub fn is_unwritten(self) -> bool {
        self.size == 0 || self.size > BLANK_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stable_form_is_that_of_rocketmq() {
        let entry = QueueEntry { physical_offset: 0x0102_0304_0506_0708, size: 0x0A0B_0C0D, tag_hash: -2 };
        let raw = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 255, 255, 255, 255, 255, 255, 255, 254];
        assert_eq!(entry.encode(), raw);
        assert_eq!(QueueEntry::decode(&raw), entry);
        assert!(QueueEntry::BLANK.is_blank() && !QueueEntry::BLANK.is_unwritten());
        assert!(QueueEntry::decode(&[0; 20]).is_unwritten());
    }
}

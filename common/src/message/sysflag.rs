//! Flag bits that travel with a message (`sysFlag`) and with a pull request. The numbers are on disk and wire: they never change.

/// The body is stored compressed; the kind is in [`COMPRESSION_MASK`].
pub const COMPRESSED: u32 = 1;
/// The tags property holds several tags.
pub const MULTI_TAGS: u32 = 1 << 1;
/// Mask of the two transaction bits.
pub const TRANSACTION_MASK: u32 = 3 << 2;
/// Not part of a transaction.
pub const TRANSACTION_NONE: u32 = 0;
/// A half message: stored, not yet visible.
pub const TRANSACTION_PREPARED: u32 = 1 << 2;
/// A committed transaction message.
pub const TRANSACTION_COMMIT: u32 = 2 << 2;
/// A rolled back transaction message.
pub const TRANSACTION_ROLLBACK: u32 = 3 << 2;
/// The born host is an IPv6 address.
pub const BORN_HOST_V6: u32 = 1 << 4;
/// The store host is an IPv6 address.
pub const STORE_HOST_V6: u32 = 1 << 5;
/// The body holds several messages that the consumer must unwrap.
pub const NEED_UNWRAP: u32 = 1 << 6;
/// The record is an inner batch.
pub const INNER_BATCH: u32 = 1 << 7;
/// Mask of the compression kind; 0 under [`COMPRESSED`] means zlib, as old clients write it.
pub const COMPRESSION_MASK: u32 = 7 << 8;
/// LZ4 frame.
pub const COMPRESSION_LZ4: u32 = 1 << 8;
/// Zstandard.
pub const COMPRESSION_ZSTD: u32 = 2 << 8;
/// zlib.
pub const COMPRESSION_ZLIB: u32 = 3 << 8;

/// The transaction bits of a `sysFlag`.
#[must_use]
pub fn transaction(sys_flag: u32) -> u32 {
    sys_flag & TRANSACTION_MASK
}

/// The same `sysFlag` with other transaction bits.
#[must_use]
pub fn with_transaction(sys_flag: u32, kind: u32) -> u32 {
    (sys_flag & !TRANSACTION_MASK) | (kind & TRANSACTION_MASK)
}

/// Bits of a pull request's `sysFlag`.
pub mod pull {
    /// The request carries an offset to commit.
    pub const COMMIT_OFFSET: u32 = 1;
    /// The broker may park the request until a message arrives.
    pub const SUSPEND: u32 = 1 << 1;
    /// The request carries its subscription.
    pub const SUBSCRIPTION: u32 = 1 << 2;
    /// The consumer filters by class.
    pub const CLASS_FILTER: u32 = 1 << 3;
    /// A lite pull.
    pub const LITE_PULL: u32 = 1 << 4;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_bits_are_replaced_alone() {
        let flag = COMPRESSED | BORN_HOST_V6 | TRANSACTION_PREPARED;
        let committed = with_transaction(flag, TRANSACTION_COMMIT);
        assert_eq!(transaction(committed), TRANSACTION_COMMIT);
        assert_eq!(committed & !TRANSACTION_MASK, flag & !TRANSACTION_MASK);
    }
}

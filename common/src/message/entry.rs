//! What stands in a log file or an answer's body: records one after the other, fillers, the end.

use crate::message::record::{FILLER_MIN, MAGIC_FILLER, RecordError, RecordView};

/// What stands at a position of a log file or an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A record.
    Record(RecordView<'a>),
    /// The rest of a log file holds no record.
    Filler {
        /// Bytes to the end of the file as the filler says; it may reach beyond the bytes at hand.
        size: usize,
    },
    /// No bytes are left, or only zeros as in a file not yet written.
    End,
}

/// Reads what stands at the start of the bytes.
pub fn next_entry(bytes: &[u8]) -> Result<Entry<'_>, RecordError> {
    let Some(head) = bytes.first_chunk::<FILLER_MIN>() else {
        return if bytes.iter().all(|byte| *byte == 0) {
            Ok(Entry::End)
        } else {
            Err(RecordError::Truncated { needed: FILLER_MIN, available: bytes.len() })
        };
    };
    if *head == [0; FILLER_MIN] {
        return Ok(Entry::End);
    }
    let [s0, s1, s2, s3, m0, m1, m2, m3] = *head;
    if u32::from_be_bytes([m0, m1, m2, m3]) != MAGIC_FILLER {
        return RecordView::parse(bytes).map(Entry::Record);
    }
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    match usize::try_from(size) {
        Ok(size) if size >= FILLER_MIN => Ok(Entry::Filler { size }),
        _ => Err(RecordError::Size(size)),
    }
}

/// The records in the bytes, up to their end, to a filler or to the first error.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Result<RecordView<'_>, RecordError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || match next_entry(rest) {
        Ok(Entry::Record(view)) => {
            rest = rest.get(view.size()..).unwrap_or_default();
            Some(Ok(view))
        }
        Ok(Entry::Filler { .. } | Entry::End) => None,
        Err(error) => {
            rest = &[];
            Some(Err(error))
        }
    })
}

/// The head of a filler that covers `size` bytes up to the end of a log file; `None` when it does not fit.
#[must_use]
pub fn encode_filler(size: usize) -> Option<[u8; FILLER_MIN]> {
    let size = u32::try_from(size).ok().filter(|size| *size >= 8 && i32::try_from(*size).is_ok())?;
    let [s0, s1, s2, s3] = size.to_be_bytes();
    let [m0, m1, m2, m3] = MAGIC_FILLER.to_be_bytes();
    Some([s0, s1, s2, s3, m0, m1, m2, m3])
}

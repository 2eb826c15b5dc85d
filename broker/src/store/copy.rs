//! Bytes of a master's log, checked record by record before they become part of this one.

use orbitmq_common::message::entry::{self, Entry};
use orbitmq_common::message::record::{FILLER_MIN, RecordError};

use crate::store::error::CopyError;
use crate::store::segments::Segments;

/// No record and no filler is longer; a length beyond it is damage, not something to wait for.
const LONGEST: usize = 64 << 20;

/// Sound records that follow one another in the log.
#[derive(Debug)]
pub struct Copied<'a> {
    /// Log offset of the first byte.
    pub start: u64,
    /// Log offset behind the last byte.
    pub end: u64,
    /// The bytes.
    pub pieces: Vec<Piece<'a>>,
    /// Number of records.
    pub records: usize,
    /// Store time of the youngest, in ms.
    pub timestamp: i64,
}

/// Bytes of one segment.
#[derive(Debug)]
pub struct Piece<'a> {
    /// The bytes; of a filler only its head, for the zeros behind it are in the file already.
    pub bytes: &'a [u8],
    /// Where the log goes on behind a filler.
    pub rolls_to: Option<u64>,
}

impl Copied<'_> {
    /// Bytes to be written.
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes.len()).sum()
    }
}

/// The whole records at the start of `bytes`, which belong at log offset `at`; what is behind them has yet to come.
pub fn check<'a>(segments: &Segments, at: u64, bytes: &'a [u8]) -> Result<Copied<'a>, CopyError> {
    let mut copied = Copied { start: at, end: at, pieces: Vec::new(), records: 0, timestamp: 0 };
    let mut rest = bytes;
    let mut run = bytes;
    loop {
        let here = copied.end;
        let unsound = |reason: String| CopyError::Unsound { at: here, reason };
        let room = usize::try_from(segments.base_of(here) + segments.size() - here).unwrap_or(usize::MAX);
        let Some(whole) = whole_entry(rest, room).map_err(unsound)? else { break };
        match entry::next_entry(whole) {
            Ok(Entry::Record(view)) => {
                if view.physical_offset != here {
                    return Err(unsound(format!("it says that it belongs to offset {}", view.physical_offset)));
                }
                view.verify().map_err(|error| unsound(error.to_string()))?;
                copied.timestamp = copied.timestamp.max(view.store_timestamp);
                copied.records += 1;
                copied.end += whole.len() as u64;
                rest = rest.get(whole.len()..).unwrap_or_default();
            }
            Ok(Entry::Filler { .. }) => {
                copied.end += room as u64;
                let head = run.len() - rest.len() + FILLER_MIN;
                let piece = run.get(..head).unwrap_or_default();
                copied.pieces.push(Piece { bytes: piece, rolls_to: Some(copied.end) });
                rest = rest.get(room..).unwrap_or_default();
                run = rest;
            }
            Ok(Entry::End) => return Err(unsound("zeros where a record should be".to_owned())),
            Err(error) => return Err(unsound(error.to_string())),
        }
    }
    let last = run.get(..run.len() - rest.len()).unwrap_or_default();
    if !last.is_empty() {
        copied.pieces.push(Piece { bytes: last, rolls_to: None });
    }
    Ok(copied)
}

/// The bytes of the first record or filler; `None`: not all of them are here yet.
fn whole_entry(bytes: &[u8], room: usize) -> Result<Option<&[u8]>, String> {
    let Some(head) = bytes.first_chunk::<FILLER_MIN>() else { return Ok(None) };
    let [s0, s1, s2, s3, ..] = *head;
    let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).unwrap_or(usize::MAX);
    if let Ok(Entry::Filler { size }) = entry::next_entry(head) {
        if size != room {
            return Err(format!("a filler of {size} bytes where {room} are left in the segment"));
        }
    } else if size < FILLER_MIN || size.saturating_add(FILLER_MIN) > room {
        let error = RecordError::Size(u32::try_from(size).unwrap_or(u32::MAX));
        return Err(format!(
            "{error}; {room} bytes are left in the segment (segment sizes of both brokers must be equal)"
        ));
    }
    if size > LONGEST {
        return Err(format!("{size} bytes are more than any record has"));
    }
    Ok(bytes.get(..size))
}

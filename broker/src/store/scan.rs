//! Walking the log: what stands at an offset, and where sound records go on behind damage.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use orbitmq_common::message::entry::{self, Entry};
use orbitmq_common::message::record::RecordView;
use rustix::fs::SeekFrom;

use crate::store::segment::Segment;
use crate::store::segments::Segments;

/// What stands at an offset.
#[derive(Debug)]
pub enum Step<'a> {
    /// A record that belongs there.
    Record(RecordView<'a>),
    /// A filler: the log goes on with the next segment.
    Roll,
    /// Nothing was written there.
    End,
    /// Bytes that are no sound record; why not.
    Bad(String),
}

/// Which checks a record must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Its form and its own log offset.
    Form,
    /// Its checksums too.
    Checksum,
}

/// Looks at the log at an offset of a segment, of which bytes behind `end` do not count.
pub fn step(segment: &Segment, at: u64, end: u64, trust: Trust) -> Step<'_> {
    let Some(bytes) = segment.view(at, end.min(segment.end())) else { return Step::End };
    match entry::next_entry(bytes) {
        Ok(Entry::Record(view)) if view.physical_offset != at => {
            Step::Bad(format!("a record says it belongs to offset {}", view.physical_offset))
        }
        Ok(Entry::Record(view)) if trust == Trust::Form => Step::Record(view),
        Ok(Entry::Record(view)) => match view.verify() {
            // A record whose end was never written has lost its checksum too, if it had one.
            Ok(()) if view.properties.contains('\0') => Step::Bad("a record ends in zeros".to_owned()),
            Ok(()) => Step::Record(view),
            Err(error) => Step::Bad(error.to_string()),
        },
        Ok(Entry::Filler { size }) if size as u64 == segment.end() - at => Step::Roll,
        Ok(Entry::Filler { size }) => Step::Bad(format!("a filler of {size} bytes does not reach the segment's end")),
        Ok(Entry::End) => Step::End,
        Err(error) => Step::Bad(error.to_string()),
    }
}

/// Hands out records from an offset on, until `end`, damage, or `visit` says stop; returns where it stood then, and
/// the damage if there was some.
pub fn walk(
    segments: &Segments,
    from: u64,
    end: u64,
    trust: Trust,
    visit: &mut dyn FnMut(&RecordView<'_>) -> bool,
) -> (u64, Option<String>) {
    let mut at = from;
    while at < end {
        let Some(segment) = segments.find(at) else { break };
        match step(&segment, at, end, trust) {
            Step::Record(view) => {
                at += view.size() as u64;
                if !visit(&view) {
                    break;
                }
            }
            Step::Roll => at = segment.end(),
            Step::End => break,
            Step::Bad(reason) => return (at, Some(reason)),
        }
    }
    (at, None)
}

/// The first sound record at or behind an offset.
pub fn find_sound(segments: &Segments, from: u64) -> Option<u64> {
    let mut at = from;
    while let Some(segment) = segments.find(at) {
        if let Some(found) = find_in(&segment, at) {
            return Some(found);
        }
        at = segment.end();
    }
    None
}

fn find_in(segment: &Arc<Segment>, from: u64) -> Option<u64> {
    const MAGIC_HEAD: [u8; 3] = [0xDA, 0xA3, 0x20];
    for range in written_ranges(segment, from) {
        let bytes = segment.view(range.start, range.end)?;
        let candidates = bytes.windows(MAGIC_HEAD.len()).enumerate().filter(|(_, window)| *window == MAGIC_HEAD);
        for (index, _) in candidates {
            let at = (range.start + index as u64).checked_sub(4).filter(|at| *at >= from);
            if let Some(at) = at
                && matches!(step(segment, at, segment.end(), Trust::Checksum), Step::Record(_))
            {
                return Some(at);
            }
        }
    }
    None
}

/// The ranges of a segment that may hold bytes other than zero, from an offset on.
pub fn written_ranges(segment: &Segment, from: u64) -> Vec<Range<u64>> {
    let whole = || std::iter::once(from..segment.end()).collect();
    let Ok(file) = segment.writer() else { return whole() };
    let mut ranges = Vec::new();
    let mut at = from;
    while at < segment.end() {
        match next_data(&file, at - segment.base()) {
            Some(Ok(data)) => {
                let start = at.max(segment.base() + data.start);
                let end = (segment.base() + data.end).min(segment.end());
                ranges.push(start..end);
                at = end.max(at + 1);
            }
            Some(Err(_)) => return whole(),
            None => break,
        }
    }
    ranges
}

fn next_data(file: &File, from: u64) -> Option<rustix::io::Result<Range<u64>>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(rustix::io::Errno::NXIO) => return None,
        Err(error) => return Some(Err(error)),
    };
    Some(rustix::fs::seek(file, SeekFrom::Hole(start)).map(|end| start..end))
}

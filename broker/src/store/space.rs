//! Disk space, reserved before a byte of it is promised.
//!
//! A segment has its full length from the start, as RocketMQ expects, but its blocks are reserved in steps ahead of the
//! log's end: so a small disk can be used to its end. A full disk is no failure of the log; appends beyond what is
//! reserved are refused, and reserving is tried again from time to time.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::error::AppendError;
use crate::store::io::{Io, is_full};
use crate::store::options::Options;
use crate::store::segments::Segments;

/// Smallest step: below it the disk counts as full.
const MIN_STEP: u64 = 64 << 10;

/// Reserves space for the log.
#[derive(Debug)]
pub struct Space {
    io: Arc<dyn Io>,
    ahead: Ahead,
    full: AtomicBool,
    state: Mutex<State>,
}

/// How much is reserved, and when.
#[derive(Debug, Clone, Copy)]
pub struct Ahead {
    /// Bytes ahead of the log's end.
    pub bytes: u64,
    /// Bytes at a time.
    pub step: u64,
    /// Bytes of the file system that are left alone.
    pub keep_free: u64,
    /// Time for which a refusal stands.
    pub retry: Duration,
}

impl Ahead {
    /// As the caller chose.
    pub fn of(options: &Options) -> Self {
        Self {
            bytes: options.reserve_ahead,
            step: options.reserve_step.max(MIN_STEP),
            keep_free: options.keep_free,
            retry: options.reserve_retry,
        }
    }
}

#[derive(Debug)]
struct State {
    /// Offset up to which blocks are reserved.
    reserved: u64,
    refused: Option<(Instant, AppendError)>,
}

impl Space {
    /// Nothing is reserved behind `end` yet.
    pub fn new(io: Arc<dyn Io>, ahead: Ahead, end: u64) -> Self {
        let state = Mutex::new(State { reserved: end, refused: None });
        Self { io, ahead, full: AtomicBool::new(false), state }
    }

    /// Gives up what is reserved for an empty log, which begins at an offset now.
    pub fn begin_at(&self, segments: &Segments, offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        while segments.count() > 0 {
            segments.remove_last()?;
        }
        state.reserved = offset;
        Ok(())
    }

    /// Bytes to reserve ahead of the end.
    pub fn ahead(&self) -> u64 {
        self.ahead.bytes
    }

    /// Bytes left below which more should be reserved.
    pub fn low_water(&self) -> u64 {
        self.ahead.bytes / 2
    }

    /// Whether the last attempt failed.
    pub fn full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Reserves at least up to an offset and tells up to where; after a refusal the answer stays for a moment.
    pub fn reserve(&self, segments: &Segments, upto: u64) -> Result<u64, AppendError> {
        let mut state = self.state.lock();
        if state.reserved >= upto {
            return Ok(state.reserved);
        }
        if let Some((at, refusal)) = &state.refused
            && at.elapsed() < self.ahead.retry
        {
            return Err(match refusal {
                AppendError::DiskFull { free, .. } => {
                    AppendError::DiskFull { needed: upto - state.reserved, free: *free }
                }
                other => other.clone(),
            });
        }
        let result = self.extend(&mut state, segments, upto);
        let full = result.is_err();
        if self.full.swap(full, Ordering::Relaxed) != full {
            match &result {
                Err(error) => tracing::warn!(%error, "no disk space can be reserved: appends are refused"),
                Ok(()) => tracing::info!("disk space can be reserved again: appends go on"),
            }
        }
        state.refused = result.clone().err().map(|error| (Instant::now(), error));
        result.map(|()| state.reserved)
    }

    fn extend(&self, state: &mut State, segments: &Segments, upto: u64) -> Result<(), AppendError> {
        let (free, total) = self.io.usage(segments.dir()).unwrap_or((u64::MAX, u64::MAX));
        let keep = self.ahead.keep_free.min(total / 32);
        let mut left = free.saturating_sub(keep);
        let mut step = self.ahead.step.min(left / 8).max(MIN_STEP);
        while state.reserved < upto {
            let reserved = if left < step {
                Err(ErrorKind::StorageFull.into())
            } else {
                self.advance(state.reserved, step, segments)
            };
            match reserved {
                Ok(reserved) => {
                    left = left.saturating_sub(reserved - state.reserved);
                    state.reserved = reserved;
                }
                Err(error) if is_full(&error) && step > MIN_STEP => step = (step / 4).max(MIN_STEP),
                Err(error) if is_full(&error) => {
                    return Err(AppendError::DiskFull { needed: upto - state.reserved, free });
                }
                Err(error) => return Err(AppendError::Reserve { reason: error.to_string().into() }),
            }
        }
        Ok(())
    }

    /// Reserves one step, at most to the end of a segment.
    fn advance(&self, from: u64, step: u64, segments: &Segments) -> io::Result<u64> {
        let segment = match segments.find(from) {
            Some(segment) => segment,
            None => segments.create(from)?,
        };
        let to = (from + step).min(segment.end());
        let file = segment.writer()?;
        self.io.reserve(&file, segment.path(), from - segment.base(), to - from)?;
        Ok(to)
    }
}

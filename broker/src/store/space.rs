//! Disk space, reserved before a byte of it is promised.
//!
//! A segment has its full length from the start, as RocketMQ expects, but its blocks are reserved in steps ahead of the
//! log's end: so a small disk can be used to its end. A full disk is no failure of the log; appends beyond what is
//! reserved are refused, and reserving is tried again from time to time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::error::AppendError;
use crate::store::io::{Io, is_full};
use crate::store::segments::Segments;

/// Smallest step: below it the disk counts as full.
const MIN_STEP: u64 = 64 << 10;

/// Reserves space for the log.
#[derive(Debug)]
pub struct Space {
    io: Arc<dyn Io>,
    ahead: u64,
    step: u64,
    retry: Duration,
    full: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Offset up to which blocks are reserved.
    reserved: u64,
    refused: Option<(Instant, AppendError)>,
}

impl Space {
    /// Nothing is reserved behind `end` yet.
    pub fn new(io: Arc<dyn Io>, ahead: u64, step: u64, retry: Duration, end: u64) -> Self {
        let state = Mutex::new(State { reserved: end, refused: None });
        Self { io, ahead, step: step.max(MIN_STEP), retry, full: AtomicBool::new(false), state }
    }

    /// Bytes to reserve ahead of the end.
    pub fn ahead(&self) -> u64 {
        self.ahead
    }

    /// Bytes left below which more should be reserved.
    pub fn low_water(&self) -> u64 {
        self.ahead / 2
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
            && at.elapsed() < self.retry
        {
            return Err(refusal.clone());
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
        let free = self.io.usage(segments.dir()).map_or(0, |(free, _)| free);
        let mut step = self.step.min(free / 16).max(MIN_STEP);
        while state.reserved < upto {
            match self.advance(state.reserved, step, segments) {
                Ok(reserved) => state.reserved = reserved,
                Err(error) if is_full(&error) && step > MIN_STEP => step = (step / 4).max(MIN_STEP),
                Err(error) if is_full(&error) => {
                    let free = self.io.usage(segments.dir()).map_or(0, |(free, _)| free);
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

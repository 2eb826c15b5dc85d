//! Messages for a time of their own: what waits in the timer queue, in memory as times and log offsets, and its delivery.
//!
//! ```text
//! send ──> timer queue in the log ──read──> Pending ──due──> the message again, under its real topic ──confirmed──> Mark
//!    recall ──> a record there that takes back ──┘ │
//!                       retention ──wants a segment┴──> the message again, at the end of the timer queue
//! ```
//! The log alone tells what was sent, taken back and delivered; everything here is made from it again at a start. See `docs/timers.md`.

mod copy;
pub mod engine;
mod export;
pub mod figures;
pub mod gate;
mod group;
pub mod identity;
mod load;
mod marking;
pub mod pending;
pub mod recall;
mod roll;
pub mod run;
pub mod wish;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::meta::marks::Marks;
use crate::store::Store;
use crate::timer::engine::{Engine, Limits};
use crate::timer::figures::Figures;
use crate::timer::gate::Gate;

/// What handlers and metrics see of the timers.
pub struct Timers {
    /// How far delivery has come.
    pub marks: Arc<Marks>,
    /// Decides between a recall and the delivery.
    pub gate: Gate,
    /// Counts.
    pub figures: Figures,
}

impl Timers {
    /// Nothing is known yet of what waits.
    #[must_use]
    pub fn new(marks: Arc<Marks>) -> Self {
        Self { marks, gate: Gate::default(), figures: Figures::default() }
    }
}

/// Leaves what waits to a broker of RocketMQ's that may go on in `dir`; returns its checkpoint, `None`: there never was anything.
/// `now`: ms since the epoch. The store need not take appends any more.
///
/// # Errors
/// A file cannot be written.
pub fn leave(store: &Arc<Store>, timers: &Arc<Timers>, dir: &Path, now: i64) -> io::Result<Option<Vec<u8>>> {
    let host = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut engine = Engine::new(Arc::clone(store), Arc::clone(timers), host, Limits { in_memory: 0, chunk: 0 });
    export::write(&mut engine, dir, now)
}

#[cfg(test)]
mod tests;

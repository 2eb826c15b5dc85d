//! A bell that wakes one thread; ringing while it rings costs one atomic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Rung by many, heard by one.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    gate: Mutex<()>,
    sleeper: Condvar,
}

impl Bell {
    /// Wakes the listener, now or at its next wait.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let _gate = self.gate.lock();
            self.sleeper.notify_one();
        }
    }

    /// Waits for the bell, at most that long; tells whether it rang.
    pub fn wait(&self, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        let mut gate = self.gate.lock();
        while !self.rung.swap(false, Ordering::AcqRel) {
            if self.sleeper.wait_until(&mut gate, deadline).timed_out() {
                return self.rung.swap(false, Ordering::AcqRel);
            }
        }
        true
    }
}

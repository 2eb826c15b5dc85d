//! One daemon with its disk and its clock: killed, stopped, paused, short of power, and healed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, Trouble, Written};
use super::history::{Death, Moment};
use super::load::World;
use super::proxy::Node;
use super::schedule::{Fault, Kind};
use crate::daemon::Daemon;

/// How slow flushes are just before a power cut.
const FALTERING: Duration = Duration::from_millis(100);

/// One daemon.
pub struct Machine {
    node: Node,
    daemon: Daemon,
    disk: Disk,
    world: Arc<World>,
    /// When the process was started.
    since: Moment,
    /// Whether nobody may wonder that it is gone.
    is_down: bool,
    /// Whether its disk fails now.
    is_failing: bool,
    /// Whether only a restart cures what its disk did to it.
    is_poisoned: bool,
}

impl Machine {
    /// One that is not started yet.
    #[must_use]
    pub fn new(node: Node, daemon: Daemon, disk: Disk, world: &Arc<World>) -> Self {
        let world = Arc::clone(world);
        Self { node, daemon, disk, world, since: 0, is_down: true, is_failing: false, is_poisoned: false }
    }

    /// The process and its log.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Whether the process is there.
    pub fn is_running(&mut self) -> bool {
        self.daemon.is_running()
    }

    /// Starts it unless it runs.
    pub fn start(&mut self) {
        if self.daemon.is_running() {
            return;
        }
        // Takes note of an end that came by itself.
        self.daemon.kill();
        self.disk.carry_over();
        self.since = self.world.history.now();
        self.daemon.spawn();
        self.is_down = false;
        self.is_poisoned = self.is_failing;
    }

    /// SIGKILL; with a seed what was not flushed goes as well.
    pub fn kill(&mut self, power: Option<u64>) {
        let was_running = self.daemon.is_running();
        self.daemon.kill();
        self.is_down = true;
        if let (Node::Broker(member), true) = (self.node, was_running) {
            let unflushed = self.disk.unflushed().iter().filter_map(in_log).collect();
            let (since, at) = (self.since, self.world.history.now());
            self.world.history.death(Death { member, since, at, unflushed });
        }
        if let Some(seed) = power {
            self.disk.cut_power(&mut fastrand::Rng::with_seed(seed));
        }
    }

    /// The disk gets slow, as before a power cut: more is on its way when it comes.
    pub fn falter(&mut self, falters: bool) {
        let slow_flush = if falters { FALTERING } else { Duration::ZERO };
        self.disk.set(Trouble { slow_flush, ..Trouble::default() });
    }

    /// SIGTERM, unless it is gone.
    pub fn ask_to_stop(&mut self) {
        if self.daemon.is_running() {
            self.daemon.resume();
            self.daemon.ask_to_stop();
            self.is_down = true;
        }
    }

    /// Kills what is left of it and starts it anew.
    pub fn restart(&mut self) {
        self.kill(None);
        self.start();
    }

    /// SIGSTOP or SIGCONT.
    pub fn pause(&mut self, pause: bool) {
        if !self.daemon.is_running() {
        } else if pause {
            self.daemon.pause();
        } else {
            self.daemon.resume();
        }
    }

    /// Its disk or its clock goes wrong, or is well again.
    pub fn trouble(&mut self, fault: &Fault, begins: bool) {
        if fault.kind == Kind::Clock {
            return self.disk.set_clock(if begins { fault.clock() } else { 0 });
        }
        if !begins {
            self.disk.set(Trouble::default());
            if fault.kind == Kind::FailDisk {
                self.is_failing = false;
                // Pages whose flush failed may be gone at any time.
                self.kill((fault.degree & 1 == 0).then_some(fault.degree));
                self.start();
            }
            return;
        }
        let slow = Duration::from_millis(10 + fault.degree % 490);
        let trouble = match (fault.kind, fault.degree & 4 == 0) {
            (Kind::SlowDisk, true) => Trouble { slow_flush: slow, ..Trouble::default() },
            (Kind::SlowDisk, false) => Trouble { slow_write: slow / 4, slow_flush: slow / 4, ..Trouble::default() },
            (_, true) => Trouble { broken_flush: true, ..Trouble::default() },
            (_, false) => Trouble { broken_write: true, broken_flush: true, ..Trouble::default() },
        };
        self.is_failing |= trouble.broken_flush;
        self.is_poisoned |= trouble.broken_flush;
        self.disk.set(trouble);
    }

    /// Nothing is wrong any more; returns what the daemon did by itself and should not have done.
    pub fn heal(&mut self) -> Option<String> {
        self.disk.set(Trouble::default());
        self.disk.set_clock(0);
        self.is_failing = false;
        self.pause(false);
        let ended = !self.daemon.is_running() && !self.is_down && !self.is_poisoned;
        let dropout = ended.then(|| format!("{} ended by itself; {}", self.node, self.daemon.tail()));
        if self.is_poisoned || (self.is_down && self.daemon.is_running()) {
            self.restart();
        }
        self.start();
        dropout
    }
}

/// Where in the log some bytes of a segment are.
fn in_log(written: &Written) -> Option<Range<u64>> {
    let base: u64 = written.path.file_name()?.to_str()?.parse().ok()?;
    Some(base + written.offset..base + written.offset + written.length)
}

//! What this broker is among those of its name, until when it may act as master, and whether it has to begin again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Where a master is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterAddress {
    /// `host:port` for clients.
    pub client: String,
    /// `host:port` of its replication port.
    pub ha: String,
}

/// What a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Not known yet: it serves nobody.
    Undecided,
    /// It copies a master, as soon as it knows where that is.
    Slave {
        /// The master.
        master: Option<MasterAddress>,
    },
    /// It takes messages.
    Master {
        /// Under this epoch.
        epoch: i32,
    },
}

/// Why the broker must close its store and open it again, as another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// Another broker is master now.
    Demoted,
    /// The log has to be cut at this offset first.
    Cut(u64),
    /// The log has nothing to do with the master's: it is set aside, and the new one has segments of so many bytes.
    StartOver {
        /// Bytes of a segment.
        segment_size: u64,
        /// What the master said.
        reason: String,
    },
}

/// The role, seen by handlers with one atomic and followed by tasks.
#[derive(Debug)]
pub struct RoleState {
    role: watch::Sender<Role>,
    is_master: AtomicBool,
    is_slave: AtomicBool,
    began: Instant,
    /// Nanoseconds after `began` until which a master may acknowledge.
    lease_ends: AtomicU64,
    restart: watch::Sender<Option<Restart>>,
    /// Whether a slave hears from its master.
    master_alive: AtomicBool,
    /// Whether what is in the log is known to stay there.
    readable: AtomicBool,
    /// Whether offsets and other metadata are those of the last master that was heard of.
    in_step: AtomicBool,
}

impl Default for RoleState {
    fn default() -> Self {
        Self {
            role: watch::Sender::new(Role::Undecided),
            is_master: AtomicBool::new(false),
            is_slave: AtomicBool::new(false),
            began: Instant::now(),
            lease_ends: AtomicU64::new(0),
            restart: watch::Sender::new(None),
            master_alive: AtomicBool::new(false),
            readable: AtomicBool::new(false),
            in_step: AtomicBool::new(false),
        }
    }
}

impl RoleState {
    /// The role now.
    pub fn current(&self) -> Role {
        self.role.borrow().clone()
    }

    /// Follows the role.
    pub fn watch(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// Changes the role; tells whether it was another one.
    pub fn set(&self, role: Role) -> bool {
        self.is_master.store(matches!(role, Role::Master { .. }), Ordering::Release);
        self.is_slave.store(matches!(role, Role::Slave { .. }), Ordering::Release);
        self.role.send_if_modified(|current| {
            let changed = *current != role;
            *current = role;
            changed
        })
    }

    /// Whether it is the master.
    pub fn is_master(&self) -> bool {
        self.is_master.load(Ordering::Acquire)
    }

    /// Whether it is a slave.
    pub fn is_slave(&self) -> bool {
        self.is_slave.load(Ordering::Acquire)
    }

    /// The master's epoch, 0 for others.
    pub fn epoch(&self) -> i32 {
        match *self.role.borrow() {
            Role::Master { epoch } => epoch,
            _ => 0,
        }
    }

    /// Lets a master acknowledge for a time counted from `from`; `None`: for good.
    pub fn extend_lease(&self, from: Instant, lease: Option<Duration>) {
        let ends = match lease {
            None => u64::MAX,
            Some(lease) => {
                let ends = from.saturating_duration_since(self.began).saturating_add(lease);
                u64::try_from(ends.as_nanos()).unwrap_or(u64::MAX)
            }
        };
        self.lease_ends.store(ends, Ordering::Release);
    }

    /// Whether a master's lease has not ended. Asked last before an acknowledgement leaves.
    pub fn has_lease(&self) -> bool {
        let ends = self.lease_ends.load(Ordering::Acquire);
        ends == u64::MAX || u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX) < ends
    }

    /// Whether a slave hears from its master.
    pub fn is_master_alive(&self) -> bool {
        self.master_alive.load(Ordering::Relaxed)
    }

    /// Notes whether a slave hears from its master.
    pub fn set_master_alive(&self, alive: bool) {
        self.master_alive.store(alive, Ordering::Relaxed);
    }

    /// Whether messages may be handed out: a member of a controller's group knows only from a master, or as one, that nothing in its
    /// log will be taken back.
    pub fn is_readable(&self) -> bool {
        self.readable.load(Ordering::Acquire)
    }

    /// Whether metadata are those of the last master that was heard of.
    pub fn is_in_step(&self) -> bool {
        self.in_step.load(Ordering::Acquire)
    }

    /// Notes whether metadata are those of the last master.
    pub fn set_in_step(&self, in_step: bool) {
        self.in_step.store(in_step, Ordering::Release);
    }

    /// What is in the log stays there.
    pub fn set_readable(&self) {
        self.readable.store(true, Ordering::Release);
    }

    /// Asks for the store to be closed and opened again; the first reason counts.
    pub fn ask_restart(&self, why: Restart) {
        self.restart.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(why);
            first
        });
    }

    /// Resolves when a restart is asked for.
    pub async fn restart_asked(&self) -> Restart {
        let mut asked = self.restart.subscribe();
        loop {
            if let Some(why) = asked.borrow_and_update().clone() {
                return why;
            }
            if asked.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

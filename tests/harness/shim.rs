//! The preloaded library that makes writes and flushes of a daemon's files fail; see `fsfault/fault.c`.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::Setup;

/// The library, compiled into a directory of the test's.
pub struct Shim {
    library: PathBuf,
    trigger: PathBuf,
}

impl Shim {
    /// Compiles it.
    #[must_use]
    pub fn compile(directory: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fsfault/fault.c");
        let library = directory.join("fault.so");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let mut command = Command::new(&compiler);
        command.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let status = command.status().unwrap_or_else(|error| panic!("{compiler}: {error}"));
        assert!(status.success(), "{compiler} cannot compile {}", source.display());
        Self { library, trigger: directory.join("fault.trigger") }
    }

    /// A daemon whose `calls` on the commit log fail once [`Shim::trigger`] was called and `after` further calls have
    /// succeeded; `count` of them fail.
    #[must_use]
    pub fn on(&self, setup: Setup, calls: &str, after: u32, count: u32) -> Setup {
        setup
            .environment("LD_PRELOAD", &self.library)
            .environment("FSFAULT_PATH", "/commitlog/")
            .environment("FSFAULT_CALLS", calls)
            .environment("FSFAULT_AFTER", after.to_string())
            .environment("FSFAULT_COUNT", count.to_string())
            .environment("FSFAULT_TRIGGER", &self.trigger)
    }

    /// A daemon whose commit log, and whose wall clock, do what a control file says, and whose writes are recorded.
    #[must_use]
    pub fn controlled(&self, setup: Setup, control: &Path, record: &Path) -> Setup {
        setup
            .environment("LD_PRELOAD", &self.library)
            .environment("FSFAULT_PATH", "/commitlog/")
            .environment("FSFAULT_COUNT", "0")
            .environment("FSFAULT_CONTROL", control)
            .environment("FSFAULT_RECORD", record)
    }

    /// A daemon that makes its connections from a loopback address of its own.
    #[must_use]
    pub fn connecting_from(&self, setup: Setup, source: Ipv4Addr) -> Setup {
        setup.environment("LD_PRELOAD", &self.library).environment("FSFAULT_SOURCE", source.to_string())
    }

    /// Begins to count calls.
    pub fn trigger(&self) {
        std::fs::write(&self.trigger, "").unwrap();
    }

    /// The same daemon without faults.
    #[must_use]
    pub fn off(setup: Setup) -> Setup {
        setup.without_environment("LD_PRELOAD").without_environment("FSFAULT_")
    }
}

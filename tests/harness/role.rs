//! What a program of the tests is when it was started as a daemon: the variable TESTD says which one.

use std::process::ExitCode;

use rustix::process::{Signal, set_parent_process_death_signal};

/// Runs the daemon that TESTD names, which dies with the thread that started it; `None` without TESTD.
#[must_use]
pub fn play() -> Option<ExitCode> {
    let role = std::env::var("TESTD").ok()?;
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("{role}: will outlive its test: {error}");
    }
    match role.as_str() {
        "nameserver" => Some(orbitmq_nameserver::daemon::run()),
        "broker" => Some(orbitmq_broker::daemon::main()),
        other => {
            eprintln!("TESTD={other}: it is nameserver or broker");
            Some(ExitCode::FAILURE)
        }
    }
}

//! Both daemons in one program; the variable TESTD says which one runs. Dies with the test that started it.

use std::process::ExitCode;

use rustix::process::{Signal, set_parent_process_death_signal};

fn main() -> ExitCode {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("orbitmq-testd: will outlive its test: {error}");
    }
    match std::env::var("TESTD").as_deref() {
        Ok("nameserver") => orbitmq_nameserver::daemon::run(),
        Ok("broker") => orbitmq_broker::daemon::main(),
        _ => {
            eprintln!("orbitmq-testd: set TESTD to nameserver or broker");
            ExitCode::FAILURE
        }
    }
}

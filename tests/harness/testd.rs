//! Both daemons in one program; the variable TESTD says which one runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    orbitmq_tests::role::play().unwrap_or_else(|| {
        eprintln!("orbitmq-testd: set TESTD to nameserver or broker");
        ExitCode::FAILURE
    })
}

//! The nameserver daemon.
fn main() -> std::process::ExitCode {
    orbitmq_nameserver::daemon::run()
}

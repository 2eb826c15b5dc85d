//! The broker daemon.

fn main() -> std::process::ExitCode {
    orbitmq_broker::daemon::main()
}

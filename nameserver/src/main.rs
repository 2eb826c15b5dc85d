//! The nameserver daemon.
fn main() {}

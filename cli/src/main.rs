//! Command line of OrbitMQ.
fn main() {}

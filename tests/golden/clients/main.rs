//! What the clients in Go and C++ put on the wire, and how they and the Prometheus exporter read our answers: facts of their sources, held
//! against our daemons.
//!
//! Go: apache/rocketmq-client-go at 2173d07 (v2); C++: apache/rocketmq-client-cpp at 7c8b7f8. Each test names the files whose
//! behaviour it encodes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed"
)]

mod cpp;
mod cpp_consumers;
mod cpp_producers;
mod go;
mod go_consumers;
mod go_producers;
mod record;
mod servers;
mod tools;
mod wire;

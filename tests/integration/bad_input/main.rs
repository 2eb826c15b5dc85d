//! Bad input on the wire of a running broker and name server: a clear answer or a closed connection, never a panic, a hang
//! or memory without bound.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed"
)]

mod cases;
mod client;
mod framing;
mod large;
mod memory;
mod servers;
mod sweep;
mod wire;

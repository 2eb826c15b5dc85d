//! The cluster harness: real daemons as processes, a raw client, load, and the book of what was acknowledged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness reports by panicking: its callers are tests"
)]

pub mod check;
pub mod daemon;
pub mod disk;
#[path = "../faults/mod.rs"]
pub mod faults;
pub mod ledger;
pub mod load;
pub mod producers;
pub mod role;
pub mod session;
pub mod shim;
pub mod wait;

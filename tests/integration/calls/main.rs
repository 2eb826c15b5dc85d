//! Calls over the queue: each way to call, each choice, each policy, deadlines, limits, nodes and brokers that end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod cluster;
mod faults;
mod limits;
mod ways;

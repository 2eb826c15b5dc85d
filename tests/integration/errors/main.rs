//! Every cause of every refusal, provoked at daemons that run: the code stays RocketMQ's, and the remark names this cause and no other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod copies;
mod daemons;
mod disks;
mod groups;
mod reading;
mod routes;
mod sending;
mod table;

//! How messages are consumed: popped, in order, broadcast, from where, after resets, and what consumers say about themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod broadcast;
mod cluster;
mod orderly;
mod pop;
mod pop_order;
mod request_mode;
mod reset;
mod start;
mod status;
mod trace;

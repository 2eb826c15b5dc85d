//! Frames and bodies captured from Apache RocketMQ, held against our codecs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed"
)]

mod bodies;
mod fields;
mod filters;
mod frames;
mod receipts;
mod sample;

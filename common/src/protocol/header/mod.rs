//! Typed headers, one file per family of requests.
//!
//! Field order is the order on the wire in MessagePack: fields are only ever appended. Optional fields carry
//! `#[serde(default)]` so that an older sender's shorter array still reads.

pub mod admin;
pub mod controller;
pub mod examine;
pub mod group;
pub mod nameserver;
pub mod offset;
pub mod pop;
pub mod pull;
pub mod query;
pub mod replica;
pub mod send;
pub mod transaction;

//! Several brokers of one name: who is master, who has which part of the log, what may be acknowledged.
//!
//! See `docs/replication.md` for the decisions.

pub mod acknowledge;
pub mod controller;
pub mod deletions;
pub mod epochs;
pub mod follow;
pub mod in_sync;
pub mod judge;
pub mod master;
pub mod metadata;
pub mod promote;
pub mod role;
pub mod slave;
pub mod wire;

#[cfg(test)]
mod tests;

//! Bodies, one file per family; JSON except where a file says otherwise. Output is compact; input is read with [`crate::protocol::relaxed`].

pub mod controller;
pub mod examine;
pub mod group;
pub mod heartbeat;
pub mod kv;
pub mod metadata;
pub mod pop;
pub mod register;
pub mod replica;
pub mod route;
pub mod running;
pub mod stats;
pub mod topic;

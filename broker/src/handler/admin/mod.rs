//! Administration of topics, groups, offsets, and the broker's figures.

pub mod figures;
pub mod group;
pub mod progress;
pub mod replication;
pub mod timers;
pub mod topic;

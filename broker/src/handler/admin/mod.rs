//! Administration of topics, groups, offsets, settings, and the broker's figures.

pub mod clean;
pub mod clone;
pub mod correction;
pub mod entries;
pub mod figures;
pub mod forbidden;
pub mod group;
pub mod lag;
pub mod producers;
pub mod progress;
pub mod replication;
pub mod settings;
pub mod status;
pub mod subscription;
pub mod system;
pub mod timers;
pub mod topic;
pub mod traffic;

#[cfg(test)]
mod tests;

//! What the broker must remember beside messages: topics, groups, offsets. Memory is the working copy, sled the lasting one.

pub mod db;
pub mod groups;
pub mod legacy;
pub mod levels;
pub mod offsets;
pub mod topics;

//! What the broker must remember beside messages: topics, groups, offsets. Memory is the working copy, sled the lasting one.

pub mod asked;
pub mod copy;
pub mod db;
pub mod feed;
pub mod followers;
pub mod forbidden;
pub mod groups;
pub mod kept;
pub mod legacy;
pub mod levels;
pub mod marks;
pub mod offsets;
pub mod orders;
pub mod removed;
pub mod request_modes;
pub mod resets;
pub mod rows;
pub mod taken;
pub mod topics;
pub mod tree;

//! One file per request kind or family; each reads from decoding to answering.

pub mod admin;
pub mod end_transaction;
pub mod heartbeat;
pub mod lock;
pub mod metadata;
pub mod offset;
pub mod pull;
pub mod query;
pub mod recall;
pub mod relay;
pub mod reply;
pub mod resume_check;
pub mod send;
pub mod send_back;

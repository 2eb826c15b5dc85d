//! One file per request kind or family; each reads from decoding to answering.

pub mod ack;
pub mod admin;
pub mod assignment;
pub mod end_transaction;
pub mod heartbeat;
pub mod invisible;
pub mod lock;
pub mod metadata;
pub mod notification;
pub mod offset;
pub mod peek;
pub mod pop;
pub mod popping;
pub mod pull;
pub mod query;
pub mod recall;
pub mod relay;
pub mod reply;
pub mod resume_check;
pub mod send;
pub mod send_back;

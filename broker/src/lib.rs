//! OrbitMQ's broker: stores messages and hands them out.

pub mod advertise;
pub mod announce;
pub mod broker;
pub mod config;
pub mod daemon;
pub mod delay;
pub mod dispatch;
pub mod handler;
pub mod life;
pub mod locks;
pub mod members;
pub mod memory;
pub mod meta;
pub mod monitor;
pub mod node;
pub mod plant;
pub mod refusal;
pub mod replica;
pub mod replica_state;
pub mod store;
pub mod subscription;
pub mod system_topics;
pub mod traffic;
pub mod tuned;

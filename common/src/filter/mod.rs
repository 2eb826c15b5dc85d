//! SQL92 conditions on the properties of a message, in RocketMQ's dialect.
//!
//! [`condition::Condition`] is the door: text goes in once, then it answers for each message's properties.

pub mod condition;
mod node;
mod parser;
pub mod syntax;
mod token;
pub mod value;

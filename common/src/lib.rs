//! The ground every part of OrbitMQ stands on: names, messages, protocol, sockets, routes.
#![deny(missing_docs)]

pub mod message;
pub mod net;
pub mod protocol;

//! The ground every part of OrbitMQ stands on: names, messages, protocol, sockets, routes.
#![deny(missing_docs)]

pub mod clock;
pub mod config;
pub mod filter;
pub mod message;
pub mod name;
pub mod net;
pub mod plain;
pub mod protocol;
pub mod route;
pub mod shutdown;
pub mod telemetry;

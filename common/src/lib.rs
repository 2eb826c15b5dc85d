//! The ground every part of OrbitMQ stands on: names, messages, protocol, sockets, routes.

pub mod message;

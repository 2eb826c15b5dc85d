//! OrbitMQ's name server: start one in this process with [`node::Node::start`].

mod answers;
pub mod config;
mod controller;
pub mod daemon;
mod dispatch;
mod expiry;
mod handler;
pub mod node;
pub mod options;
mod routes;
mod settings;

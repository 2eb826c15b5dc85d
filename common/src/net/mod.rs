//! Sockets that speak frames, in both directions.

pub mod client;
pub mod connection;
pub mod network;
pub mod outgoing;
pub mod peer;
pub mod server;
#[cfg(test)]
mod tests;

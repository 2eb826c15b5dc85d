//! OrbitMQ's broker.

//! OrbitMQ's consumer library.

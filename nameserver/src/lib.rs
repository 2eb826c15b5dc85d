//! OrbitMQ's name server.

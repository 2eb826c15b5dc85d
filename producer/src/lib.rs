//! OrbitMQ's producer library.

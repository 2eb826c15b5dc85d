//! Checks of choosing queues.

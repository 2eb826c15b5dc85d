//! What the fuzzer and the normal test run both feed with bytes. An entry panics when a promise is broken.

pub mod message;
pub mod recovery;
pub mod wire;

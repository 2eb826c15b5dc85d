//! What the example programs share: an embedded cluster, a small HTTP client, a clock.

pub mod clock;
pub mod cluster;
pub mod http;

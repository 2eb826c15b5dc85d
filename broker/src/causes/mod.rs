//! Why a request is not served: which of the possible causes it is, with the values concerned, and what cures it.

pub mod absent;
pub mod busy;
pub mod closed;
pub mod copies;
pub mod offsets;
pub mod readers;

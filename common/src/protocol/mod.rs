//! The wire: frames, their three header encodings, request kinds, bodies.

pub mod binary;
pub mod body;
pub mod code;
pub mod codec;
pub mod fields;
pub mod frame;
pub mod header;
pub mod json;
pub mod msgpack;
pub mod relaxed;
#[cfg(test)]
mod tests;

//! Headers, frames and bodies: round trips in every encoding, the spellings of foreign clients, and bytes that lie.

mod bodies;
mod fill;
mod frames;
mod headers;
mod register;
mod relaxed;
mod table;

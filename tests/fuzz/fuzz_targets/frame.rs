//! Streams of frames.
#![no_main]

#[path = "../entries/mod.rs"]
#[allow(dead_code, reason = "each target runs one of the entries")]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::wire::frame(data));

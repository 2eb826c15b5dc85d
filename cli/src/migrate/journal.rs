//! What a long command says while it goes on: one line a step, with the time since its start.

use std::time::Instant;

use serde::Serialize;

use crate::report::{Output, line};

/// Prints steps as they are done.
#[derive(Debug)]
pub struct Journal {
    began: Instant,
    output: Output,
}

#[derive(Serialize)]
struct Step<'a> {
    at_ms: u64,
    step: &'a str,
    detail: &'a str,
}

impl Journal {
    /// Begins now.
    pub fn new(output: Output) -> Self {
        Self { began: Instant::now(), output }
    }

    /// Milliseconds since the start.
    pub fn at_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Prints one step: a word that scripts may look for, and what there is to say. A switch goes on, or is taken back, also when
    /// nobody reads any more.
    pub fn step(&self, step: &str, detail: &str) {
        let at_ms = self.at_ms();
        let text = match self.output {
            Output::Table => format!("[{:4}.{:03} s] {step}: {detail}", at_ms / 1000, at_ms % 1000),
            Output::Json => serde_json::to_string(&Step { at_ms, step, detail }).unwrap_or_default(),
        };
        let _ = line(&text);
    }
}

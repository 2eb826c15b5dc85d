//! What is wrong with the text of a condition, and where.

/// Text that is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {complaint}")]
pub struct SyntaxError {
    /// Where, in characters from 1.
    pub at: usize,
    /// What is wrong there, and what would be right.
    pub complaint: String,
}

impl SyntaxError {
    /// At a byte of the text.
    pub(super) fn new(text: &str, byte: usize, complaint: impl Into<String>) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        Self { at: before.chars().count() + 1, complaint: complaint.into() }
    }
}

/// Characters of foreign text that an error repeats at most.
const SHOWN: usize = 40;

/// The beginning of a foreign text, for an error.
pub(super) fn clip(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

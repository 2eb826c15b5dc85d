//! A condition that a consumer puts on messages.

use crate::filter::node::Node;
use crate::filter::parser;
use crate::filter::syntax::SyntaxError;
use crate::filter::value::Unfit;

/// Bytes that the text of a condition may have.
pub const MAX_LEN: usize = 64 * 1024;

/// An SQL92 condition in RocketMQ's dialect, read once and asked for every message.
///
/// ```
/// use orbitmq_common::filter::condition::Condition;
///
/// let condition = Condition::parse("price BETWEEN 10 AND 20 AND region IN ('north', 'east')").unwrap();
/// assert_eq!(condition.evaluate("price\u{1}12\u{2}region\u{1}east\u{2}"), Ok(Some(true)));
/// assert_eq!(condition.evaluate("price\u{1}12\u{2}"), Ok(None), "the region is unknown");
///
/// let error = Condition::parse("price > 10 AND").unwrap_err();
/// assert_eq!(error.at, 15);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    root: Node,
}

impl Condition {
    /// Reads the text of a condition.
    ///
    /// # Errors
    /// It is none; the error names the place.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        parser::parse(text).map(|root| Self { root })
    }

    /// Whether the condition holds for a message, from the text of its properties as records carry it; `None`: unknown, for a
    /// property is missing. Only a message for which it holds is wanted. Allocates nothing.
    ///
    /// # Errors
    /// A property does not read as the number that it is compared with. RocketMQ does not hand out such a message either.
    pub fn evaluate<'a>(&'a self, properties: &'a str) -> Result<Option<bool>, Unfit<'a>> {
        self.root.truth(properties)
    }
}

#[cfg(test)]
mod tests;

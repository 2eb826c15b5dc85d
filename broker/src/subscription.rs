//! What a consumer wants of a topic, ready to be applied to queue entries.

use orbitmq_common::message::property;
use orbitmq_common::protocol::body::heartbeat::SubscriptionData;

/// A filter cannot be used. The text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterError(pub String);

/// Decides by the hash of a message's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Everything passes.
    All,
    /// One of these hashes passes. The reader compares the tags themselves.
    Tags(Vec<i64>),
}

impl Filter {
    /// Reads an expression: `*`, nothing, or tags separated by `||`.
    ///
    /// # Errors
    /// The kind of expression is not understood, or names no tag.
    pub fn parse(kind: Option<&str>, expression: &str) -> Result<Self, FilterError> {
        match kind {
            None | Some("" | "TAG") => {}
            Some("SQL92") => {
                return Err(FilterError(
                    "SQL92 filters are not there yet; subscribe by tags, such as 'TagA || TagB'".to_owned(),
                ));
            }
            Some(other) => return Err(FilterError(format!("'{other}' is not a kind of filter; use TAG"))),
        }
        let expression = expression.trim();
        if expression.is_empty() || expression == "*" {
            return Ok(Self::All);
        }
        let tags: Vec<i64> =
            expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(property::tag_hash).collect();
        if tags.is_empty() {
            return Err(FilterError(format!("'{expression}' names no tag; write tags separated by ||, or *")));
        }
        Ok(Self::Tags(tags))
    }

    /// Whether a message with this tag hash passes.
    #[must_use]
    pub fn accepts(&self, tag_hash: i64) -> bool {
        match self {
            Self::All => true,
            Self::Tags(hashes) => hashes.contains(&tag_hash),
        }
    }
}

/// A consumer group's subscription to one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// As the client told it.
    pub data: SubscriptionData,
    /// The filter it means, or why it cannot be used.
    pub filter: Result<Filter, FilterError>,
}

impl Subscription {
    /// Prepares what a client told.
    #[must_use]
    pub fn new(data: SubscriptionData) -> Self {
        let filter = Filter::parse(Some(&data.expression_type), &data.sub_string);
        Self { data, filter }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read() {
        assert_eq!(Filter::parse(None, " * "), Ok(Filter::All));
        let two = Filter::parse(Some("TAG"), "TagA || TagB").unwrap();
        assert!(two.accepts(2_598_919) && !two.accepts(0));
        assert!(Filter::parse(Some("TAG"), "||").is_err());
        assert!(Filter::parse(Some("SQL92"), "a > 1").is_err());
        assert!(Filter::parse(Some("XPATH"), "a").is_err());
    }
}

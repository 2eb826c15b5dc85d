//! What a consumer wants of a topic, ready to be applied to queue entries and records.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use orbitmq_common::filter::condition::Condition;
use orbitmq_common::message::property;
use orbitmq_common::message::record::RecordView;
use orbitmq_common::protocol::body::heartbeat::SubscriptionData;

use crate::filters::Filters;

/// A filter cannot be used. The text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It is not written as filters are.
    #[error("{0}")]
    Text(String),
    /// An administrator does not want such filters.
    #[error(
        "SQL92 filters are switched off at this broker (property_filter, enablePropertyFilter); switch them on, or subscribe by tags"
    )]
    Off,
}

/// Decides which messages a consumer gets.
#[derive(Debug, Clone)]
pub enum Filter {
    /// Everything passes.
    All,
    /// One of these hashes passes. The reader compares the tags themselves.
    Tags(Vec<i64>),
    /// What fulfils the condition passes.
    Sql(Arc<SqlFilter>),
}

/// A condition on properties.
#[derive(Debug)]
pub struct SqlFilter {
    /// As it was written.
    pub text: Box<str>,
    /// What it means.
    pub condition: Condition,
    /// Whether somebody was told that it cannot be evaluated on some messages.
    pub warned: AtomicBool,
}

/// Messages on which a condition could not be evaluated, hence not handed out.
#[derive(Debug, Default)]
pub struct Failures {
    /// How many.
    pub count: u64,
    /// Why the first one failed.
    pub first: Option<String>,
}

impl Filter {
    /// Reads an expression: `*`, nothing, or tags separated by `||`; or an SQL92 condition.
    ///
    /// # Errors
    /// The kind of expression is not understood, or it names no tag, or it is no condition.
    pub fn parse(kind: Option<&str>, expression: &str) -> Result<Self, FilterError> {
        match kind {
            None | Some("" | "TAG") => Self::tags(expression),
            Some("SQL92") => match Condition::parse(expression) {
                Ok(condition) => {
                    let filter = SqlFilter { text: expression.into(), condition, warned: AtomicBool::new(false) };
                    Ok(Self::Sql(Arc::new(filter)))
                }
                Err(error) => Err(FilterError::Text(format!("SQL92 filter, {error}"))),
            },
            Some(other) => Err(FilterError::Text(format!("'{other}' is not a kind of filter; use TAG or SQL92"))),
        }
    }

    fn tags(expression: &str) -> Result<Self, FilterError> {
        let expression = expression.trim();
        if expression.is_empty() || expression == "*" {
            return Ok(Self::All);
        }
        let tags: Vec<i64> =
            expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(property::tag_hash).collect();
        if tags.is_empty() {
            return Err(FilterError::Text(format!("'{expression}' names no tag; write tags separated by ||, or *")));
        }
        Ok(Self::Tags(tags))
    }

    /// Whether a message passes, by its tag hash and the bytes of its record.
    #[must_use]
    pub fn accepts(&self, tag_hash: i64, record: &[u8], failures: &mut Failures) -> bool {
        match self {
            Self::All => true,
            Self::Tags(hashes) => hashes.contains(&tag_hash),
            Self::Sql(filter) => {
                // A damaged record is for the reader to find: here it would vanish without a word.
                let Ok(record) = RecordView::parse(record) else { return true };
                match filter.condition.evaluate(record.properties) {
                    Ok(truth) => truth == Some(true),
                    Err(unfit) => {
                        failures.count += 1;
                        failures.first.get_or_insert_with(|| unfit.to_string());
                        false
                    }
                }
            }
        }
    }
}

/// A consumer group's subscription to one topic.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// As the client told it.
    pub data: SubscriptionData,
    /// The filter it means, or why it cannot be used.
    pub filter: Result<Filter, FilterError>,
}

impl Subscription {
    /// Prepares what a client told.
    #[must_use]
    pub fn new(data: SubscriptionData, filters: &Filters) -> Self {
        let filter = filters.find(Some(&data.expression_type), &data.sub_string);
        Self { data, filter }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read() {
        assert!(matches!(Filter::parse(None, " * "), Ok(Filter::All)));
        let two = Filter::parse(Some("TAG"), "TagA || TagB").unwrap();
        let mut failures = Failures::default();
        assert!(two.accepts(2_598_919, b"", &mut failures) && !two.accepts(0, b"", &mut failures));
        assert!(Filter::parse(Some("TAG"), "||").is_err());
        assert!(Filter::parse(Some("XPATH"), "a").is_err());
        let error = Filter::parse(Some("SQL92"), "a > ").unwrap_err().to_string();
        assert!(error.starts_with("SQL92 filter, at character 5: expected a property"), "{error}");
        let damaged = Filter::parse(Some("SQL92"), "a > 1").unwrap();
        assert!(damaged.accepts(0, b"no record", &mut failures), "left to the reader");
    }
}

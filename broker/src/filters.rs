//! Filters in use: a condition is read once, however many groups, members and pulls come with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::subscription::{Failures, Filter, FilterError, SqlFilter};

/// Conditions kept at most; those that nobody uses go first.
const MAX_KEPT: usize = 1024;
/// Bytes of their texts at most.
const MAX_KEPT_BYTES: usize = 4 << 20;

/// Conditions by their text.
#[derive(Debug)]
pub struct Filters {
    /// Whether SQL92 filters may be used at all.
    allowed: bool,
    kept: RwLock<Kept>,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Kept {
    by_text: HashMap<Box<str>, Arc<SqlFilter>>,
    bytes: usize,
}

impl Default for Filters {
    fn default() -> Self {
        Self::new(true)
    }
}

impl Filters {
    /// None yet.
    #[must_use]
    pub fn new(allowed: bool) -> Self {
        Self { allowed, kept: RwLock::default(), failures: AtomicU64::new(0) }
    }

    /// Like [`Filter::parse`], but a condition that is known is not read again.
    ///
    /// # Errors
    /// As there, or SQL92 filters are switched off.
    pub fn find(&self, kind: Option<&str>, expression: &str) -> Result<Filter, FilterError> {
        if kind != Some("SQL92") {
            return Filter::parse(kind, expression);
        }
        if !self.allowed {
            return Err(FilterError::Off);
        }
        if let Some(known) = self.kept.read().by_text.get(expression) {
            return Ok(Filter::Sql(Arc::clone(known)));
        }
        let filter = Filter::parse(kind, expression)?;
        if let Filter::Sql(new) = &filter {
            self.kept.write().keep(new);
        }
        Ok(filter)
    }

    /// Counts messages that a filter kept back because it could not be evaluated on them; the first ones are told.
    pub fn failed(&self, filter: &Filter, topic: &str, failures: Failures) {
        let (Filter::Sql(filter), Some(cause)) = (filter, failures.first) else { return };
        self.failures.fetch_add(failures.count, Ordering::Relaxed);
        if !filter.warned.swap(true, Ordering::Relaxed) {
            let condition = &*filter.text;
            tracing::warn!(
                topic,
                condition,
                cause,
                "a filter cannot be evaluated on a message, which is not handed out"
            );
        }
    }

    /// Messages not handed out because a filter could not be evaluated on them.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

impl Kept {
    fn keep(&mut self, new: &Arc<SqlFilter>) {
        let len = new.text.len();
        let is_full = |kept: &Self| kept.by_text.len() >= MAX_KEPT || kept.bytes + len > MAX_KEPT_BYTES;
        if is_full(self) {
            self.by_text.retain(|_, filter| Arc::strong_count(filter) > 1);
            self.bytes = self.by_text.keys().map(|text| text.len()).sum();
        }
        if !is_full(self) && self.by_text.insert(new.text.clone(), Arc::clone(new)).is_none() {
            self.bytes += len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(filters: &Filters, text: &str) -> Arc<SqlFilter> {
        match filters.find(Some("SQL92"), text) {
            Ok(Filter::Sql(filter)) => filter,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_condition_is_read_once_and_kept_while_used() {
        let filters = Filters::default();
        let used = sql(&filters, "a > 1");
        assert!(Arc::ptr_eq(&used, &sql(&filters, "a > 1")));
        for number in 0..5_000 {
            sql(&filters, &format!("a > {number} OR b = 'x'"));
        }
        assert!(filters.kept.read().by_text.len() <= MAX_KEPT);
        assert!(Arc::ptr_eq(&used, &sql(&filters, "a > 1")));
        for number in 0..200 {
            sql(&filters, &format!("a = {number}{}", " ".repeat(60_000)));
        }
        assert!(filters.kept.read().bytes <= MAX_KEPT_BYTES);
    }

    #[test]
    fn an_administrator_may_switch_them_off() {
        assert_eq!(Filters::new(false).find(Some("SQL92"), "a > 1").unwrap_err(), FilterError::Off);
        assert!(Filters::new(false).find(Some("TAG"), "a").is_ok());
    }
}

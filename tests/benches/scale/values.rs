//! Numbers on their way into a report: parts of a distribution, rounding, the time.

use crate::Figures;

/// Notes percentiles of values under names that begin with `name`; nothing of nothing.
pub fn note_spread(figures: &mut Figures, name: &str, mut values: Vec<i64>) {
    values.sort_unstable();
    let Some(last) = values.len().checked_sub(1) else { return };
    for (title, share) in [("min", 0), ("p50", 500), ("p99", 990), ("p999", 999), ("max", 1000)] {
        figures.insert(format!("{name}_{title}"), values[last * share / 1000].into());
    }
}

/// Notes a number, rounded to two digits behind the point.
pub fn note(figures: &mut Figures, name: &str, value: f64) {
    figures.insert(name.to_owned(), ((value * 100.0).round() / 100.0).into());
}

/// What so much for so many is for a million.
pub fn per_million(value: f64, count: u64) -> f64 {
    value * 1e6 / count.max(1) as f64
}

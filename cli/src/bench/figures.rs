//! Latencies and rates of a measurement.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::failure::Failure;

/// Latencies from a microsecond to two minutes are told apart to three digits.
const SHORTEST: u64 = 1_000;
const LONGEST: u64 = 120_000_000_000;
const DIGITS: u8 = 3;
/// Percentiles that are reported.
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// Counts latencies.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
    max: Duration,
}

impl Latencies {
    /// None yet.
    ///
    /// # Errors
    /// The histogram cannot be made.
    pub fn new() -> Result<Self, Failure> {
        let histogram = Histogram::new_with_bounds(SHORTEST, LONGEST, DIGITS);
        let histogram = histogram.map_err(|error| Failure::other(format!("no histogram: {error}")))?;
        Ok(Self { histogram, max: Duration::ZERO })
    }

    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        self.histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(LONGEST));
        self.max = self.max.max(latency);
    }

    /// Takes over what another one counted.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, so this cannot fail.
        self.histogram += &other.histogram;
        self.max = self.max.max(other.max);
    }

    /// The percentiles, for a report.
    pub fn percentiles(&self) -> Percentiles {
        let at =
            |percentile| millis(Duration::from_nanos(self.histogram.value_at_percentile(percentile)).min(self.max));
        let percentiles = PERCENTILES.map(|(name, percentile)| (name, at(percentile)));
        Percentiles { percentiles, max: millis(self.max), any: !self.histogram.is_empty() }
    }
}

fn millis(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1000.0, 3)
}

/// Rounds to so many digits after the point.
pub fn round(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}

/// A number per second.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub fn per_second(number: u64, time: Duration) -> f64 {
    number as f64 / time.as_secs_f64().max(1e-9)
}

/// Percentiles of latencies, in ms.
#[derive(Debug, Clone, PartialEq)]
pub struct Percentiles {
    percentiles: [(&'static str, f64); 4],
    max: f64,
    any: bool,
}

impl Percentiles {
    /// `p50 1.2 ms, p99 …`
    pub fn text(&self) -> String {
        if !self.any {
            return "none".to_owned();
        }
        let each: Vec<String> = self.percentiles.iter().map(|(name, value)| format!("{name} {value} ms")).collect();
        format!("{}, max {} ms", each.join(", "), self.max)
    }
}

/// Latencies by a name that comes before each percentile's: `send_p50_ms`.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// What was measured.
    pub name: &'static str,
    /// The latencies.
    pub percentiles: Percentiles,
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.percentiles.any {
            for (name, value) in self.percentiles.percentiles {
                map.serialize_entry(&format!("{}_{name}_ms", self.name), &value)?;
            }
            map.serialize_entry(&format!("{}_max_ms", self.name), &self.percentiles.max)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut one = Latencies::new().unwrap();
        let mut other = Latencies::new().unwrap();
        for us in 1..=500_u64 {
            one.record(Duration::from_micros(us * 1000));
            other.record(Duration::from_micros((us + 500) * 1000));
        }
        one.add(&other);
        let named = Named { name: "send", percentiles: one.percentiles() };
        let json = serde_json::to_value(&named).unwrap();
        for (name, wanted) in [("p50", 500.0), ("p90", 900.0), ("p99", 990.0), ("p99.9", 999.0), ("max", 1000.0)] {
            let value = json[format!("send_{name}_ms")].as_f64().unwrap();
            assert!((value - wanted).abs() <= wanted / 500.0, "{name}: {value}");
        }
    }

    #[test]
    fn nothing_has_no_percentiles() {
        let none = Latencies::new().unwrap().percentiles();
        assert_eq!(none.text(), "none");
        assert_eq!(serde_json::to_string(&Named { name: "send", percentiles: none }).unwrap(), "{}");
    }

    #[test]
    fn very_long_ones_are_counted() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(Duration::from_secs(1000));
        assert!(latencies.percentiles().text().ends_with("max 1000000 ms"));
    }
}

//! Settings of messages for a time of their own.

use std::time::Duration;

use orbitmq_common::config::{ConfigError, Settings};

/// What the broker does with such messages.
#[derive(Debug, Clone)]
pub struct TimerSettings {
    /// Whether new ones are taken; those that wait are delivered in any case.
    pub enabled: bool,
    /// How far ahead one may be; `None`: as far as a number goes.
    pub max_delay: Option<Duration>,
    /// How late one may be on purpose: those due within it are delivered together.
    pub precision: Duration,
    /// Whether a sender can take one back.
    pub recall: bool,
}

impl Default for TimerSettings {
    fn default() -> Self {
        Self { enabled: true, max_delay: None, precision: Duration::from_millis(5), recall: true }
    }
}

/// Reads them.
pub fn read(settings: &Settings) -> Result<TimerSettings, ConfigError> {
    let default = TimerSettings::default();
    // RocketMQ's own are plain numbers, of seconds and of milliseconds.
    let duration = |key: &str, unit: u64| match settings.text(key).map(|text| text.trim().parse::<u64>()) {
        Some(Ok(number)) => Ok(Some(Duration::from_millis(number.saturating_mul(unit)))),
        _ => settings.get::<Duration>(key),
    };
    let precision = duration("timer_precision", 1)?.unwrap_or(default.precision);
    if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&precision) {
        return Err(settings.refuse("timer_precision", "expected 1ms to 1m"));
    }
    Ok(TimerSettings {
        enabled: settings.get("timers")?.unwrap_or(default.enabled),
        max_delay: duration("timer_max_delay", 1_000)?,
        precision,
        recall: settings.get("recall")?.unwrap_or(default.recall),
    })
}

//! Settings of transactions.

use std::time::Duration;

use orbitmq_common::config::{ConfigError, Settings};

/// How half messages are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionSettings {
    /// Time until a producer is first asked about one.
    pub timeout: Duration,
    /// Time between two questions.
    pub check_interval: Duration,
    /// Questions after which one is given up.
    pub check_max: u32,
    /// Most that may be open at once.
    pub max_open: usize,
    /// Whether none are taken.
    pub reject: bool,
}

impl Default for TransactionSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(6),
            check_interval: Duration::from_secs(30),
            check_max: 15,
            max_open: 1_000_000,
            reject: false,
        }
    }
}

/// Reads the settings of transactions.
pub fn read(settings: &Settings, into: &mut TransactionSettings) -> Result<(), ConfigError> {
    for (key, place) in
        [("transaction_timeout", &mut into.timeout), ("transaction_check_interval", &mut into.check_interval)]
    {
        if let Some(time) = time(settings, key)? {
            *place = time;
        }
    }
    if let Some(most) = settings.get("transaction_check_max")? {
        into.check_max = most;
    }
    if let Some(most) = settings.get::<u64>("max_open_transactions")? {
        if !(1..=100_000_000).contains(&most) {
            return Err(settings.refuse("max_open_transactions", "expected 1 to 100000000"));
        }
        into.max_open = usize::try_from(most).unwrap_or(usize::MAX);
    }
    into.reject = settings.get("reject_transactions")?.unwrap_or(false);
    Ok(())
}

/// A duration; RocketMQ's are plain numbers of milliseconds.
fn time(settings: &Settings, key: &str) -> Result<Option<Duration>, ConfigError> {
    let time = match settings.text(key).map(str::parse::<u64>) {
        Some(Ok(millis)) => Some(Duration::from_millis(millis)),
        _ => settings.get::<Duration>(key)?,
    };
    if time.is_some_and(|time| !(Duration::from_millis(100)..=Duration::from_secs(86_400)).contains(&time)) {
        return Err(settings.refuse(key, "expected 100ms to 1d"));
    }
    Ok(time)
}

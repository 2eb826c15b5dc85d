//! Settings of the store: flush, sizes, retention.

use std::time::Duration;

use orbitmq_common::config::{ByteSize, ConfigError, Settings};

use crate::store::options::{Flush, Options, Retention};

/// Reads the settings of the store.
pub fn read(settings: &Settings, store: &mut Options) -> Result<(), ConfigError> {
    store.flush = match settings.text("flush") {
        None | Some("sync" | "SYNC_FLUSH") => Flush::Sync,
        Some("async" | "ASYNC_FLUSH") => Flush::Async,
        Some(_) => return Err(settings.refuse("flush", "expected sync or async")),
    };
    if let Some(ByteSize(size)) = settings.get("segment_size")? {
        if !(1 << 20..=1 << 30).contains(&size) {
            return Err(settings.refuse("segment_size", "expected 1MiB to 1GiB"));
        }
        store.segment_size = size;
    }
    if let Some(entries) = settings.get::<u64>("queue_file_entries")? {
        if !(1000..=10_000_000).contains(&entries) {
            return Err(settings.refuse("queue_file_entries", "expected 1000 to 10000000"));
        }
        store.queue_file_entries = entries;
    }
    let mut retention = Retention { max_bytes: None, ..store.retention };
    if let Some(text) = settings.text("retention") {
        // RocketMQ's fileReservedTime is a plain number of hours.
        retention.max_age = Some(match text.parse::<u64>() {
            Ok(hours) => Duration::from_secs(hours.saturating_mul(3600)),
            Err(_) => settings.get("retention")?.unwrap_or_default(),
        });
    }
    if let Some(ByteSize(size)) = settings.get("retention_bytes")? {
        retention.max_bytes = Some(size);
    }
    store.retention = retention;
    if let Some(text) = settings.text("delay_levels") {
        let levels: Option<Vec<Duration>> =
            text.split_whitespace().map(|word| orbitmq_common::config::Value::parse(word).ok()).collect();
        store.delay_levels = levels.filter(|levels| !levels.is_empty()).ok_or_else(|| {
            settings.refuse("delay_levels", "expected durations separated by blanks, such as 1s 5s 10s")
        })?;
    }
    if let Some(ByteSize(size)) = settings.get("max_in_flight")? {
        store.max_unflushed = usize::try_from(size)
            .ok()
            .filter(|size| *size >= 16 << 20)
            .ok_or_else(|| settings.refuse("max_in_flight", "expected 16MiB or more, the length of one frame"))?;
    }
    Ok(())
}

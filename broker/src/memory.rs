//! The machine's memory, and shares of it.

use orbitmq_common::config::{ByteSize, Value};

/// Assumed where the system does not tell.
const UNKNOWN: u64 = 8 << 30;

/// Bytes of memory the machine has.
#[must_use]
pub fn total() -> u64 {
    std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(total_of).unwrap_or(UNKNOWN)
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// So many hundredths of it.
#[must_use]
pub fn percent(part: u64) -> u64 {
    (total() / 100).saturating_mul(part)
}

/// A size, or a share of the memory: `40%`, and as in RocketMQ's settings a plain number up to 100.
///
/// # Errors
/// What is expected, as text.
pub fn parse(text: &str) -> Result<u64, String> {
    let (number, marked) = text.strip_suffix('%').map_or((text, false), |number| (number.trim_end(), true));
    match number.parse::<u64>() {
        Ok(part) if part <= 100 => Ok(percent(part)),
        _ if marked => Err("expected 0% to 100%, or a size such as 4GiB".to_owned()),
        _ => ByteSize::parse(text).map(|ByteSize(bytes)| bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_sizes_are_read() {
        assert_eq!(total_of("MemFree: 1 kB\nMemTotal:       16 kB\n"), Some(16 << 10));
        assert_eq!(total_of("nothing"), None);
        assert_eq!((parse("40%"), parse("40")), (Ok(percent(40)), Ok(percent(40))));
        assert_eq!(parse("64MiB"), Ok(64 << 20));
        assert!(parse("101%").is_err() && parse("much").is_err());
        assert!(percent(40) > 0 && percent(40) < total());
    }
}

//! Points in time as people write them, in UTC, and lengths of time.

use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::config::Value;
use orbitmq_common::plain::civil;

const DAY: i64 = 86_400;
const EXPECTED: &str = "expected a time such as 2026-11-21T12:30:00Z, a length such as 10m (ago), or ms since 1970";

/// Reads a time as ms since 1970: `2026-11-21T12:30:00Z` and shorter, `10m` (ago), or the number itself.
///
/// # Errors
/// What is expected.
pub fn parse(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<i64>() {
        return if ms >= 0 { Ok(ms) } else { Err(EXPECTED.to_owned()) };
    }
    if let Ok(ago) = parse_length(text) {
        return Ok(now_ms().saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)));
    }
    parse_date(text).ok_or_else(|| EXPECTED.to_owned())
}

/// Reads a length of time such as `500ms`, `5s` or `2m`.
///
/// # Errors
/// What is expected.
pub fn parse_length(text: &str) -> Result<Duration, String> {
    Duration::parse(text.trim())
}

fn parse_date(text: &str) -> Option<i64> {
    let text = text.trim().trim_end_matches(['Z', 'z']);
    let (date, clock) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00:00"));
    let mut parts = date.split('-').map(str::parse::<i64>);
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    if parts.next().is_some() || !(1970..=9999).contains(&year) {
        return None;
    }
    let days = days_since_1970(year, month, day);
    // A day that the month does not have comes back as another one.
    if civil(days) != (year, month, day) {
        return None;
    }
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':').map(str::parse::<i64>);
    let (hour, minute, second) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next().unwrap_or(Ok(0)).ok()?);
    let all = parts.next().is_none();
    if !all || !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..60).contains(&second) {
        return None;
    }
    let digits: String = fraction.chars().chain("00".chars()).take(3).collect();
    let milli: i64 = digits.parse().ok()?;
    Some((days * DAY + hour * 3600 + minute * 60 + second) * 1000 + milli)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; years begin in March here, so that leap days come last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use orbitmq_common::plain::date as show;

    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        for (text, ms) in [
            ("1970-01-01", 0),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("2026-11-21T12:30:05.125Z", 1_795_264_205_125),
            ("2026-11-21 12:30", 1_795_264_200_000),
            ("1795264205125", 1_795_264_205_125),
        ] {
            assert_eq!(parse(text), Ok(ms), "{text}");
        }
        for ms in [1, 951_782_400_000, 951_868_799_999, 1_795_264_205_125, 4_102_444_800_000] {
            assert_eq!(parse(&show(ms)), Ok(ms));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "soon", "2026-02-30", "2026-13-01", "2026-11-21T25:00", "-5", "2026-11-21-3", "1:2"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_length_means_ago() {
        let ten = parse("10m").unwrap();
        assert!((now_ms() - 600_000 - ten).abs() < 5_000);
    }
}

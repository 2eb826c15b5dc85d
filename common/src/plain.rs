//! Times, sizes and names in plain words, for remarks and tables.

use std::time::Duration;

const DAY: i64 = 86_400;
/// A name that is not there is compared with so many others at most.
const NAMES_COMPARED: usize = 10_000;

/// A point in time, ms since 1970: `2026-11-21T12:30:00.125Z`; `-` for one that is none.
#[must_use]
pub fn date(ms: i64) -> String {
    if ms <= 0 {
        return "-".to_owned();
    }
    let (days, ms_of_day) = (ms.div_euclid(DAY * 1000), ms.rem_euclid(DAY * 1000));
    let (year, month, day) = civil(days);
    let (second, milli) = (ms_of_day / 1000, ms_of_day % 1000);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// A length of time in ms, roughly: `12s`, `3m`, `5h`, `2d`.
#[must_use]
pub fn length(ms: i64) -> String {
    match ms / 1000 {
        seconds if seconds < 0 => "-".to_owned(),
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / DAY),
    }
}

/// How long ago something was: `12s ago`.
#[must_use]
pub fn ago(since: Duration) -> String {
    format!("{} ago", length(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

/// A number of bytes, exact where it is small: `812 bytes`, `9.8 KiB`, `64.0 MiB`.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

/// Year, month and day of a number of days since 1970.
#[must_use]
pub fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The one of `names` that whoever wrote `name` may have meant: the same in other letters' case, or at most two typing errors away.
#[must_use]
pub fn meant<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut near: Option<(usize, &str)> = None;
    for other in names.filter(|other| *other != name).take(NAMES_COMPARED) {
        let errors = if other.eq_ignore_ascii_case(name) {
            0
        } else if name.len() < 4 || other.len().abs_diff(name.len()) > 2 {
            continue;
        } else {
            strsim::osa_distance(name, other)
        };
        // Short names are near one another without being meant; of names equally near the first counts.
        let most = if name.len() < 8 { 1 } else { 2 };
        if errors <= most && near.is_none_or(|(best, known)| (errors, other) < (best, known)) {
            near = Some((errors, other));
        }
    }
    near.map(|(_, other)| other)
}

/// What a remark adds about the name that may be meant: `; did you mean 'orders'?`, or nothing.
#[must_use]
pub fn did_you_mean(meant: Option<&str>) -> String {
    meant.map_or_else(String::new, |other| format!("; did you mean '{other}'?"))
}

#[cfg(test)]
mod tests;

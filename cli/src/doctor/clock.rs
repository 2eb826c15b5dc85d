//! What the clock of a broker says, beside the one of this machine.

use std::collections::BTreeMap;

/// Differences up to here are those of asking, and of figures that are whole seconds.
const ALIKE: i64 = 5_000;

/// The time at a broker, ms since 1970, as its figures have it: when it started, and for how long it has run.
pub fn time_of(figures: &BTreeMap<String, String>) -> Option<i64> {
    let began: i64 = figures.get("bootTimestamp")?.parse().ok()?;
    // `[ 0 days, 2 hours, 5 minutes, 7 seconds ]`
    let runtime = figures.get("runtime")?.trim_matches(['[', ']', ' ']);
    let mut seconds = 0;
    for part in runtime.split(',') {
        let (count, unit) = part.trim().split_once(' ')?;
        let count: i64 = count.parse().ok()?;
        seconds += count
            * match unit.trim() {
                "days" => 86_400,
                "hours" => 3_600,
                "minutes" => 60,
                "seconds" => 1,
                _ => return None,
            };
    }
    Some(began + seconds * 1_000)
}

/// What to say of a broker whose clock is not this machine's.
pub fn differs(there: i64, here: i64) -> Option<String> {
    let ahead = there - here;
    if ahead.abs() <= ALIKE {
        return None;
    }
    let (seconds, how) = (ahead.abs() / 1_000, if ahead > 0 { "ahead of" } else { "behind" });
    Some(format!(
        "its clock is {seconds} s {how} this machine's, and it goes by it for delays, retention and searches by time: set both by NTP"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(boot: &str, runtime: &str) -> BTreeMap<String, String> {
        [("bootTimestamp", boot), ("runtime", runtime)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn clocks_are_read_from_the_time_of_running() {
        let read = figures("1000000", "[ 1 days, 2 hours, 3 minutes, 4 seconds ]");
        assert_eq!(time_of(&read), Some(1_000_000 + (86_400 + 7_200 + 180 + 4) * 1_000));
        for (boot, runtime) in [("x", "[ 1 days ]"), ("1", "[ some days ]"), ("1", ""), ("1", "[ 3 weeks ]")] {
            assert_eq!(time_of(&figures(boot, runtime)), None, "{boot} {runtime}");
        }
    }

    #[test]
    fn differences_are_told_from_the_time_of_asking() {
        assert_eq!(differs(10_000, 14_000), None);
        assert!(differs(100_000, 10_000).unwrap().starts_with("its clock is 90 s ahead of this machine's"));
        assert!(differs(10_000, 100_000).unwrap().starts_with("its clock is 90 s behind this machine's"));
    }
}

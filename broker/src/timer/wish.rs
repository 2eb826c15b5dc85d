//! When the sender of a message wants it delivered: three properties, of which the first counts, as in RocketMQ.

use std::time::Duration;

use orbitmq_common::message::property;

use crate::store::due::MAX_DUE;

/// What the properties of a message say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    seconds: Option<&'a str>,
    millis: Option<&'a str>,
    at: Option<&'a str>,
    /// Whether the message was delivered by a timer once, as one that comes back from its consumer was.
    delivered: bool,
}

/// A wish that cannot be met, with cause and cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// Not a number, or none that can be.
    #[error("property {name} is '{value}': expected {expected}")]
    Number {
        /// The property.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Later than this broker allows.
    #[error("the message is to wait {wait:?}, this broker allows {most:?} (timer_max_delay): choose an earlier time")]
    TooFar {
        /// How long it would wait.
        wait: Duration,
        /// The longest allowed.
        most: Duration,
    },
}

impl<'a> Wish<'a> {
    /// Notes a property; false if it is none of a timer's.
    pub fn note(&mut self, name: &str, value: &'a str) -> bool {
        match name {
            property::TIMER_DELAY_SEC => self.seconds = Some(value),
            property::TIMER_DELAY_MS => self.millis = Some(value),
            property::TIMER_DELIVER_MS => self.at = Some(value),
            property::TIMER_OUT_MS => self.delivered = true,
            _ => return false,
        }
        true
    }

    /// When the message is due, ms since the epoch; `None`: at once.
    ///
    /// # Errors
    /// See [`WishError`].
    pub fn due(&self, now: i64, most: Option<Duration>) -> Result<Option<i64>, WishError> {
        if self.delivered {
            return Ok(None);
        }
        let wait = |number: i64, unit: i64| number.checked_mul(unit).and_then(|wait| now.checked_add(wait));
        let (name, value, due) = if let Some(value) = self.seconds {
            (property::TIMER_DELAY_SEC, value, number(value).and_then(|number| wait(number, 1_000)))
        } else if let Some(value) = self.millis {
            (property::TIMER_DELAY_MS, value, number(value).and_then(|number| wait(number, 1)))
        } else if let Some(value) = self.at {
            (property::TIMER_DELIVER_MS, value, number(value))
        } else {
            return Ok(None);
        };
        let Some(due) = due.filter(|due| *due <= MAX_DUE) else {
            let expected = match name {
                property::TIMER_DELAY_SEC => "a number of seconds",
                property::TIMER_DELAY_MS => "a number of milliseconds",
                _ => "a time in milliseconds since 1970",
            };
            return Err(WishError::Number { name, value: value.to_owned(), expected });
        };
        let left = Duration::from_millis(u64::try_from(due.saturating_sub(now)).unwrap_or(0));
        match most.filter(|most| left > *most) {
            Some(most) => Err(WishError::TooFar { wait: left, most }),
            None => Ok((due > now).then_some(due)),
        }
    }
}

fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(pairs: &[(&str, &'static str)], most: Option<Duration>) -> Result<Option<i64>, WishError> {
        let mut wish = Wish::default();
        for (name, value) in pairs {
            wish.note(name, value);
        }
        wish.due(1_000_000, most)
    }

    #[test]
    fn the_first_of_the_three_counts() {
        let all = [("TIMER_DELIVER_MS", "7000000"), ("TIMER_DELAY_MS", "20"), ("TIMER_DELAY_SEC", "3")];
        assert_eq!(wish(&all, None), Ok(Some(1_003_000)));
        assert_eq!(wish(&[("TIMER_DELIVER_MS", "7000000"), ("TIMER_DELAY_MS", "20")], None), Ok(Some(1_000_020)));
        assert_eq!(wish(&[("TIMER_DELIVER_MS", "7000000")], None), Ok(Some(7_000_000)));
        assert_eq!(wish(&[], None), Ok(None));
    }

    #[test]
    fn a_time_that_is_over_and_a_second_delivery_are_at_once() {
        assert_eq!(wish(&[("TIMER_DELIVER_MS", "1000000")], None), Ok(None));
        assert_eq!(wish(&[("TIMER_DELAY_MS", "-5")], None), Ok(None));
        assert_eq!(wish(&[("TIMER_DELAY_SEC", "5"), ("TIMER_OUT_MS", "1")], None), Ok(None));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let day = Some(Duration::from_secs(86_400));
        assert!(matches!(wish(&[("TIMER_DELAY_SEC", "86401")], day), Err(WishError::TooFar { .. })));
        assert_eq!(wish(&[("TIMER_DELAY_SEC", "86400")], day), Ok(Some(87_400_000)));
        for bad in ["", "x", "1.5", "9223372036854775807"] {
            assert!(matches!(wish(&[("TIMER_DELAY_SEC", bad)], None), Err(WishError::Number { .. })), "{bad}");
        }
        assert!(wish(&[("TIMER_DELIVER_MS", "4611686018427387904")], None).is_err());
    }
}

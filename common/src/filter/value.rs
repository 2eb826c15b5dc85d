//! What the parts of a condition amount to for one message, and how two such values compare: as in RocketMQ, whose properties
//! are all text, and read as the kind of the number that they are compared with.

use std::cmp::Ordering;
use std::fmt;

use crate::filter::syntax::clip;

/// A value for one message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    /// Unknown: the property is missing.
    Null,
    Truth(bool),
    /// A whole number that fits 32 bits; others are `Long`.
    Int(i32),
    Long(i64),
    Double(f64),
    Text(&'a str),
}

/// A condition that cannot be evaluated for a message: it compares things of different kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit<'a> {
    text: &'a str,
    wanted: &'static str,
}

impl fmt::Display for Unfit<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "'{}' is compared with {}", clip(self.text), self.wanted)
    }
}

impl<'a> Value<'a> {
    /// Order of two known values; `Less` where kinds do not fit, as in RocketMQ.
    ///
    /// # Errors
    /// A text does not read as the kind that the other side has.
    pub fn compare(self, other: Self) -> Result<Ordering, Unfit<'a>> {
        Ok(match (self, other) {
            (Self::Truth(left), Self::Truth(right)) => left.cmp(&right),
            (Self::Truth(_), Self::Text(text)) => {
                return Err(Unfit { text, wanted: "TRUE or FALSE on its left; put the property on the left" });
            }
            (Self::Text(text), Self::Truth(right)) => text.eq_ignore_ascii_case("true").cmp(&right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Int(left), Self::Int(right)) => left.cmp(&right),
            (Self::Int(left), Self::Long(right)) => i64::from(left).cmp(&right),
            (Self::Long(left), Self::Int(right)) => left.cmp(&i64::from(right)),
            (Self::Long(left), Self::Long(right)) => left.cmp(&right),
            (Self::Double(left), Self::Double(right)) => order(left, right),
            (Self::Double(left), Self::Int(right)) => order(left, f64::from(right)),
            (Self::Int(left), Self::Double(right)) => order(f64::from(left), right),
            (Self::Double(left), Self::Long(right)) => order(left, right as f64),
            (Self::Long(left), Self::Double(right)) => order(left as f64, right),
            (Self::Text(left), Self::Int(right)) => int(left)?.cmp(&right),
            (Self::Int(left), Self::Text(right)) => left.cmp(&int(right)?),
            (Self::Text(left), Self::Long(right)) => long(left)?.cmp(&right),
            (Self::Long(left), Self::Text(right)) => left.cmp(&long(right)?),
            (Self::Text(left), Self::Double(right)) => order(double(left)?, right),
            (Self::Double(left), Self::Text(right)) => order(left, double(right)?),
            (Self::Null | Self::Truth(_), _) | (_, Self::Null | Self::Truth(_)) => Ordering::Less,
        })
    }

    /// Like [`Self::compare`], for `<` and its like: two texts compare as numbers.
    ///
    /// # Errors
    /// A text does not read as a number of the kind that is wanted.
    pub fn rank(self, other: Self) -> Result<Ordering, Unfit<'a>> {
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => Ok(order(double(left)?, double(right)?)),
            _ => self.compare(other),
        }
    }
}

/// Java's total order: -0.0 before 0.0, NaN last.
fn order(left: f64, right: f64) -> Ordering {
    match (left.is_nan(), right.is_nan()) {
        (false, false) => left.total_cmp(&right),
        (left, right) => left.cmp(&right),
    }
}

fn int(text: &str) -> Result<i32, Unfit<'_>> {
    let wanted = "a whole number of 32 bits; write the number with a point, such as 5.0, to compare any numbers";
    text.parse().map_err(|_| Unfit { text, wanted })
}

fn long(text: &str) -> Result<i64, Unfit<'_>> {
    let wanted = "a whole number of 64 bits; write the number with a point, such as 5.0, to compare any numbers";
    text.parse().map_err(|_| Unfit { text, wanted })
}

/// A number as Java's `Double.valueOf` reads it, without hexadecimal ones.
fn double(text: &str) -> Result<f64, Unfit<'_>> {
    let trimmed = text.trim_matches(|c: char| c <= ' ');
    let unsigned = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    match unsigned {
        "NaN" => return Ok(f64::NAN),
        "Infinity" if trimmed.starts_with('-') => return Ok(f64::NEG_INFINITY),
        "Infinity" => return Ok(f64::INFINITY),
        _ => {}
    }
    let number = trimmed.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(trimmed);
    let plain = number.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let parsed = plain.then(|| number.parse().ok()).flatten();
    parsed.ok_or(Unfit { text, wanted: "a number" })
}

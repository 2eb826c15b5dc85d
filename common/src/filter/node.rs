//! A compiled condition and its evaluation, without allocation.

use std::cmp::Ordering;

use crate::filter::value::{Unfit, Value};
use crate::message::property;

/// One operator with what it works on.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Truth(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(Box<str>),
    Property(Box<str>),
    Negate(Box<Node>),
    /// A property where a condition is wanted: properties are text, hence never true.
    Cast(Box<Node>),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Equal(Box<(Node, Node)>),
    IsNull(Box<Node>),
    Order(Order, Box<(Node, Node)>),
    Within(Within),
    In(In),
}

/// An order that two values may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Where a text is looked for in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    Start,
    End,
}

/// `CONTAINS` and its like.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Within {
    pub whole: Box<Node>,
    pub place: Place,
    pub part: Box<str>,
    pub negated: bool,
}

/// `IN`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct In {
    pub property: Box<str>,
    /// In order.
    pub texts: Vec<Box<str>>,
    pub negated: bool,
}

impl Order {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
        }
    }
}

impl Node {
    /// Whether it is true, false or unknown for a message, and nothing else.
    pub fn is_condition(&self) -> bool {
        !matches!(
            self,
            Self::Int(_) | Self::Long(_) | Self::Double(_) | Self::Text(_) | Self::Property(_) | Self::Negate(_)
        )
    }

    /// Whether it is the same for every message.
    pub fn is_constant(&self) -> bool {
        matches!(self, Self::Null | Self::Truth(_) | Self::Int(_) | Self::Long(_) | Self::Double(_) | Self::Text(_))
    }

    /// Its value for a message with these properties, in the form that records carry.
    pub fn value<'a>(&'a self, properties: &'a str) -> Result<Value<'a>, Unfit<'a>> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Truth(truth) => Value::Truth(*truth),
            Self::Int(number) => Value::Int(*number),
            Self::Long(number) => Value::Long(*number),
            Self::Double(number) => Value::Double(*number),
            Self::Text(text) => Value::Text(text),
            Self::Property(name) => property::get(properties, name).map_or(Value::Null, Value::Text),
            Self::Negate(inner) => match inner.value(properties)? {
                Value::Int(number) => Value::Int(number.wrapping_neg()),
                Value::Long(number) => Value::Long(number.wrapping_neg()),
                Value::Double(number) => Value::Double(-number),
                _ => Value::Null,
            },
            _ => self.truth(properties)?.map_or(Value::Null, Value::Truth),
        })
    }

    /// Whether it holds; `None`: unknown.
    pub fn truth<'a>(&'a self, properties: &'a str) -> Result<Option<bool>, Unfit<'a>> {
        Ok(match self {
            Self::Cast(inner) => match inner.value(properties)? {
                Value::Null => None,
                _ => Some(false),
            },
            Self::Not(inner) => inner.truth(properties)?.map(|truth| !truth),
            Self::And(nodes) => fold(nodes, properties, false)?,
            Self::Or(nodes) => fold(nodes, properties, true)?,
            Self::Equal(sides) => equal(sides.0.value(properties)?, sides.1.value(properties)?)?,
            Self::IsNull(inner) => Some(inner.value(properties)? == Value::Null),
            Self::Order(order, sides) => ordered(*order, &sides.0, &sides.1, properties)?,
            Self::Within(within) => Some(within.holds(properties)?),
            Self::In(list) => list.holds(properties),
            _ => match self.value(properties)? {
                Value::Truth(truth) => Some(truth),
                _ => None,
            },
        })
    }
}

/// Whether one of the nodes is `decisive`. They are asked in order, and no more than needed.
fn fold<'a>(nodes: &'a [Node], properties: &'a str, decisive: bool) -> Result<Option<bool>, Unfit<'a>> {
    let mut result = Some(!decisive);
    for node in nodes {
        match node.truth(properties)? {
            Some(truth) if truth == decisive => return Ok(Some(decisive)),
            Some(_) => {}
            None => result = None,
        }
    }
    Ok(result)
}

fn ordered<'a>(order: Order, left: &'a Node, right: &'a Node, properties: &'a str) -> Result<Option<bool>, Unfit<'a>> {
    let left = left.value(properties)?;
    if left == Value::Null {
        return Ok(None);
    }
    let right = right.value(properties)?;
    if right == Value::Null {
        return Ok(None);
    }
    Ok(Some(order.holds(left.rank(right)?)))
}

/// RocketMQ's way with the unknown: it equals the unknown; on the left it makes the result unknown, on the right unequal.
fn equal<'a>(left: Value<'a>, right: Value<'a>) -> Result<Option<bool>, Unfit<'a>> {
    Ok(match (left, right) {
        (Value::Null, Value::Null) => Some(true),
        (Value::Null, _) => None,
        (_, Value::Null) => Some(false),
        _ => Some(left.compare(right)?.is_eq()),
    })
}

impl Within {
    fn holds<'a>(&'a self, properties: &'a str) -> Result<bool, Unfit<'a>> {
        let part = &*self.part;
        // RocketMQ finds the empty text nowhere, and says so to NOT CONTAINS as well.
        if part.is_empty() {
            return Ok(false);
        }
        let Value::Text(whole) = self.whole.value(properties)? else { return Ok(false) };
        let found = match self.place {
            Place::Anywhere => whole.contains(part),
            Place::Start => whole.starts_with(part),
            Place::End => whole.ends_with(part),
        };
        Ok(found != self.negated)
    }
}

impl In {
    fn holds(&self, properties: &str) -> Option<bool> {
        let value = property::get(properties, &self.property)?;
        let found = self.texts.binary_search_by(|text| (**text).cmp(value)).is_ok();
        Some(found != self.negated)
    }
}

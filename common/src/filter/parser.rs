//! The grammar of conditions: what binds how, and what may be compared with what. As in RocketMQ, `NOT` and signs bind most
//! tightly, then orders and `IN`, then `=` and `IS`, then `AND`, then `OR`.

use crate::filter::condition::MAX_LEN;
use crate::filter::node::{In, Node, Order, Place, Within};
use crate::filter::syntax::{SyntaxError, clip};
use crate::filter::token::{Mark, Token, Tokens, Word, unquote};

/// Parentheses and signs within one another.
const MAX_NESTED: usize = 100;
/// Operators that work on one another's results.
const MAX_HEIGHT: usize = 400;

const OPERAND: &str = "a property, a number, a text in single quotes, TRUE, FALSE, NULL, NOT or (";

/// A part of the condition.
struct Part {
    node: Node,
    /// Operators on the way to the deepest one.
    height: usize,
    /// Byte of the text at which it begins.
    at: usize,
}

struct Parser<'a> {
    text: &'a str,
    tokens: Tokens<'a>,
    token: Token<'a>,
    /// Bytes of the text at which the token begins and ends.
    at: usize,
    end: usize,
    nested: usize,
}

/// The condition that a text is.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    if text.len() > MAX_LEN {
        let complaint = format!("a condition may have {MAX_LEN} bytes, this one has {}", text.len());
        return Err(SyntaxError { at: 1, complaint });
    }
    let mut parser = Parser { text, tokens: Tokens::new(text), token: Token::End, at: 0, end: 0, nested: 0 };
    parser.advance()?;
    let part = parser.any()?;
    parser.close()?;
    Ok(parser.condition(part)?.node)
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Result<(), SyntaxError> {
        (self.token, self.at, self.end) = self.tokens.next()?;
        Ok(())
    }

    /// Takes the token if it is this one.
    fn took(&mut self, token: Token<'_>) -> Result<bool, SyntaxError> {
        let is = self.token == token;
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    fn take(&mut self, token: Token<'_>, expected: &str) -> Result<(), SyntaxError> {
        if self.took(token)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn error(&self, at: usize, complaint: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.text, at, complaint)
    }

    fn unexpected(&self, expected: &str) -> SyntaxError {
        let found = match self.text.get(self.at..self.end) {
            Some("") | None => "the end".to_owned(),
            Some(text) => format!("'{}'", clip(text)),
        };
        self.error(self.at, format!("expected {expected}, found {found}"))
    }

    /// Nothing may follow the condition but a comment.
    fn close(&self) -> Result<(), SyntaxError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if self.token == Token::End || rest.starts_with("--") {
            return Ok(());
        }
        let expected = match self.token {
            Token::Name(name) if name.eq_ignore_ascii_case("LIKE") => {
                "AND, OR, a comparison or the end (there is no LIKE, but CONTAINS, STARTSWITH and ENDSWITH)"
            }
            Token::Mark(Mark::Plus | Mark::Minus) => {
                "AND, OR, a comparison or the end (there is no arithmetic in a filter)"
            }
            _ => "AND, OR, a comparison or the end",
        };
        Err(self.unexpected(expected))
    }

    fn part(&self, node: Node, below: usize, at: usize) -> Result<Part, SyntaxError> {
        let height = below + 1;
        if height > MAX_HEIGHT {
            return Err(self.error(at, format!("more than {MAX_HEIGHT} operators work on one another's results")));
        }
        Ok(Part { node, height, at })
    }

    /// The part where only a condition will do.
    fn condition(&self, part: Part) -> Result<Part, SyntaxError> {
        if part.node.is_condition() {
            return Ok(part);
        }
        if matches!(part.node, Node::Property(_)) {
            return self.part(Node::Cast(Box::new(part.node)), part.height, part.at);
        }
        Err(self.error(part.at, "this is a value and no condition; compare it with something"))
    }

    fn any(&mut self) -> Result<Part, SyntaxError> {
        self.chain(Word::Or, Self::all, Node::Or)
    }

    fn all(&mut self) -> Result<Part, SyntaxError> {
        self.chain(Word::And, Self::equality, Node::And)
    }

    /// Conditions joined by one word.
    fn chain(
        &mut self,
        word: Word,
        next: fn(&mut Self) -> Result<Part, SyntaxError>,
        join: fn(Vec<Node>) -> Node,
    ) -> Result<Part, SyntaxError> {
        let first = next(self)?;
        if self.token != Token::Word(word) {
            return Ok(first);
        }
        let Part { node, mut height, at } = self.condition(first)?;
        let mut nodes = vec![node];
        while self.took(Token::Word(word))? {
            let part = next(self)?;
            let part = self.condition(part)?;
            height = height.max(part.height);
            nodes.push(part.node);
        }
        self.part(join(nodes), height, at)
    }

    fn equality(&mut self) -> Result<Part, SyntaxError> {
        let mut left = self.comparison()?;
        loop {
            let (height, at) = (left.height, left.at);
            left = match self.token {
                Token::Mark(mark @ (Mark::Equal | Mark::NotEqual)) => {
                    self.advance()?;
                    let right = self.comparison()?;
                    self.check_equal(&left, &right)?;
                    let height = height.max(right.height);
                    let equal = self.part(Node::Equal(Box::new((left.node, right.node))), height, at)?;
                    if mark == Mark::Equal { equal } else { self.negated(true, equal)? }
                }
                Token::Word(Word::Is) => {
                    self.advance()?;
                    let negated = self.took(Token::Word(Word::Not))?;
                    let expected = if negated { "NULL after IS NOT" } else { "NULL or NOT NULL after IS" };
                    self.take(Token::Word(Word::Null), expected)?;
                    let is_null = self.part(Node::IsNull(Box::new(left.node)), height, at)?;
                    self.negated(negated, is_null)?
                }
                _ => return Ok(left),
            };
        }
    }

    fn negated(&self, negated: bool, part: Part) -> Result<Part, SyntaxError> {
        if negated { self.part(Node::Not(Box::new(part.node)), part.height, part.at) } else { Ok(part) }
    }

    fn check_equal(&self, left: &Part, right: &Part) -> Result<(), SyntaxError> {
        if let Some(null) = [left, right].into_iter().find(|part| part.node == Node::Null) {
            return Err(self.error(null.at, "nothing equals NULL; write IS NULL or IS NOT NULL"));
        }
        if matches!(left.node, Node::Truth(_)) && right.node.is_constant() && !right.node.is_condition() {
            return Err(self.error(left.at, "TRUE and FALSE cannot be compared with a number or a text"));
        }
        Ok(())
    }

    fn comparison(&mut self) -> Result<Part, SyntaxError> {
        let mut left = self.unary()?;
        loop {
            left = match self.token {
                Token::Mark(Mark::Less) => self.order(left, Order::Less)?,
                Token::Mark(Mark::AtMost) => self.order(left, Order::AtMost)?,
                Token::Mark(Mark::Greater) => self.order(left, Order::Greater)?,
                Token::Mark(Mark::AtLeast) => self.order(left, Order::AtLeast)?,
                Token::Word(
                    Word::Not | Word::Between | Word::In | Word::Contains | Word::StartsWith | Word::EndsWith,
                ) => self.test(left)?,
                _ => return Ok(left),
            };
        }
    }

    fn order(&mut self, left: Part, order: Order) -> Result<Part, SyntaxError> {
        self.advance()?;
        let right = self.unary()?;
        self.check_order(&left)?;
        self.check_order(&right)?;
        self.part(Node::Order(order, Box::new((left.node, right.node))), left.height.max(right.height), left.at)
    }

    /// Only properties and numbers have an order.
    fn check_order(&self, part: &Part) -> Result<(), SyntaxError> {
        let complaint = match &part.node {
            Node::Text(_) => "a text can be compared with = and <> only: it has no order",
            Node::Null => "nothing is greater or less than NULL; write IS NULL or IS NOT NULL",
            node if node.is_condition() => "a condition can be compared with = and <> only: it has no order",
            _ => return Ok(()),
        };
        Err(self.error(part.at, complaint))
    }

    /// `BETWEEN`, `IN`, `CONTAINS` and their like, with `NOT` before them or without.
    fn test(&mut self, left: Part) -> Result<Part, SyntaxError> {
        let negated = self.took(Token::Word(Word::Not))?;
        let place = match self.token {
            Token::Word(Word::Between) => return self.between(left, negated),
            Token::Word(Word::In) => return self.list(left, negated),
            Token::Word(Word::Contains) => Place::Anywhere,
            Token::Word(Word::StartsWith) => Place::Start,
            Token::Word(Word::EndsWith) => Place::End,
            _ => return Err(self.unexpected("BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH after NOT")),
        };
        self.advance()?;
        let part = self.text()?;
        let within = Within { whole: Box::new(left.node), place, part, negated };
        self.part(Node::Within(within), left.height, left.at)
    }

    fn between(&mut self, value: Part, negated: bool) -> Result<Part, SyntaxError> {
        self.advance()?;
        let low = self.unary()?;
        self.take(Token::Word(Word::And), "AND between the two ends of BETWEEN")?;
        let high = self.unary()?;
        for part in [&value, &low, &high] {
            self.check_order(part)?;
        }
        let constant = low.node.is_constant() && high.node.is_constant();
        if let (false, true, Ok(low_value), Ok(high_value)) =
            (negated, constant, low.node.value(""), high.node.value(""))
            && high_value.compare(low_value).is_ok_and(std::cmp::Ordering::is_lt)
        {
            return Err(self.error(low.at, "the first end of BETWEEN is greater than the second: nothing lies between"));
        }
        let height = value.height.max(low.height).max(high.height) + 1;
        let side = |order, end| Node::Order(order, Box::new((value.node.clone(), end)));
        let node = if negated {
            Node::Or(vec![side(Order::Less, low.node), side(Order::Greater, high.node)])
        } else {
            Node::And(vec![side(Order::AtLeast, low.node), side(Order::AtMost, high.node)])
        };
        self.part(node, height, value.at)
    }

    fn list(&mut self, left: Part, negated: bool) -> Result<Part, SyntaxError> {
        let Node::Property(property) = left.node else {
            return Err(self.error(left.at, "IN wants a property before it (and NOT stands right before IN)"));
        };
        self.advance()?;
        self.take(Token::Mark(Mark::Open), "( after IN")?;
        let mut texts = vec![self.text()?];
        while self.took(Token::Mark(Mark::Comma))? {
            texts.push(self.text()?);
        }
        self.take(Token::Mark(Mark::Close), ", or ) in the list after IN")?;
        texts.sort_unstable();
        self.part(Node::In(In { property, texts, negated }), left.height, left.at)
    }

    fn text(&mut self) -> Result<Box<str>, SyntaxError> {
        let Token::Text(inner) = self.token else { return Err(self.unexpected("a text in single quotes")) };
        self.advance()?;
        Ok(unquote(inner))
    }

    fn unary(&mut self) -> Result<Part, SyntaxError> {
        let at = self.at;
        match self.token {
            Token::Mark(Mark::Plus) => self.nested(Self::unary),
            Token::Mark(Mark::Minus) => {
                let inner = self.nested(Self::unary)?;
                self.part(Node::Negate(Box::new(inner.node)), inner.height, at)
            }
            Token::Word(Word::Not) => {
                let inner = self.nested(Self::unary)?;
                let inner = self.condition(inner)?;
                self.part(Node::Not(Box::new(inner.node)), inner.height, at)
            }
            Token::Mark(Mark::Open) => {
                let inner = self.nested(Self::any)?;
                self.take(Token::Mark(Mark::Close), "AND, OR, a comparison or )")?;
                Ok(Part { at, ..inner })
            }
            _ => self.leaf(),
        }
    }

    /// Takes the token and goes one step deeper.
    fn nested(&mut self, inner: fn(&mut Self) -> Result<Part, SyntaxError>) -> Result<Part, SyntaxError> {
        self.nested += 1;
        if self.nested > MAX_NESTED {
            return Err(self.error(self.at, format!("more than {MAX_NESTED} parentheses and signs within one another")));
        }
        self.advance()?;
        let part = inner(self)?;
        self.nested -= 1;
        Ok(part)
    }

    fn leaf(&mut self) -> Result<Part, SyntaxError> {
        let node = match self.token {
            Token::Text(inner) => Node::Text(unquote(inner)),
            Token::Name(name) => Node::Property(name.into()),
            Token::Word(Word::True) => Node::Truth(true),
            Token::Word(Word::False) => Node::Truth(false),
            Token::Word(Word::Null) => Node::Null,
            Token::Whole(digits) => self.whole(digits)?,
            Token::Fraction(number) => self.fraction(number)?,
            _ => return Err(self.unexpected(OPERAND)),
        };
        let at = self.at;
        self.advance()?;
        self.part(node, 0, at)
    }

    fn whole(&self, digits: &str) -> Result<Node, SyntaxError> {
        let number: i64 = digits
            .parse()
            .map_err(|_| self.error(self.at, format!("'{}' is beyond 64 bits; write it with a point", clip(digits))))?;
        Ok(i32::try_from(number).map_or(Node::Long(number), Node::Int))
    }

    fn fraction(&self, number: &str) -> Result<Node, SyntaxError> {
        let is_zero =
            number.split(['e', 'E']).next().is_some_and(|mantissa| !mantissa.contains(|c| matches!(c, '1'..='9')));
        match number.parse::<f64>() {
            Ok(value) if value.is_finite() && (value != 0.0 || is_zero) => Ok(Node::Double(value)),
            _ => Err(self.error(self.at, format!("'{}' is too large or too small for a number", clip(number)))),
        }
    }
}

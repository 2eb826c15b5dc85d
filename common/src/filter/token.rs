//! The words of a condition's text.

use crate::filter::syntax::SyntaxError;

/// A word that is no name, whatever the case of its letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
}

const WORDS: [(&str, Word); 12] = [
    ("NOT", Word::Not),
    ("AND", Word::And),
    ("OR", Word::Or),
    ("BETWEEN", Word::Between),
    ("IN", Word::In),
    ("TRUE", Word::True),
    ("FALSE", Word::False),
    ("NULL", Word::Null),
    ("IS", Word::Is),
    ("CONTAINS", Word::Contains),
    ("STARTSWITH", Word::StartsWith),
    ("ENDSWITH", Word::EndsWith),
];

/// A mark. Longer ones come before those that begin them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    NotEqual,
    AtMost,
    AtLeast,
    Equal,
    Less,
    Greater,
    Open,
    Close,
    Comma,
    Plus,
    Minus,
}

const MARKS: [(&str, Mark); 11] = [
    ("<>", Mark::NotEqual),
    ("<=", Mark::AtMost),
    (">=", Mark::AtLeast),
    ("=", Mark::Equal),
    ("<", Mark::Less),
    (">", Mark::Greater),
    ("(", Mark::Open),
    (")", Mark::Close),
    (",", Mark::Comma),
    ("+", Mark::Plus),
    ("-", Mark::Minus),
];

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(Word),
    Mark(Mark),
    /// A property's name.
    Name(&'a str),
    /// A number without point and exponent; its `L` is left out.
    Whole(&'a str),
    /// A number with one of them.
    Fraction(&'a str),
    /// What stands between single quotes, inner quotes still doubled.
    Text(&'a str),
    End,
}

/// Cuts a text into tokens.
pub(super) struct Tokens<'a> {
    text: &'a str,
    /// Byte of the text at which the next token is looked for.
    at: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, complaint: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.text, self.at, complaint)
    }

    /// The next token, and the bytes of the text at which it begins and ends.
    pub fn next(&mut self) -> Result<(Token<'a>, usize, usize), SyntaxError> {
        self.skip()?;
        let (from, rest) = (self.at, self.rest());
        let Some(first) = rest.chars().next() else { return Ok((Token::End, from, from)) };
        let (token, len) = if first == '\'' {
            self.quoted(rest)?
        } else if is_name_start(first) {
            word_or_name(rest)
        } else if let Some(found) = number(rest) {
            found
        } else if let Some((text, mark)) = MARKS.iter().find(|(text, _)| rest.starts_with(text)) {
            (Token::Mark(*mark), text.len())
        } else {
            return Err(self.error(complain_of(first)));
        };
        self.at += len;
        Ok((token, from, self.at))
    }

    /// Goes beyond blanks and comments. A line comment is one only where its line ends, else two minus signs: so it is in the reference.
    fn skip(&mut self) -> Result<(), SyntaxError> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
            self.at += rest.len() - trimmed.len();
            if let Some(comment) = trimmed.strip_prefix("/*") {
                let len = comment.find("*/").ok_or_else(|| self.error("a comment begins here that has no end: */"))?;
                self.at += len + 4;
            } else if let Some(len) = trimmed.starts_with("--").then(|| trimmed.find(['\n', '\r'])).flatten() {
                self.at += len + 1;
            } else {
                return Ok(());
            }
        }
    }

    fn quoted(&self, rest: &'a str) -> Result<(Token<'a>, usize), SyntaxError> {
        let mut from = 1;
        while let Some(len) = rest.get(from..).and_then(|rest| rest.find('\'')) {
            let end = from + len;
            if !rest.get(end + 1..).is_some_and(|behind| behind.starts_with('\'')) {
                return Ok((Token::Text(rest.get(1..end).unwrap_or_default()), end + 1));
            }
            from = end + 2;
        }
        Err(self.error("a text begins here that has no closing quote; a quote within a text is written twice"))
    }
}

/// The text that a literal stands for.
pub(super) fn unquote(inner: &str) -> Box<str> {
    inner.replace("''", "'").into()
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '$')
}

fn word_or_name(rest: &str) -> (Token<'_>, usize) {
    let len = rest.find(|c: char| !is_name_start(c) && !c.is_ascii_digit()).unwrap_or(rest.len());
    let name = rest.get(..len).unwrap_or(rest);
    let word = WORDS.iter().find(|(text, _)| text.eq_ignore_ascii_case(name));
    (word.map_or(Token::Name(name), |(_, word)| Token::Word(*word)), len)
}

/// Length of the digits at the start.
fn digits(text: &str) -> usize {
    text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len()
}

/// Length of an exponent at the start, 0 if there is none.
fn exponent(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return 0 };
    let signed = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    match digits(signed) {
        0 => 0,
        len => text.len() - signed.len() + len,
    }
}

fn number(rest: &str) -> Option<(Token<'_>, usize)> {
    let whole = digits(rest);
    let behind = rest.get(whole..)?;
    let fraction = behind.strip_prefix('.').map(digits);
    let mut len = match fraction {
        Some(places) if whole + places > 0 => whole + 1 + places,
        _ if whole > 0 => whole,
        _ => return None,
    };
    let power = exponent(rest.get(len..)?);
    if fraction.is_some() || power > 0 {
        len += power;
        return Some((Token::Fraction(rest.get(..len)?), len));
    }
    // RocketMQ ends a whole number that begins with 0 right there.
    let len = if rest.starts_with('0') { 1 } else { whole };
    let is_long = len == whole && !rest.starts_with('0') && behind.starts_with(['l', 'L']);
    Some((Token::Whole(rest.get(..len)?), len + usize::from(is_long)))
}

fn complain_of(c: char) -> String {
    let hint = match c {
        '"' => "put a text in single quotes",
        '!' => "'not equal' is written <>, 'not' NOT",
        '&' => "'and' is written AND",
        '|' => "'or' is written OR",
        '*' | '/' | '%' => "there is no arithmetic in a filter",
        ';' => "a filter is one condition, without an end mark",
        _ => "names have letters a to z, digits, _ and $",
    };
    let shown = if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    format!("'{shown}' is no part of a condition; {hint}")
}

//! Bodies as RocketMQ's JSON library writes them: names without quotes, objects as map keys, single quotes.

use serde::de::DeserializeOwned;

use crate::protocol::fields::brief;

/// Nesting beyond this is refused; real bodies nest five deep.
const MAX_DEPTH: usize = 64;

/// A body is not what its request kind needs. The text names the place and the cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the body does not parse: {}", brief(.0, 200))]
pub struct BodyError(pub String);

/// Parses a body, strictly at first; if that fails, with the liberties that RocketMQ's clients take. An object used as a
/// map key is handed on as a text that holds its strict JSON.
///
/// # Errors
/// The text is no JSON even so, or lacks what `T` needs.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    match serde_json::from_slice(body) {
        Ok(value) => Ok(value),
        Err(strict) if strict.is_data() => Err(BodyError(strict.to_string())),
        Err(strict) => {
            let text = to_strict(body).map_err(|_| BodyError(strict.to_string()))?;
            serde_json::from_slice(&text).map_err(|error| BodyError(error.to_string()))
        }
    }
}

/// Rewrites tolerant JSON as strict JSON.
///
/// # Errors
/// The position and kind of the first thing that cannot be understood.
pub fn to_strict(body: &[u8]) -> Result<Vec<u8>, BodyError> {
    let mut rewriter = Rewriter { input: body, at: 0, in_key: false };
    let mut out = Vec::with_capacity(body.len() + body.len() / 4);
    rewriter.value(&mut out, 0)?;
    rewriter.blanks();
    if rewriter.at < body.len() { Err(rewriter.unexpected("more text after the end")) } else { Ok(out) }
}

struct Rewriter<'a> {
    input: &'a [u8],
    at: usize,
    /// Within an object that is a key; keys in keys would double in length with each level of quoting.
    in_key: bool,
}

impl Rewriter<'_> {
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn unexpected(&self, what: &str) -> BodyError {
        BodyError(format!("{what} at byte {}", self.at))
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), BodyError> {
        if depth > MAX_DEPTH {
            return Err(self.unexpected("nesting too deep"));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.members(out, b'}', depth),
            Some(b'[') => self.members(out, b']', depth),
            Some(quote @ (b'"' | b'\'')) => self.text(out, quote),
            Some(_) => {
                let word = self.word()?;
                let is_number = serde_json::from_slice::<serde_json::Number>(word).is_ok();
                if is_number || matches!(word, b"true" | b"false" | b"null") {
                    out.extend_from_slice(word);
                } else {
                    quoted(word, out);
                }
                Ok(())
            }
            None => Err(self.unexpected("the text ends")),
        }
    }

    /// The members of an object or the elements of an array, brackets included.
    fn members(&mut self, out: &mut Vec<u8>, close: u8, depth: usize) -> Result<(), BodyError> {
        out.push(if close == b'}' { b'{' } else { b'[' });
        self.at += 1;
        let mut first = true;
        loop {
            self.blanks();
            match self.peek() {
                Some(b) if b == close => {
                    self.at += 1;
                    out.push(close);
                    return Ok(());
                }
                Some(b',') => self.at += 1,
                Some(_) => {
                    if !std::mem::take(&mut first) {
                        out.push(b',');
                    }
                    if close == b'}' {
                        self.name(out, depth)?;
                    }
                    self.value(out, depth + 1)?;
                }
                None => return Err(self.unexpected("the text ends inside an object or array")),
            }
        }
    }

    fn name(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), BodyError> {
        match self.peek() {
            Some(b'{' | b'[') if self.in_key => return Err(self.unexpected("an object as key within a key")),
            Some(b'{' | b'[') => {
                let mut key = Vec::new();
                self.in_key = true;
                self.value(&mut key, depth + 1)?;
                self.in_key = false;
                quoted(&key, out);
            }
            Some(quote @ (b'"' | b'\'')) => self.text(out, quote)?,
            _ => quoted(self.word()?, out),
        }
        self.blanks();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("no ':' after a name"));
        }
        self.at += 1;
        out.push(b':');
        Ok(())
    }

    fn text(&mut self, out: &mut Vec<u8>, quote: u8) -> Result<(), BodyError> {
        self.at += 1;
        out.push(b'"');
        loop {
            let byte = self.peek().ok_or_else(|| self.unexpected("the text ends inside quotes"))?;
            self.at += 1;
            match byte {
                b'\\' => {
                    let escaped = self.peek().ok_or_else(|| self.unexpected("the text ends inside quotes"))?;
                    self.at += 1;
                    if escaped == b'\'' {
                        out.push(b'\'');
                    } else {
                        out.extend_from_slice(&[b'\\', escaped]);
                    }
                }
                _ if byte == quote => {
                    out.push(b'"');
                    return Ok(());
                }
                b'"' => out.extend_from_slice(b"\\\""),
                _ => out.push(byte),
            }
        }
    }

    fn word(&mut self) -> Result<&[u8], BodyError> {
        let start = self.at;
        while self.peek().is_some_and(|b| !b.is_ascii_whitespace() && !b"{}[],:\"'".contains(&b)) {
            self.at += 1;
        }
        match self.input.get(start..self.at) {
            Some(word) if !word.is_empty() => Ok(word),
            _ => Err(self.unexpected("an unexpected character")),
        }
    }
}

fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

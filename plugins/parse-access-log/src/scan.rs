//! Goes through a line from left to right and, where it cannot go on, says at which column and what it expected there.

use std::borrow::Cow;
use std::fmt;

use millstream_sdk::prelude::*;

/// What is left of a line.
#[derive(Debug, Clone)]
pub(crate) struct Scan<'a> {
    line: &'a str,
    rest: &'a str,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        Self { line, rest: line }
    }

    /// Whether all has been taken.
    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The error of a line that should go on with something else.
    #[cold]
    pub(crate) fn expected<T>(&self, what: impl fmt::Display) -> Result<T> {
        let taken = self.line.len() - self.rest.len();
        let column = self.line.get(..taken).unwrap_or_default().chars().count() + 1;
        if self.rest.is_empty() {
            reject!("truncated-line", "the line ends at column {column}, where {what} is expected");
        }
        let found: String = self.rest.chars().take(20).collect();
        reject!("malformed-line", "column {column}: expected {what}, found `{found}`")
    }

    /// Takes `text`, which has to come next.
    pub(crate) fn take(&mut self, text: &str, what: impl fmt::Display) -> Result<()> {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => self.expected(what),
        }
    }

    /// Takes what stands before the letter `end`, at least one letter, and `end` itself.
    pub(crate) fn take_until(&mut self, end: u8, what: &str) -> Result<&'a str> {
        self.take_until_where(end, |_| true, what)
    }

    /// Takes what stands before the first `end` after which the rest of the line `fits`, and `end` itself.
    pub(crate) fn take_until_where(&mut self, end: u8, fits: impl Fn(&str) -> bool, what: &str) -> Result<&'a str> {
        let split = |place: usize| Some((self.rest.get(..place)?, self.rest.get(place + 1..)?));
        let places = self.rest.bytes().enumerate().filter(|(_, byte)| *byte == end);
        let found = places.filter_map(|(place, _)| split(place)).find(|(_, rest)| fits(rest));
        match found {
            Some((text, rest)) if !text.is_empty() => {
                self.rest = rest;
                Ok(text)
            }
            Some(_) => self.expected(what),
            None => {
                self.rest = "";
                self.expected(format_args!("the end of {what}"))
            }
        }
    }

    /// Takes the letters for which `fits` holds, at least one.
    pub(crate) fn take_while(&mut self, what: &str, fits: impl Fn(u8) -> bool) -> Result<&'a str> {
        let size = self.rest.bytes().take_while(|byte| byte.is_ascii() && fits(*byte)).count();
        match self.rest.split_at_checked(size) {
            Some((text, rest)) if size > 0 => {
                self.rest = rest;
                Ok(text)
            }
            _ => self.expected(what),
        }
    }

    /// Takes a decimal number of exactly that many digits, at most nine.
    pub(crate) fn take_digits(&mut self, digits: usize, what: &str) -> Result<u32> {
        let text = self.rest.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        match text.and_then(|text| text.parse().ok()) {
            Some(number) => {
                self.rest = self.rest.get(digits..).unwrap_or_default();
                Ok(number)
            }
            None => self.expected(what),
        }
    }

    /// Takes a text in quotes, its escapes resolved: `\"`, `\\`, `\n`, `\t` and the like, and `\xhh` for a byte.
    pub(crate) fn take_quoted(&mut self, what: &str) -> Result<Cow<'a, str>> {
        self.take("\"", format_args!("`\"` before {what}"))?;
        let mut escaped = false;
        let mut bytes = self.rest.bytes().enumerate();
        loop {
            match bytes.next() {
                None => {
                    self.rest = "";
                    return self.expected(format_args!("`\"` after {what}"));
                }
                Some((end, b'"')) => {
                    let text = self.rest.get(..end).unwrap_or_default();
                    self.rest = self.rest.get(end + 1..).unwrap_or_default();
                    return Ok(if escaped { unescape(text).into() } else { text.into() });
                }
                Some((_, b'\\')) => {
                    escaped = true;
                    bytes.next();
                }
                Some(_) => {}
            }
        }
    }
}

/// Resolves escapes. What is none stays as it is: a log is read as far as it makes sense.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, later)) = rest.split_first() {
        rest = later;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (letter, taken) = match rest {
            [b'x', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'\\', 0),
            },
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [b'b', ..] => (0x08, 1),
            [b'f', ..] => (0x0c, 1),
            [b'v', ..] => (0x0b, 1),
            [quoted @ (b'"' | b'\\'), ..] => (*quoted, 1),
            _ => (b'\\', 0),
        };
        bytes.push(letter);
        rest = rest.get(taken..).unwrap_or_default();
    }
    // The server writes bytes that are no text as `\xhh`; they need not be UTF-8.
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved() {
        let quoted =
            |line: &str| Scan::new(line).take_quoted("text").map(Cow::into_owned).map_err(|e| e.code().to_owned());
        assert_eq!(quoted(r#""plain" x"#), Ok("plain".to_owned()));
        assert_eq!(quoted(r#""a\"b\\" x"#), Ok("a\"b\\".to_owned()));
        assert_eq!(quoted(r#""\x16\xc3\xa4\t\q\xz1""#), Ok("\u{16}ä\t\\q\\xz1".to_owned()));
        assert_eq!(quoted(r#""\xff""#), Ok("\u{fffd}".to_owned()));
        assert_eq!(quoted(r#""open\""#), Err("truncated-line".to_owned()));
        assert_eq!(quoted("bare"), Err("malformed-line".to_owned()));
    }
}

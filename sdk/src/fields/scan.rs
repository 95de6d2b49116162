//! Goes through a JSON text once: checks all of it, and notes where the wanted fields are.
//!
//! Nothing is built, and the plain parts of strings, which are most of a row, are passed eight bytes at a time.

use super::Node;
use crate::error::{Error, Result};

/// How deep objects and lists may nest: going through them recurses, and the guest's stack is small.
const DEPTH_MAX: usize = 128;

/// Where the fields of a row are noted.
type Found<'f, 'a> = &'f mut [Option<&'a str>];

/// A text and how far it has been gone through.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// A string: its text between the quotes, and whether there are escapes in it.
struct Quoted<'a> {
    text: &'a str,
    escaped: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Goes through the whole text and notes the fields of `root`; says whether it is an object.
    pub(super) fn whole(&mut self, root: &Node, found: Found<'_, 'a>) -> Result<bool> {
        self.space();
        let is_object = self.peek() == b'{';
        self.value(Some(root), found, 0)?;
        self.space();
        if self.at < self.text.len() {
            return self.expected("the end");
        }
        Ok(is_object)
    }

    /// The next byte; 0, which no JSON has outside of strings, at the end.
    #[inline]
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// Takes the byte if it comes next.
    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let comes = self.peek() == byte;
        self.at += usize::from(comes);
        comes
    }

    #[cold]
    fn expected<T>(&self, what: &str) -> Result<T> {
        Err(match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            None => Error::new("invalid-json", format_args!("the text ends where {what} is expected")),
            Some(found) => {
                Error::new("invalid-json", format_args!("byte {}: expected {what}, found `{found}`", self.at))
            }
        })
    }

    /// Goes through a value and, if it is an object, notes the fields of `node`.
    fn value(&mut self, node: Option<&Node>, found: Found<'_, 'a>, depth: usize) -> Result<()> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'{' | b'[' if depth == DEPTH_MAX => {
                let reason = format_args!("byte {}: nested deeper than {DEPTH_MAX} levels", self.at);
                Err(Error::new("invalid-json", reason))
            }
            b'{' => self.object(node, found, depth + 1),
            b'[' => self.list(found, depth + 1),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    fn object(&mut self, node: Option<&Node>, found: Found<'_, 'a>, depth: usize) -> Result<()> {
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != b'"' {
                return self.expected("a name in quotes");
            }
            let name = self.string()?;
            let child = match node {
                Some(node) if !node.children.is_empty() => node.child(&name)?,
                _ => None,
            };
            self.space();
            if !self.take(b':') {
                return self.expected("`:`");
            }
            self.space();
            let start = self.at;
            if let Some(child) = child {
                child.forget(found);
            }
            self.value(child, found, depth)?;
            if let Some(slot) = child.and_then(|child| child.place).and_then(|place| found.get_mut(place)) {
                *slot = self.text.get(start..self.at);
            }
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.expected("`,` or `}`");
            }
            self.space();
        }
    }

    fn list(&mut self, found: Found<'_, 'a>, depth: usize) -> Result<()> {
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(None, found, depth)?;
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.expected("`,` or `]`");
            }
            self.space();
        }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        match self.text.get(self.at..self.at + word.len()) {
            Some(next) if next == word => {
                self.at += word.len();
                Ok(())
            }
            _ => self.expected("a value"),
        }
    }

    fn number(&mut self) -> Result<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits("a value")?;
        }
        if self.take(b'.') {
            self.digits("a digit")?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'-') || self.take(b'+');
            self.digits("a digit")?;
        }
        Ok(())
    }

    /// Takes digits, at least one.
    fn digits(&mut self, what: &str) -> Result<()> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { self.expected(what) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Quoted<'a>> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.plain();
            match self.peek() {
                b'"' => {
                    let text = self.text.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(Quoted { text, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                // The end, or a control character, which has to be escaped.
                _ => return self.expected("a letter or `\"`"),
            }
        }
    }

    /// Passes over bytes that mean themselves, up to a quote, a backslash, a control character or the end.
    #[inline]
    fn plain(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let (eights, tail) = rest.as_chunks::<8>();
        for eight in eights {
            let special = specials(u64::from_le_bytes(*eight));
            if special != 0 {
                self.at += (special.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        self.at += tail.iter().take_while(|&&byte| byte >= b' ' && byte != b'"' && byte != b'\\').count();
    }

    /// Takes what follows a backslash.
    fn escape(&mut self) -> Result<()> {
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_ascii_hexdigit() {
                        return self.expected("a hexadecimal digit");
                    }
                    self.at += 1;
                }
            }
            _ => return self.expected("an escape such as `\\n`"),
        }
        Ok(())
    }
}

impl Node {
    /// The field of that name.
    fn child(&self, name: &Quoted<'_>) -> Result<Option<&Self>> {
        if !name.escaped {
            return Ok(self.children.iter().find(|child| child.name == name.text));
        }
        let quoted = format!("\"{}\"", name.text);
        let name: String = serde_json::from_str(&quoted).map_err(|error| Error::new("invalid-json", error))?;
        Ok(self.children.iter().find(|child| child.name == name))
    }
}

/// The high bit of each byte that is a quote, a backslash or below a space.
///
/// Where a byte is flagged, bytes behind it may be flagged wrongly, because a subtraction borrows from them; the first
/// flag in the text, which is the lowest one, is right.
#[inline]
fn specials(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH_BITS: u64 = ONES << 7;
    let zeros = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let quotes = zeros(eight ^ (ONES * b'"' as u64));
    let backslashes = zeros(eight ^ (ONES * b'\\' as u64));
    let controls = eight.wrapping_sub(ONES * b' ' as u64) & !eight;
    (quotes | backslashes | controls) & HIGH_BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IgnoredAny;

    fn accepts(text: &str) -> bool {
        Scan::new(text).whole(&Node::default(), &mut []).is_ok()
    }

    #[test]
    fn it_accepts_what_serde_json_accepts() {
        let samples = [
            r#"{"a":[1,-2.5e+3,0,"x\"y\\z\u00e4ü",true,false,null,{}],"b c":{"d":[]," ":"long enough for two words"}}"#,
            " [ 1 , { \"a\" : \"b\" } ]\t\r\n",
            r#""text with \n and \/ and \ud83d\ude00""#,
            "-0.0E-1",
        ];
        let pool = br#"{}[],:"\ue0123456789+-.tfnax "#;
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let (mut accepted, mut refused) = (0, 0);
        for step in 0..200_000 {
            let mut text = samples[step % samples.len()].as_bytes().to_vec();
            for _ in 0..=step % 3 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let place = random as usize % text.len();
                let byte = pool[(random >> 32) as usize % pool.len()];
                match (random >> 24) % 3 {
                    0 => text[place] = byte,
                    1 => text.insert(place, byte),
                    _ => drop(text.remove(place)),
                }
            }
            // Lone surrogates pass: only those who read the string have to know. So they do in serde_json's `IgnoredAny`.
            let Ok(text) = String::from_utf8(text) else { continue };
            let expected = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            assert_eq!(accepts(&text), expected, "{text}");
            if expected { accepted += 1 } else { refused += 1 }
        }
        assert!(accepted > 10_000 && refused > 10_000, "{accepted} accepted, {refused} refused");
    }

    #[test]
    fn control_characters_are_found_at_every_place() {
        for place in 0..20 {
            for byte in (0..b' ').chain([b'\\']) {
                let mut text = "\"äbcdefghijklmnopqrstuvwxyz\"".to_owned();
                text.insert(3 + place, char::from(byte));
                text.insert(4 + place, '!');
                assert!(!accepts(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(accepts(&nested(DEPTH_MAX)));
        assert!(!accepts(&nested(DEPTH_MAX + 1)));
        assert!(!accepts(&"[".repeat(1_000_000)));
    }

    #[test]
    fn errors_name_the_place() {
        let reason = |text| Scan::new(text).whole(&Node::default(), &mut []).map_err(|error| error.reason().to_owned());
        assert_eq!(reason(r#"{"a" 1}"#), Err("byte 5: expected `:`, found `1`".to_owned()));
        assert_eq!(reason("[1 ü]"), Err("byte 3: expected `,` or `]`, found `ü`".to_owned()));
        assert_eq!(reason(r#"{"a":"#), Err("the text ends where a value is expected".to_owned()));
    }
}

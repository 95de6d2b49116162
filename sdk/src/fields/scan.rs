//! Goes through a JSON text once: checks all of it, and notes where the wanted fields are.
//!
//! Nothing is built, and the plain parts of strings, which are most of a row, are passed eight bytes at a time. It is one
//! loop without recursion, and the helpers are inlined into it, so that the place in the text stays in a register: this is
//! where plugins that look at JSON spend their time.

use super::Node;
use crate::error::{Error, Result};

/// How deep objects and lists may nest: one bit for each level says which of the two it is.
const DEPTH_MAX: u32 = u128::BITS;

/// Where a text cannot go on, and what is expected there.
struct Bad {
    at: usize,
    expected: &'static str,
}

/// An object or list that belongs to a wanted field, and is not yet closed.
struct Open<'n> {
    /// How many levels are open with it.
    depth: u32,
    node: &'n Node,
    start: usize,
}

/// Goes through the whole text and notes the fields of `root`; says whether it is an object.
pub(super) fn scan<'a>(text: &'a str, root: &Node, found: &mut [Option<&'a str>]) -> Result<bool> {
    scan_text(text, root, found).map_err(|bad| {
        let reason = match text.get(bad.at..).and_then(|rest| rest.chars().next()) {
            None => format!("the text ends where {} is expected", bad.expected),
            Some(found) => format!("byte {}: expected {}, found `{found}`", bad.at, bad.expected),
        };
        Error::new("invalid-json", reason)
    })
}

fn scan_text<'a>(text: &'a str, root: &Node, found: &mut [Option<&'a str>]) -> Result<bool, Bad> {
    let bytes = text.as_bytes();
    let mut at = space(bytes, 0);
    let is_object = peek(bytes, at) == b'{';
    let mut depth = 0_u32;
    // The level at `depth` is the lowest bit: set for a list.
    let mut lists = 0_u128;
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut start = at;
    // The wanted field whose value comes next.
    let mut wanted = Some(root);
    loop {
        match peek(bytes, at) {
            b'"' => at = string(bytes, at)?.0,
            opening @ (b'{' | b'[') => {
                if depth == DEPTH_MAX {
                    return Err(Bad { at, expected: "a value nested no deeper than 128 levels" });
                }
                depth += 1;
                lists = lists << 1 | u128::from(opening == b'[');
                if let Some(node) = wanted {
                    open.push(Open { depth, node, start });
                }
                at = space(bytes, at + 1);
                // Plus two is the closing one: `[` and `]`, `{` and `}`.
                if peek(bytes, at) != opening + 2 {
                    wanted = None;
                    if opening == b'{' {
                        (at, wanted) = name(text, at, wanted_at(&open, depth), found)?;
                    }
                    start = at;
                    continue;
                }
                wanted = None;
            }
            b't' => at = word(bytes, at, b"true")?,
            b'f' => at = word(bytes, at, b"false")?,
            b'n' => at = word(bytes, at, b"null")?,
            _ => at = number(bytes, at)?,
        }
        if let Some(node) = wanted {
            node.note(text, start, at, found);
        }
        // A value has ended: so may the objects and lists around it.
        loop {
            at = space(bytes, at);
            if depth == 0 {
                return if at == bytes.len() { Ok(is_object) } else { Err(Bad { at, expected: "the end" }) };
            }
            let is_list = lists & 1 == 1;
            match peek(bytes, at) {
                b',' => break,
                b']' if is_list => {}
                b'}' if !is_list => {}
                _ => return Err(Bad { at, expected: if is_list { "`,` or `]`" } else { "`,` or `}`" } }),
            }
            at += 1;
            if let Some(closed) = open.pop_if(|open| open.depth == depth) {
                closed.node.note(text, closed.start, at, found);
            }
            depth -= 1;
            lists >>= 1;
        }
        at = space(bytes, at + 1);
        wanted = None;
        if lists & 1 == 0 {
            (at, wanted) = name(text, at, wanted_at(&open, depth), found)?;
        }
        start = at;
    }
}

/// The field whose object is the one at that depth, if fields within it are wanted.
#[inline(always)]
fn wanted_at<'n>(open: &[Open<'n>], depth: u32) -> Option<&'n Node> {
    open.last().filter(|open| open.depth == depth).map(|open| open.node)
}

/// Takes the name of a field of `object`, and all up to its value; says which field it is, if it is a wanted one.
#[inline(always)]
fn name<'n>(
    text: &str,
    at: usize,
    object: Option<&'n Node>,
    found: &mut [Option<&str>],
) -> Result<(usize, Option<&'n Node>), Bad> {
    let bytes = text.as_bytes();
    if peek(bytes, at) != b'"' {
        return Err(Bad { at, expected: "a name in quotes" });
    }
    let (end, escaped) = string(bytes, at)?;
    let field = match object {
        Some(object) => object.child(text.get(at..end).unwrap_or_default(), escaped),
        None => None,
    };
    if let Some(field) = field {
        field.forget(found);
    }
    let colon = space(bytes, end);
    if peek(bytes, colon) != b':' {
        return Err(Bad { at: colon, expected: "`:`" });
    }
    Ok((space(bytes, colon + 1), field))
}

/// The byte at that place; 0, which no JSON has outside of strings, at the end.
#[inline(always)]
fn peek(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

#[inline(always)]
fn space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(peek(bytes, at), b' ' | b'\n' | b'\t' | b'\r') {
        at += 1;
    }
    at
}

#[inline(always)]
fn word(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, Bad> {
    let end = at + word.len();
    if bytes.get(at..end) == Some(word) { Ok(end) } else { Err(Bad { at, expected: "a value" }) }
}

#[inline(always)]
fn number(bytes: &[u8], mut at: usize) -> Result<usize, Bad> {
    at += usize::from(peek(bytes, at) == b'-');
    if peek(bytes, at) == b'0' {
        at += 1;
    } else {
        at = digits(bytes, at, "a value")?;
    }
    if peek(bytes, at) == b'.' {
        at = digits(bytes, at + 1, "a digit")?;
    }
    if matches!(peek(bytes, at), b'e' | b'E') {
        at += 1;
        at += usize::from(matches!(peek(bytes, at), b'+' | b'-'));
        at = digits(bytes, at, "a digit")?;
    }
    Ok(at)
}

/// Takes digits, at least one.
#[inline(always)]
fn digits(bytes: &[u8], start: usize, expected: &'static str) -> Result<usize, Bad> {
    let mut at = start;
    while peek(bytes, at).is_ascii_digit() {
        at += 1;
    }
    if at == start { Err(Bad { at, expected }) } else { Ok(at) }
}

/// Takes a string with its quotes; says whether it has escapes.
#[inline(always)]
fn string(bytes: &[u8], at: usize) -> Result<(usize, bool), Bad> {
    let mut at = plain(bytes, at + 1);
    let mut escaped = false;
    loop {
        match peek(bytes, at) {
            b'"' => return Ok((at + 1, escaped)),
            b'\\' => {
                escaped = true;
                at = plain(bytes, escape(bytes, at + 1)?);
            }
            // The end, or a control character, which has to be escaped.
            _ => return Err(Bad { at, expected: "a letter or `\"`" }),
        }
    }
}

/// Passes over bytes that mean themselves, up to a quote, a backslash, a control character or the end.
#[inline(always)]
fn plain(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let special = specials(u64::from_le_bytes(*eight));
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while !matches!(peek(bytes, at), 0..b' ' | b'"' | b'\\') {
        at += 1;
    }
    at
}

/// Takes what follows a backslash.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Bad> {
    match peek(bytes, at) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 1),
        b'u' => {
            let hexadecimals = bytes.iter().skip(at + 1).take(4).take_while(|byte| byte.is_ascii_hexdigit()).count();
            let end = at + 1 + hexadecimals;
            if hexadecimals == 4 { Ok(end) } else { Err(Bad { at: end, expected: "a hexadecimal digit" }) }
        }
        _ => Err(Bad { at, expected: "an escape such as `\\n`" }),
    }
}

impl Node {
    /// Notes the field's JSON text, if it is wanted as a whole.
    #[inline(always)]
    fn note<'a>(&self, text: &'a str, start: usize, end: usize, found: &mut [Option<&'a str>]) {
        if let Some(slot) = self.place.and_then(|place| found.get_mut(place)) {
            *slot = text.get(start..end);
        }
    }

    /// The field of that name, which is given in its quotes. An escape that stands for no character is in no wanted name.
    #[inline(always)]
    fn child(&self, quoted: &str, escaped: bool) -> Option<&Self> {
        if escaped {
            let name: String = serde_json::from_str(quoted).ok()?;
            return self.children.iter().find(|child| child.name == name);
        }
        let name = quoted.get(1..quoted.len() - 1)?;
        self.children.iter().find(|child| child.name == name)
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
        scan(text, &Node::default(), &mut []).is_ok()
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
        assert!(accepts(&nested(DEPTH_MAX as usize)));
        assert!(!accepts(&nested(DEPTH_MAX as usize + 1)));
        assert!(!accepts(&"[".repeat(1_000_000)));
    }

    #[test]
    fn errors_name_the_place() {
        let reason = |text| scan(text, &Node::default(), &mut []).map_err(|error| error.reason().to_owned());
        assert_eq!(reason(r#"{"a" 1}"#), Err("byte 5: expected `:`, found `1`".to_owned()));
        assert_eq!(reason("[1 ü]"), Err("byte 3: expected `,` or `]`, found `ü`".to_owned()));
        assert_eq!(reason(r#"{"a":"#), Err("the text ends where a value is expected".to_owned()));
    }
}

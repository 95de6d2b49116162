//! State as bytes: a byte with the version of the format and what follows, the clean-up timers, the parts one by one.
//!
//! A part begins with a byte of flags. Numbers of entries are varints, ends of lives the differences from one to the
//! next, as varints too. Values and keys are as [`Accumulator`] writes them. A part that outgrew its bound has the list of
//! its pages there instead.

use crate::accumulator::Accumulator;
use crate::process::Domain;

use super::State;
use super::store::PageSpace;

/// The format, in the upper half of the first byte.
const VERSION: u8 = 1;

/// A part's flag: it has entries.
pub(super) const ENTRIES: u8 = 1;
/// A part's flag: entries have ends.
pub(super) const ENDS: u8 = 2;

/// A part's flag: it is in pages.
pub(super) const PAGES: u8 = 4;

/// Where the parts of a key's state are written, one after another.
#[derive(Debug)]
pub struct Writer<'a> {
    pub(crate) into: &'a mut Vec<u8>,
    /// The key's place in the call, of which the host keeps the pages; none to write everything in one piece.
    group: Option<u32>,
    part: u32,
}

impl Writer<'_> {
    /// Begins the next part. Returns where it may have pages.
    pub(super) fn part(&mut self) -> Option<PageSpace> {
        self.part += 1;
        Some(PageSpace { group: self.group?, part: self.part })
    }
}

/// Where the parts of a key's state are read from.
#[derive(Debug)]
pub struct Reader<'a> {
    pub(crate) from: &'a [u8],
    group: u32,
    part: u32,
    /// Whether a part is in pages.
    pub(super) paged: bool,
}

impl Reader<'_> {
    /// Begins the next part. Returns where it has its pages, if it has any.
    pub(super) fn part(&mut self) -> PageSpace {
        self.part += 1;
        PageSpace { group: self.group, part: self.part }
    }
}

/// A key's state and when the timers that clean it up are due.
#[derive(Debug, Default)]
pub(crate) struct Kept<S> {
    pub(crate) state: S,
    pub(crate) clean_up: [Option<i64>; 2],
    /// Whether the host has pages of it.
    pub(crate) paged: bool,
}

/// Appends the state of the key at that place of the call to `into`, and hands the host the pages that changed. Answers
/// whether there is anything to keep; without, nothing is appended.
pub(crate) fn encode_kept<S: State>(kept: &mut Kept<S>, group: u32, into: &mut Vec<u8>) -> bool {
    let stays = !kept.state.is_empty();
    if stays || kept.paged {
        let start = into.len();
        encode(kept, Some(group), into);
        if !stays {
            // It was about the pages, which are no more.
            into.truncate(start);
        }
    }
    stays
}

/// Appends state to `into` in one piece.
pub(crate) fn encode_whole<S: State>(kept: &mut Kept<S>, into: &mut Vec<u8>) {
    encode(kept, None, into);
}

fn encode<S: State>(kept: &mut Kept<S>, group: Option<u32>, into: &mut Vec<u8>) {
    if !S::RAW {
        let flags = kept.clean_up.iter().zip(0..).map(|(time, bit)| u8::from(time.is_some()) << bit).sum::<u8>();
        into.push(VERSION << 4 | flags);
        kept.clean_up.iter().flatten().for_each(|&time| signed(time, into));
    }
    kept.state.encode(&mut Writer { into, group, part: 0 });
}

/// Reads the state of the key at that place of the call into `state`, which is that of a key that has none.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn decode_kept<S: State>(state: S, group: u32, from: &[u8]) -> Result<Kept<S>, String> {
    let size = from.len();
    let mut reader = Reader { from, group, part: 0, paged: false };
    let mut kept = Kept { state, clean_up: [None; 2], paged: false };
    if !S::RAW {
        let from = &mut reader.from;
        let first = u8::decode(from).unwrap_or_default();
        if first >> 4 != VERSION {
            return Err(format!(
                "a state of {size} bytes begins with {first:#04x}: this plugin reads format {VERSION}, and no other"
            ));
        }
        for (time, domain) in kept.clean_up.iter_mut().zip(Domain::ALL) {
            if first >> domain.number() & 1 != 0 {
                *time = read_signed(from);
            }
        }
    }
    let decoded = kept.state.decode(&mut reader);
    kept.paged = reader.paged;
    match decoded {
        Some(()) if reader.from.is_empty() => Ok(kept),
        _ => Err(format!(
            "a state of {size} bytes is no `{}`: another version wrote it, and nothing migrates it",
            std::any::type_name::<S>()
        )),
    }
}

pub(super) fn varint(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

pub(super) fn read_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = u8::decode(from)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

pub(super) fn signed(number: i64, into: &mut Vec<u8>) {
    varint((number << 1 ^ number >> 63) as u64, into);
}

pub(super) fn read_signed(from: &mut &[u8]) -> Option<i64> {
    read_varint(from).map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
}

//! State as bytes: a byte with the version of the format and what follows, the clean-up timers, the parts one by one.
//!
//! A part begins with a byte of flags. Numbers of entries are varints, ends of lives the differences from one to the
//! next, as varints too. Values and keys are as [`Accumulator`] writes them.

use crate::accumulator::Accumulator;
use crate::process::Domain;

use super::State;

/// The format, in the upper half of the first byte.
const VERSION: u8 = 1;

/// A part's flag: it has entries.
pub(super) const ENTRIES: u8 = 1;
/// A part's flag: entries have ends.
pub(super) const ENDS: u8 = 2;

/// A key's state and when the timers that clean it up are due.
#[derive(Debug, Default)]
pub(crate) struct Kept<S> {
    pub(crate) state: S,
    pub(crate) clean_up: [Option<i64>; 2],
}

/// Appends state to `into`, which is not empty.
pub(crate) fn encode_kept<S: State>(kept: &Kept<S>, into: &mut Vec<u8>) {
    if !S::RAW {
        let flags = kept.clean_up.iter().zip(0..).map(|(time, bit)| u8::from(time.is_some()) << bit).sum::<u8>();
        into.push(VERSION << 4 | flags);
        kept.clean_up.iter().flatten().for_each(|&time| signed(time, into));
    }
    kept.state.encode(into);
}

/// Reads state into `state`, which is that of a key that has none.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn decode_kept<S: State>(state: S, mut from: &[u8]) -> Result<Kept<S>, String> {
    let size = from.len();
    let mut kept = Kept { state, clean_up: [None; 2] };
    if !S::RAW {
        let first = u8::decode(&mut from).unwrap_or_default();
        if first >> 4 != VERSION {
            return Err(format!(
                "a state of {size} bytes begins with {first:#04x}: this plugin reads format {VERSION}, and no other"
            ));
        }
        for (time, domain) in kept.clean_up.iter_mut().zip(Domain::ALL) {
            if first >> domain.number() & 1 != 0 {
                *time = read_signed(&mut from);
            }
        }
    }
    match kept.state.decode(&mut from) {
        Some(()) if from.is_empty() => Ok(kept),
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

//! Accumulators as bytes: what the host keeps for each key and window.
//!
//! Numbers are little endian and of fixed size, so a count is 8 bytes; text, lists and JSON carry their length in 4.
//! `#[derive(Accumulator)]` writes the fields of a struct one after another.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::input::Json;

/// A value that the host can keep: it becomes bytes and comes back the same.
pub trait Accumulator: Sized {
    /// Appends the value to `into`.
    fn encode(&self, into: &mut Vec<u8>);
    /// Takes the value from the front of `from`; none if it is not there.
    fn decode(from: &mut &[u8]) -> Option<Self>;
}

macro_rules! number_accumulators {
    ($($type:ty),*) => {$(
        impl Accumulator for $type {
            #[inline]
            fn encode(&self, into: &mut Vec<u8>) {
                into.extend_from_slice(&self.to_le_bytes());
            }
            #[inline]
            fn decode(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        }
    )*};
}
number_accumulators!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

impl Accumulator for bool {
    fn encode(&self, into: &mut Vec<u8>) {
        into.push(u8::from(*self));
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        match u8::decode(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: Accumulator> Accumulator for Option<T> {
    fn encode(&self, into: &mut Vec<u8>) {
        self.is_some().encode(into);
        if let Some(value) = self {
            value.encode(into);
        }
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        if bool::decode(from)? { T::decode(from).map(Some) } else { Some(None) }
    }
}

impl<T: Accumulator> Accumulator for Vec<T> {
    fn encode(&self, into: &mut Vec<u8>) {
        count(self.len()).encode(into);
        self.iter().for_each(|value| value.encode(into));
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        let count = u32::decode(from)?;
        (0..count).map(|_| T::decode(from)).collect()
    }
}

impl Accumulator for String {
    fn encode(&self, into: &mut Vec<u8>) {
        count(self.len()).encode(into);
        into.extend_from_slice(self.as_bytes());
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        std::str::from_utf8(prefixed(from)?).ok().map(str::to_owned)
    }
}

macro_rules! tuple_accumulators {
    ($($part:ident $place:tt)*) => {
        impl<$($part: Accumulator),*> Accumulator for ($($part,)*) {
            #[inline]
            fn encode(&self, _into: &mut Vec<u8>) {
                $(self.$place.encode(_into);)*
            }
            #[inline]
            fn decode(_from: &mut &[u8]) -> Option<Self> {
                Some(($($part::decode(_from)?,)*))
            }
        }
    };
}
tuple_accumulators!();
tuple_accumulators!(A 0 B 1);
tuple_accumulators!(A 0 B 1 C 2);
tuple_accumulators!(A 0 B 1 C 2 D 3);

/// Any type of serde's. Dearer than the other ones: it is a JSON text of its own.
impl<T: Serialize + DeserializeOwned> Accumulator for Json<T> {
    fn encode(&self, into: &mut Vec<u8>) {
        let json = serde_json::to_vec(&self.0).expect("the accumulator can be written as JSON");
        count(json.len()).encode(into);
        into.extend_from_slice(&json);
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        serde_json::from_slice(prefixed(from)?).ok().map(Json)
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("an accumulator is smaller than 4 GiB")
}

fn prefixed<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::decode(from)?;
    let (bytes, rest) = from.split_at_checked(length as usize)?;
    *from = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn round_trip<T: Accumulator + PartialEq + std::fmt::Debug>(value: T) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(T::decode(&mut rest), Some(value));
        assert!(rest.is_empty());
        for end in 0..bytes.len() {
            assert_eq!(T::decode(&mut bytes.get(..end).unwrap_or_default()), None, "cut off at {end}");
        }
        bytes
    }

    #[test]
    fn values_come_back_and_cut_off_ones_do_not() {
        assert_eq!(round_trip(258_u64), [2, 1, 0, 0, 0, 0, 0, 0]);
        round_trip(-1.5_f64);
        round_trip(Some(7_i64));
        assert_eq!(round_trip((1_u8, "a".to_owned(), ())), [1, 1, 0, 0, 0, b'a']);
        round_trip(Option::<u8>::None);
        round_trip(vec![true, false]);
        round_trip("täglich".to_owned());
        round_trip(Json(BTreeMap::from([("a".to_owned(), 1)])));
    }

    #[test]
    fn what_was_never_written_is_not_read() {
        assert_eq!(bool::decode(&mut &[2_u8][..]), None);
        assert_eq!(Vec::<u64>::decode(&mut &u32::MAX.to_le_bytes()[..]), None);
    }
}

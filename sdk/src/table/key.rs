//! Keys of tables as bytes, of which the order is that of the keys.
//!
//! Numbers are big endian, with the sign turned over; text and bytes end with a zero that stands for nothing else; the
//! parts of a tuple follow each other. No key's bytes begin with those of another one.

/// A type that can be a table's key.
pub trait TableKey: Sized {
    /// Appends the key to `into`.
    fn encode(&self, into: &mut Vec<u8>);
    /// Takes a key from the front of `from`; none if it is not there.
    fn decode(from: &mut &[u8]) -> Option<Self>;
}

macro_rules! unsigned_keys {
    ($($type:ty),*) => {$(
        impl TableKey for $type {
            fn encode(&self, into: &mut Vec<u8>) {
                into.extend_from_slice(&self.to_be_bytes());
            }
            fn decode(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_be_bytes(*bytes))
            }
        }
    )*};
}
unsigned_keys!(u8, u16, u32, u64, u128);

macro_rules! signed_keys {
    ($($type:ty => $unsigned:ty),*) => {$(
        impl TableKey for $type {
            fn encode(&self, into: &mut Vec<u8>) {
                (self.cast_unsigned() ^ <$unsigned>::MAX >> 1 ^ <$unsigned>::MAX).encode(into);
            }
            fn decode(from: &mut &[u8]) -> Option<Self> {
                let bits = <$unsigned>::decode(from)?;
                Some((bits ^ <$unsigned>::MAX >> 1 ^ <$unsigned>::MAX).cast_signed())
            }
        }
    )*};
}
signed_keys!(i8 => u8, i16 => u16, i32 => u32, i64 => u64, i128 => u128);

impl TableKey for bool {
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

/// Ends a string; a zero within it is followed by [`ESCAPED`].
const END: u8 = 0;
/// Notes that the zero before it is one of the string.
const ESCAPED: u8 = 0xff;

impl TableKey for Vec<u8> {
    fn encode(&self, into: &mut Vec<u8>) {
        for &byte in self {
            into.push(byte);
            if byte == END {
                into.push(ESCAPED);
            }
        }
        // Two bytes, so that what comes next in a tuple is not taken for the mark of a zero.
        into.extend_from_slice(&[END, END]);
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            match u8::decode(from)? {
                END => match u8::decode(from)? {
                    END => return Some(bytes),
                    ESCAPED => bytes.push(END),
                    _ => return None,
                },
                byte => bytes.push(byte),
            }
        }
    }
}

impl TableKey for String {
    fn encode(&self, into: &mut Vec<u8>) {
        self.as_bytes().to_vec().encode(into);
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        String::from_utf8(TableKey::decode(from)?).ok()
    }
}

macro_rules! tuple_keys {
    ($($part:ident $place:tt)*) => {
        impl<$($part: TableKey),*> TableKey for ($($part,)*) {
            fn encode(&self, into: &mut Vec<u8>) {
                $(self.$place.encode(into);)*
            }
            fn decode(from: &mut &[u8]) -> Option<Self> {
                Some(($($part::decode(from)?,)*))
            }
        }
    };
}
tuple_keys!(A 0 B 1);
tuple_keys!(A 0 B 1 C 2);
tuple_keys!(A 0 B 1 C 2 D 3);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ordered<K: TableKey + Ord + std::fmt::Debug>(one: K, other: K) {
        let bytes = |key: &K| {
            let mut bytes = Vec::new();
            key.encode(&mut bytes);
            assert_eq!(K::decode(&mut bytes.as_slice()).as_ref(), Some(key));
            bytes
        };
        let (left, right) = (bytes(&one), bytes(&other));
        assert_eq!(left.cmp(&right), one.cmp(&other), "{one:?} and {other:?}");
        assert!(one == other || !right.starts_with(&left), "{one:?} begins {other:?}");
    }

    proptest! {
        #[test]
        fn bytes_are_in_the_order_of_the_keys(
            one in any::<(i64, Vec<u8>, u8)>(),
            other in any::<(i64, Vec<u8>, u8)>(),
            same in any::<bool>(),
            small in prop::collection::vec(0_u8..2, 0..4),
            tiny in prop::collection::vec(0_u8..2, 0..4),
        ) {
            ordered(one.0, other.0);
            ordered(one.clone(), if same { (one.0, other.1.clone(), other.2) } else { other.clone() });
            ordered((small, one.2), (tiny, other.2));
            ordered((i16::from(one.2) - 128, true), (i16::from(other.2) - 128, same));
        }

        #[test]
        fn other_bytes_are_no_keys_or_come_back(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut rest = bytes.as_slice();
            if let Some(key) = <(String, bool)>::decode(&mut rest) {
                let mut again = Vec::new();
                key.encode(&mut again);
                prop_assert_eq!([again.as_slice(), rest].concat(), bytes);
            }
        }
    }
}

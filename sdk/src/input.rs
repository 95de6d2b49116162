//! What a function may ask of a record: typed views, each of which says which columns it reads.

use serde::Deserialize;

use crate::batch::Record;
use crate::describe::Reads;
use crate::error::{Error, Result};

/// A value that can be read from a record.
///
/// Of the value: `&[u8]`, [`Bytes`], `&str`, [`Text`], [`Json<T>`]; of the key the same in [`Key`]; the [`EventTime`];
/// the whole [`Record`]; tuples of these. In an `Option` a null is `None`; without, a null rejects the row with the code
/// `null-value` or `null-key`.
pub trait FromRecord<'a>: Sized {
    /// The columns it takes.
    const READS: Reads;
    /// Reads it, or says why this record is to be rejected.
    fn from_record(record: &Record<'a>) -> Result<Self>;
}

/// A value that can be read from bytes: those of a record's value or, in [`Key`], of its key.
pub trait FromBytes<'a>: Sized {
    /// Reads it, or says why this record is to be rejected.
    fn from_bytes(bytes: &'a [u8]) -> Result<Self>;
}

/// Bytes as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes<'a>(pub &'a [u8]);

/// UTF-8 text; other bytes reject the row with the code `invalid-utf8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a>(pub &'a str);

/// A JSON text of the shape `T`; another one rejects the row with the code `invalid-json`. As an output: `T` as JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// Reads the record's key where the type within would read its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<T>(pub T);

/// The record's event time in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime(pub i64);

impl<'a> FromBytes<'a> for &'a [u8] {
    #[inline]
    fn from_bytes(bytes: &'a [u8]) -> Result<Self> {
        Ok(bytes)
    }
}

impl<'a> FromBytes<'a> for Bytes<'a> {
    #[inline]
    fn from_bytes(bytes: &'a [u8]) -> Result<Self> {
        Ok(Bytes(bytes))
    }
}

impl<'a> FromBytes<'a> for &'a str {
    #[inline]
    fn from_bytes(bytes: &'a [u8]) -> Result<Self> {
        std::str::from_utf8(bytes)
            .map_err(|error| Error::new("invalid-utf8", format_args!("byte {} is not UTF-8 text", error.valid_up_to())))
    }
}

impl<'a> FromBytes<'a> for Text<'a> {
    #[inline]
    fn from_bytes(bytes: &'a [u8]) -> Result<Self> {
        <&str>::from_bytes(bytes).map(Text)
    }
}

impl<'a, T: Deserialize<'a>> FromBytes<'a> for Json<T> {
    fn from_bytes(bytes: &'a [u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map(Json).map_err(|error| Error::new("invalid-json", error))
    }
}

macro_rules! value_from_record {
    ($([$($generics:tt)*] $type:ty),* $(,)?) => {$(
        impl<'a, $($generics)*> FromRecord<'a> for $type {
            const READS: Reads = Reads::VALUES;
            #[inline]
            fn from_record(record: &Record<'a>) -> Result<Self> {
                match record.value {
                    Some(bytes) => FromBytes::from_bytes(bytes),
                    None => Err(Error::new("null-value", "the record has no value")),
                }
            }
        }

        impl<'a, $($generics)*> FromRecord<'a> for Option<$type> {
            const READS: Reads = Reads::VALUES;
            #[inline]
            fn from_record(record: &Record<'a>) -> Result<Self> {
                record.value.map(FromBytes::from_bytes).transpose()
            }
        }
    )*};
}
value_from_record!([] &'a [u8], [] Bytes<'a>, [] &'a str, [] Text<'a>, [T: Deserialize<'a>] Json<T>);

impl<'a, T: FromBytes<'a>> FromRecord<'a> for Key<T> {
    const READS: Reads = Reads::KEYS;
    #[inline]
    fn from_record(record: &Record<'a>) -> Result<Self> {
        match record.key {
            Some(bytes) => T::from_bytes(bytes).map(Key),
            None => Err(Error::new("null-key", "the record has no key")),
        }
    }
}

impl<'a, T: FromBytes<'a>> FromRecord<'a> for Option<Key<T>> {
    const READS: Reads = Reads::KEYS;
    #[inline]
    fn from_record(record: &Record<'a>) -> Result<Self> {
        record.key.map(|bytes| T::from_bytes(bytes).map(Key)).transpose()
    }
}

impl<'a> FromRecord<'a> for EventTime {
    const READS: Reads = Reads::NONE;
    #[inline]
    fn from_record(record: &Record<'a>) -> Result<Self> {
        Ok(EventTime(record.timestamp))
    }
}

impl<'a> FromRecord<'a> for Record<'a> {
    const READS: Reads = Reads::ALL;
    #[inline]
    fn from_record(record: &Record<'a>) -> Result<Self> {
        Ok(record.clone())
    }
}

macro_rules! tuple_from_record {
    ($($part:ident)*) => {
        impl<'a, $($part: FromRecord<'a>),*> FromRecord<'a> for ($($part,)*) {
            const READS: Reads = Reads::NONE$(.and($part::READS))*;
            #[inline]
            fn from_record(_record: &Record<'a>) -> Result<Self> {
                Ok(($($part::from_record(_record)?,)*))
            }
        }
    };
}
tuple_from_record!();
tuple_from_record!(A B);
tuple_from_record!(A B C);
tuple_from_record!(A B C D);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Headers;

    fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Record<'a> {
        Record { index: 0, timestamp: 7, key, value, headers: Headers::default() }
    }

    fn code<T>(result: Result<T>) -> String {
        result.err().map(|error| error.code().to_owned()).unwrap_or_default()
    }

    #[test]
    fn each_type_reads_its_part() {
        let record = record(Some(b"k"), Some(b"[1,2]"));
        let (Key(key), Json(list), EventTime(time)) =
            record.read::<(Key<Text>, Json<Vec<u8>>, EventTime)>().expect("all three can be read");
        assert_eq!((key.0, list, time), ("k", vec![1, 2], 7));
        assert_eq!(record.read::<&[u8]>(), Ok(&b"[1,2]"[..]));
    }

    #[test]
    fn nulls_and_bad_bytes_have_codes() {
        assert_eq!(code(record(None, None).read::<Text>()), "null-value");
        assert_eq!(code(record(None, None).read::<Key<Text>>()), "null-key");
        assert_eq!(record(None, None).read::<(Option<Text>, Option<Key<&str>>)>(), Ok((None, None)));
        assert_eq!(code(record(None, Some(b"a\xff")).read::<Text>()), "invalid-utf8");
        assert_eq!(code(record(None, Some(b"{")).read::<Json<u8>>()), "invalid-json");
    }

    #[test]
    fn what_is_read_follows_from_the_types() {
        fn reads<'a, T: FromRecord<'a>>() -> Reads {
            T::READS
        }
        assert_eq!(reads::<()>(), Reads::NONE);
        assert_eq!(reads::<(EventTime, Key<Text>)>(), Reads::KEYS);
        assert_eq!(reads::<Option<Json<u8>>>(), Reads::VALUES);
        assert_eq!(reads::<Record>(), Reads::ALL);
    }
}

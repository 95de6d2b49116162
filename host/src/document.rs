//! Documents: JSON that says what format it has and carries the digest of its content, so that what was changed by hand
//! or by a failing disk is detected.
//!
//! ```json
//! {"format":1,"digest":"sha256:..","content":{..}}
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::Digest;

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    digest: Digest,
    content: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    format: u32,
    digest: Digest,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not what was written.
    #[error("{0}")]
    Corrupt(String),
    /// It has a format that this version does not know.
    #[error("its format is {0}")]
    Format(u32),
}

/// A document of that format.
pub fn encode<T: Serialize>(format: u32, content: &T) -> serde_json::Result<Vec<u8>> {
    let content = serde_json::value::to_raw_value(content)?;
    let digest = Digest::of(content.get().as_bytes());
    serde_json::to_vec(&Written { format, digest, content: &content })
}

/// The content of a document of that format. Checks format and digest.
pub fn decode<T: DeserializeOwned>(format: u32, bytes: &[u8]) -> Result<T, Unreadable> {
    let corrupt = |error: serde_json::Error| Unreadable::Corrupt(error.to_string());
    let Format { format: found } = serde_json::from_slice(bytes).map_err(corrupt)?;
    if found != format {
        return Err(Unreadable::Format(found));
    }
    let stored: Stored<'_> = serde_json::from_slice(bytes).map_err(corrupt)?;
    debug_assert_eq!(stored.format, format);
    if Digest::of(stored.content.get().as_bytes()) != stored.digest {
        let reason = "its content does not have the digest that is written beside it";
        return Err(Unreadable::Corrupt(reason.to_owned()));
    }
    serde_json::from_str(stored.content.get()).map_err(corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let good = encode(1, &"some text").expect("text is JSON");
        assert_eq!(decode(1, &good), Ok("some text".to_owned()));
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            decode::<String>(1, &bytes).expect_err("a changed byte");
        }
        for length in 0..good.len() {
            let error = decode::<String>(1, &good[..length]);
            assert!(matches!(error, Err(Unreadable::Corrupt(_))), "{length}: {error:?}");
        }
    }

    #[test]
    fn another_format_is_named_not_guessed() {
        assert_eq!(decode::<String>(1, br#"{"format":9,"what":"ever"}"#), Err(Unreadable::Format(9)));
    }
}

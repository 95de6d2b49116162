//! What the JSON text of a field says.

use std::borrow::Cow;

use crate::error::{Error, Result};

/// A JSON value as far as it can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it is written.
    Number(&'a str),
    /// A text, its escapes resolved.
    Text(Cow<'a, str>),
    /// An object or a list.
    Compound,
}

impl<'a> Scalar<'a> {
    /// Reads the JSON text of a field.
    ///
    /// # Errors
    /// `invalid-json`: an escape in a text that stands for no character.
    pub fn read(json: &'a str) -> Result<Self> {
        Ok(match json.as_bytes() {
            [b'"', ..] if json.contains('\\') => {
                Scalar::Text(Cow::Owned(serde_json::from_str(json).map_err(|error| Error::new("invalid-json", error))?))
            }
            [b'"', ..] => Scalar::Text(Cow::Borrowed(json.trim_matches('"'))),
            [b'{' | b'[', ..] => Scalar::Compound,
            b"null" => Scalar::Null,
            b"true" => Scalar::Bool(true),
            b"false" => Scalar::Bool(false),
            _ => Scalar::Number(json),
        })
    }
}

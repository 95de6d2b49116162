//! Rows to run a plugin over.

use crate::batch::{Batch, Header};
use crate::describe::Reads;

/// An input row. Text and bytes convert into one with that value, no key and event time 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    pub(super) value: Option<Vec<u8>>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) timestamp: i64,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Input {
    /// A row with that value.
    pub fn value(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// A row without a value.
    pub fn null() -> Self {
        Self::default()
    }

    /// Sets the key.
    pub fn key(self, key: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Sets the event time in milliseconds since the Unix epoch.
    pub fn at(self, timestamp: i64) -> Self {
        Self { timestamp, ..self }
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl From<&str> for Input {
    fn from(value: &str) -> Self {
        Input::value(value)
    }
}

impl From<String> for Input {
    fn from(value: String) -> Self {
        Input::value(value)
    }
}

impl From<&[u8]> for Input {
    fn from(value: &[u8]) -> Self {
        Input::value(value)
    }
}

impl<const N: usize> From<&[u8; N]> for Input {
    fn from(value: &[u8; N]) -> Self {
        Input::value(*value)
    }
}

/// The batch of these rows with the columns that a plugin reads, as the host sends it.
pub(super) fn batch(rows: &[Input], reads: Reads) -> Batch {
    let mut batch = Batch { timestamps: rows.iter().map(|row| row.timestamp).collect(), ..Batch::default() };
    if reads.keys {
        batch.keys = rows.iter().map(|row| row.key.as_deref()).collect();
    }
    if reads.values {
        batch.values = rows.iter().map(|row| row.value.as_deref()).collect();
    }
    if reads.headers && rows.iter().any(|row| !row.headers.is_empty()) {
        for row in rows {
            let headers = row.headers.iter();
            batch.headers.push(headers.map(|(name, value)| Header { name: name.as_bytes(), value: Some(value) }));
        }
    }
    batch
}

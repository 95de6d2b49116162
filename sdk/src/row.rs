//! A row to emit, as an author builds it.

use std::borrow::Cow;

use serde::Serialize;

use crate::answer::Out;
use crate::batch::Header;
use crate::columns::Append;
use crate::describe::Output;
use crate::error::{Error, Result};

/// A row to emit. What is not set stays as in the input row.
///
/// ```
/// use millstream_sdk::prelude::*;
///
/// let same = Row::same().to("kept");
/// let other = Row::text("hello").key("greeting").at(1_700_000_000_000);
/// assert_ne!(same, other);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    key: Field,
    value: Field,
    timestamp: Option<i64>,
    output: Option<OutputId>,
    headers: Option<Vec<OwnHeader>>,
}

/// Room for a small object, so that most are written without moving.
const JSON_SIZE: usize = 128;

/// A header as a row owns it.
type OwnHeader = (String, Option<Vec<u8>>);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Field {
    #[default]
    Same,
    Null,
    Bytes(Vec<u8>),
}

/// An output of the plugin, by its index or its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputId {
    /// The place in the plugin's outputs, counted from 0.
    Index(u16),
    /// The name in the plugin's outputs.
    Name(Cow<'static, str>),
}

impl From<u16> for OutputId {
    fn from(index: u16) -> Self {
        OutputId::Index(index)
    }
}

impl From<&'static str> for OutputId {
    fn from(name: &'static str) -> Self {
        OutputId::Name(Cow::Borrowed(name))
    }
}

impl From<String> for OutputId {
    fn from(name: String) -> Self {
        OutputId::Name(Cow::Owned(name))
    }
}

impl OutputId {
    fn index(&self, outputs: &[Output]) -> Result<u16> {
        let found = match self {
            OutputId::Index(index) => outputs.get(usize::from(*index)).map(|_| *index),
            OutputId::Name(name) => {
                outputs.iter().position(|output| output.name == name).and_then(|index| u16::try_from(index).ok())
            }
        };
        found.ok_or_else(|| {
            let names: Vec<_> = outputs.iter().map(|output| format!("`{}`", output.name)).collect();
            let wanted = match self {
                OutputId::Index(index) => index.to_string(),
                OutputId::Name(name) => format!("`{name}`"),
            };
            let reason = format_args!("the plugin has no output {wanted}; its outputs are {}", names.join(", "));
            Error::new("unknown-output", reason)
        })
    }
}

impl Row {
    /// The input row as it is.
    pub fn same() -> Self {
        Self::default()
    }

    /// A row with that value.
    pub fn bytes(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Field::Bytes(value.into()), ..Self::default() }
    }

    /// A row with that text as its value.
    pub fn text(value: impl Into<String>) -> Self {
        Self::bytes(value.into())
    }

    /// A row with `value` as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let mut json = Vec::with_capacity(JSON_SIZE);
        serde_json::to_writer(Append(&mut json), value).map_err(crate::output::unwritable)?;
        Ok(Self::bytes(json))
    }

    /// A row without a value: in a compacted topic it deletes its key.
    pub fn null() -> Self {
        Self { value: Field::Null, ..Self::default() }
    }

    /// Sets the key.
    pub fn key(self, key: impl Into<Vec<u8>>) -> Self {
        Self { key: Field::Bytes(key.into()), ..self }
    }

    /// Takes the key away.
    pub fn without_key(self) -> Self {
        Self { key: Field::Null, ..self }
    }

    /// Sets the event time in milliseconds since the Unix epoch.
    pub fn at(self, timestamp: i64) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// Sends the row to an output, by its name or index.
    pub fn to(self, output: impl Into<OutputId>) -> Self {
        Self { output: Some(output.into()), ..self }
    }

    /// Adds a header. The first one replaces all headers of the input row.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.get_or_insert_default().push((name.into(), Some(value.into())));
        self
    }

    /// Takes all headers away.
    pub fn without_headers(self) -> Self {
        Self { headers: Some(Vec::new()), ..self }
    }

    pub(crate) fn write(&self, out: &mut Out<'_, '_>) -> Result<()> {
        let output = self.output.as_ref().map(|output| output.index(out.outputs())).transpose()?;
        let mut row = out.row();
        match &self.key {
            Field::Same => {}
            Field::Null => drop(row.key(None)),
            Field::Bytes(key) => drop(row.key(Some(key))),
        }
        match &self.value {
            Field::Same => {}
            Field::Null => drop(row.value(None)),
            Field::Bytes(value) => drop(row.value(Some(value))),
        }
        if let Some(timestamp) = self.timestamp {
            row.timestamp(timestamp);
        }
        if let Some(output) = output {
            row.output(output);
        }
        if let Some(headers) = &self.headers {
            row.headers(headers.iter().map(|(name, value)| Header { name: name.as_bytes(), value: value.as_deref() }));
        }
        Ok(())
    }
}

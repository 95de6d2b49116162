//! What an expression needs of a row.

use millstream_sdk::prelude::*;

/// The fields of the JSON value that an expression names, each once.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    paths: Vec<String>,
    fields: Fields,
}

impl Needs {
    /// The place of the field of that path.
    pub(crate) fn place(&mut self, path: &str) -> usize {
        self.paths.iter().position(|known| known == path).unwrap_or_else(|| {
            self.paths.push(path.to_owned());
            self.paths.len() - 1
        })
    }

    /// Readies the fields for being looked for; all have been named.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        self.fields = Fields::new(&self.paths)?;
        Ok(())
    }

    /// The JSON text of each field; without fields the value is not looked at.
    pub(crate) fn read<'a>(&self, value: Option<&'a [u8]>) -> Result<Vec<Option<&'a str>>> {
        match value {
            _ if self.paths.is_empty() => Ok(Vec::new()),
            Some(value) => self.fields.read(value),
            None => reject!("null-value", "the record has no value to look for fields in"),
        }
    }
}

//! What expressions need of a row.

use super::evaluate::Row;
use super::parser;
use super::tree::{Comparison, Expression, Literal, Node, Operand};
use crate::error::{Error, Result};
use crate::fields::Fields;

/// The fields of the JSON value that expressions name, each once.
#[derive(Debug, Default)]
pub struct Names {
    paths: Vec<String>,
}

impl Names {
    /// Reads an expression and notes the fields that it names. `setting` is what the configuration calls it, for errors.
    ///
    /// # Errors
    /// `bad-expression`, with the setting, the column, and what was expected there.
    pub fn expression(&mut self, setting: &str, text: &str) -> Result<Expression> {
        parser::parse(text, self).map_err(|bad| {
            Error::new("bad-expression", format_args!("`{setting}`, column {}: {}", bad.column, bad.message))
        })
    }

    /// The expression that a field is that text.
    ///
    /// # Errors
    /// `bad-path`: a path that names no field.
    pub fn equals(&mut self, path: &str, text: &str) -> Result<Expression> {
        let (field, text) = (Operand::Field(self.field(path)?), Operand::Literal(Literal::Text(text.to_owned())));
        Ok(Expression(Node::Compare(field, Comparison::Equal, text)))
    }

    /// Notes one more field that is to be read. Answers its place, for [`Row::field`].
    ///
    /// # Errors
    /// `bad-path`: a path that names no field.
    pub fn field(&mut self, path: &str) -> Result<usize> {
        crate::fields::names(path)?;
        Ok(self.place(path))
    }

    /// The place of the field of that path.
    pub(super) fn place(&mut self, path: &str) -> usize {
        self.paths.iter().position(|known| known == path).unwrap_or_else(|| {
            self.paths.push(path.to_owned());
            self.paths.len() - 1
        })
    }

    /// What reads all fields that have been named.
    ///
    /// # Errors
    /// `bad-path`: two paths that are written differently and name the same field.
    pub fn reader(self) -> Result<Reader> {
        Ok(Reader { fields: Fields::new(&self.paths)?, any: !self.paths.is_empty() })
    }
}

/// Reads of a row what expressions can see.
#[derive(Debug, Default)]
pub struct Reader {
    fields: Fields,
    any: bool,
}

impl Reader {
    /// Reads a row. Where no field is named, the value is not looked at.
    ///
    /// # Errors
    /// `null-value`, `invalid-utf8`, `invalid-json` or `not-an-object`, of the value.
    pub fn read<'a>(&self, key: Option<&'a [u8]>, value: Option<&'a [u8]>, timestamp: i64) -> Result<Row<'a>> {
        let fields = match value {
            _ if !self.any => Vec::new(),
            Some(value) => self.fields.read(value)?,
            None => return Err(Error::new("null-value", "the record has no value to look for fields in")),
        };
        Ok(Row::new(key, timestamp, fields))
    }
}

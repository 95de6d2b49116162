//! Reference tables: topics in which the newest record of each key counts.
//!
//! `lookup::table("users").get("ada")?`, from any plugin that rows come to; the pipeline must grant the table to it.
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! /// Adds the name of each row's customer.
//! #[transform]
//! fn with_name(Key(Text(customer)): Key<Text<'_>>) -> Result<Option<String>> {
//!     let name = lookup::table("customers").get_text(customer)?;
//!     Ok(name)
//! }
//!
//! testing::lookup("customers", [("c1", "Ada")]);
//! let out = testing::run(&WithName { config: NoConfig {} }, [testing::Input::null().key("c1")]);
//! assert_eq!(out.values(), ["Ada"]);
//! ```

use serde::de::DeserializeOwned;

use crate::columns::{Cell, Column};
use crate::error::{Error, Result};
use crate::host;

/// The reference table of that name.
pub fn table(name: &str) -> Lookup<'_> {
    Lookup { name }
}

/// A reference table.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'n> {
    name: &'n str,
}

/// Values of a reference table, in the order of the keys that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found(Column);

impl Found {
    /// The values; none where the table has none.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        self.0.cells().map(Cell::bytes)
    }
}

impl Lookup<'_> {
    /// The values of many keys, with one call of the host.
    ///
    /// # Errors
    /// The host refuses, with the code `lookup`: no table of that name is granted. So in all of these functions.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<Found> {
        let mut column = Column::default();
        keys.into_iter().for_each(|key| column.push(Some(key.as_ref())));
        if column.is_empty() {
            return Ok(Found(column));
        }
        host::lookup(self.name, &column).map(Found).map_err(|message| Error::new("lookup", message))
    }

    /// The value of a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        Ok(self.get_many([key])?.iter().next().flatten().map(<[u8]>::to_vec))
    }

    /// The value of a key, as text.
    ///
    /// # Errors
    /// It is no text, with the code `invalid-lookup`.
    pub fn get_text(&self, key: impl AsRef<[u8]>) -> Result<Option<String>> {
        let text = self.get(key)?.map(String::from_utf8).transpose();
        text.map_err(|error| self.invalid(&error))
    }

    /// The value of a key, of JSON.
    ///
    /// # Errors
    /// It is no `T`, with the code `invalid-lookup`.
    pub fn get_json<T: DeserializeOwned>(&self, key: impl AsRef<[u8]>) -> Result<Option<T>> {
        let value = self.get_many([key])?;
        let value = value.iter().next().flatten().map(serde_json::from_slice).transpose();
        value.map_err(|error| self.invalid(&error))
    }

    fn invalid(&self, error: &dyn std::error::Error) -> Error {
        Error::new("invalid-lookup", format_args!("a value of the reference table `{}`: {error}", self.name))
    }
}

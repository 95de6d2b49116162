//! Conditions over rows, written as text: `status >= 500 and not path starts_with '/health'`.
//!
//! An expression sees the fields of the JSON value, the key and the event time. It is read once, when the plugin is made:
//! `lexer` makes tokens of it, `parser` a [tree](Expression), and [`Names`] collects the fields that all expressions of a
//! plugin name, so that a row is looked through once. `evaluate` runs the tree over what a [`Row`] has.
//!
//! ```
//! use millstream_sdk::expression::Names;
//!
//! let mut names = Names::default();
//! let large = names.expression("where", "amount > 1000 and key != 'test'")?;
//! let reader = names.reader()?;
//!
//! let row = reader.read(Some(b"ada"), Some(br#"{"amount": 1200}"#), 0)?;
//! assert!(row.fulfils(&large)?);
//!
//! let error = Names::default().expression("where", "amount >").expect_err("something is missing");
//! assert!(error.reason().starts_with("`where`, column 9: expected a field"));
//! # Ok::<(), millstream_sdk::Error>(())
//! ```
//!
//! # The language
//!
//! | | |
//! |---|---|
//! | values | `12`, `-0.5`, `'text'`, `"text"`, `true`, `false`, `null` |
//! | fields | `status`, `user.id`; in backticks if the name has other letters; a dot in a name is written `\.` there |
//! | the row | `key` (text, or `null`), `timestamp`; fields of such names are written in backticks |
//! | comparisons | `=` (or `==`), `!=`, `<`, `<=`, `>`, `>=` |
//! | lists | `status in [500, 502]`, `status not in [200]` |
//! | texts | `path contains 'api'`, `path starts_with '/'`, `path ends_with '.gif'`, or `contains(path, 'api')` .. |
//! | presence | `exists(user.id)`: the field is there, be it `null` |
//! | together | `not`, `and`, `or` (binding in this order) and parentheses, nested up to 64 levels |
//!
//! A field that is not there is like `null`. Values of different kinds are not equal, and neither is less than the other;
//! comparing them rejects nothing. Whole numbers compare exactly. A field by itself holds if it is `true`.

mod evaluate;
mod lexer;
mod names;
mod parser;
mod tree;

pub use evaluate::Row;
pub use names::{Names, Reader};
pub use tree::Expression;

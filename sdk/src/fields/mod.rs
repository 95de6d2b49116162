//! Reads chosen fields of JSON objects without building the rest.
//!
//! A field is named by its path: `user.id` is the field `id` of the object in the field `user`; a dot or backslash that
//! belongs to a name is written `\.` or `\\`. Each field comes as its JSON text, a slice of the row. The whole row is
//! checked to be JSON, and of a name that comes twice the last one counts.
//!
//! ```
//! use millstream_sdk::{Fields, fields::Scalar};
//!
//! let fields = Fields::new(["user.id", "missing"]).expect("the paths are fine");
//! let found = fields.read(br#"{"tags": [1, 2], "user": {"id": "ada", "age": 36}}"#).expect("it is an object");
//! assert_eq!(found, [Some("\"ada\""), None]);
//! assert_eq!(Scalar::read("\"ada\""), Ok(Scalar::Text("ada".into())));
//! ```

mod chosen;
mod scalar;
mod scan;

use crate::error::{Error, Result};
use crate::input::FromBytes;

pub use chosen::Chosen;
pub use scalar::Scalar;

/// Paths of fields, ready to be looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    root: Node,
    count: usize,
}

/// A field on the way to, or at the end of, a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    name: String,
    /// The place among the paths, if one ends here.
    place: Option<usize>,
    children: Vec<Node>,
}

impl Fields {
    /// Takes the paths of the fields to look for.
    ///
    /// # Errors
    /// A path that has an empty name in it, ends in a backslash, or was given before.
    pub fn new<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Result<Self> {
        let mut fields = Self::default();
        for path in paths {
            let path = path.as_ref();
            let mut node = &mut fields.root;
            for name in names(path)? {
                let known = node.children.iter().position(|child| child.name == name);
                let place = known.unwrap_or(node.children.len());
                if known.is_none() {
                    node.children.push(Node { name, ..Node::default() });
                }
                node = node.children.get_mut(place).expect("it is known or was just added");
            }
            if node.place.replace(fields.count).is_some() {
                return Err(Error::new("bad-path", format_args!("field `{path}` is named twice")));
            }
            fields.count += 1;
        }
        Ok(fields)
    }

    /// The JSON text of each field, in the order of the paths; none where the object lacks it.
    ///
    /// # Errors
    /// `invalid-utf8`, `invalid-json` or `not-an-object`.
    pub fn read<'a>(&self, json: &'a [u8]) -> Result<Vec<Option<&'a str>>> {
        let text = <&str>::from_bytes(json)?;
        let mut found = vec![None; self.count];
        let is_object = scan::scan(text, &self.root, &mut found)?;
        if !is_object {
            return Err(Error::new("not-an-object", "the value is JSON, but not an object"));
        }
        Ok(found)
    }
}

impl Node {
    /// Forgets what was found here and beneath: an earlier field of the same name does not count.
    fn forget(&self, found: &mut [Option<&str>]) {
        if let Some(slot) = self.place.and_then(|place| found.get_mut(place)) {
            *slot = None;
        }
        self.children.iter().for_each(|child| child.forget(found));
    }
}

/// The names in a path, unescaped.
///
/// # Errors
/// A path with an empty name in it, or one that ends in a backslash.
pub fn names(path: &str) -> Result<Vec<String>> {
    let mut names = vec![String::new()];
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '.' => {
                names.push(String::new());
                continue;
            }
            '\\' => letters.next().ok_or_else(|| {
                Error::new("bad-path", format_args!("field `{path}` ends in a backslash that escapes nothing"))
            })?,
            other => other,
        };
        names.last_mut().expect("there is a first name").push(letter);
    }
    if names.iter().any(String::is_empty) {
        let reason = format_args!("field `{path}` has an empty name; write names with dots between them: `user.id`");
        return Err(Error::new("bad-path", reason));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(paths: &[&str], json: &'a str) -> Result<Vec<Option<&'a str>>> {
        Fields::new(paths).and_then(|fields| fields.read(json.as_bytes()))
    }

    #[test]
    fn fields_are_found_at_any_depth() {
        let json = r#" {"a": {"b": {"c": [1, {"x": 2}]}, "d.e": "f\n"}, "z": null, "n": -1.50} "#;
        let found = read(&["z", "a.b.c", r"a.d\.e", "a.b", "n", "a.q"], json).expect("all is well");
        let expected = [
            Some("null"),
            Some(r#"[1, {"x": 2}]"#),
            Some(r#""f\n""#),
            Some(r#"{"c": [1, {"x": 2}]}"#),
            Some("-1.50"),
            None,
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn paths_through_what_is_no_object_lead_nowhere() {
        for json in [
            r#"{"a": [1]}"#,
            r#"{"a": "s"}"#,
            r#"{"a": 1}"#,
            r#"{"a": -1}"#,
            r#"{"a": 1.5}"#,
            r#"{"a": null}"#,
            r#"{"a": true}"#,
        ] {
            assert_eq!(read(&["a.b"], json), Ok(vec![None]), "{json}");
            assert!(read(&["a.b", "a"], json).is_ok_and(|found| found[0].is_none() && found[1].is_some()), "{json}");
        }
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        assert_eq!(read(&["a.b"], r#"{"a": {"b": 1}, "a": {"c": 2}}"#), Ok(vec![None]));
        assert_eq!(read(&["a", "a.b"], r#"{"a": {"b": 1}, "a": 2}"#), Ok(vec![Some("2"), None]));
        assert_eq!(read(&["a"], r#"{"a": 1, "\u0061": 2}"#), Ok(vec![Some("2")]));
    }

    #[test]
    fn what_is_no_object_has_a_code() {
        let code =
            |json: &[u8]| Fields::default().read(json).err().map(|error| error.code().to_owned()).unwrap_or_default();
        assert_eq!(code(b"{}"), "");
        assert_eq!(code(b"[1]"), "not-an-object");
        for json in [&b"{"[..], b"", b"{} {}", b"{'a': 1}", br#"{"a": 01}"#, b"[1"] {
            assert_eq!(code(json), "invalid-json", "{}", String::from_utf8_lossy(json));
        }
        assert_eq!(code(b"{\"\xff\": 1}"), "invalid-utf8");
    }

    #[test]
    fn bad_paths_are_refused() {
        for paths in [&[""][..], &["a."], &["a..b"], &["a\\"], &["a", "a"]] {
            assert_eq!(
                Fields::new(paths).map_err(|error| error.code().to_owned()),
                Err("bad-path".to_owned()),
                "{paths:?}"
            );
        }
    }

    #[test]
    fn scalars_are_told_apart() {
        for (json, scalar) in [
            ("null", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("-1e3", Scalar::Number("-1e3")),
            (r#""""#, Scalar::Text("".into())),
            (r#""a\"\u00e4""#, Scalar::Text("a\"ä".into())),
            ("[]", Scalar::Compound),
            ("{}", Scalar::Compound),
        ] {
            assert_eq!(Scalar::read(json), Ok(scalar));
        }
        assert!(Scalar::read(r#""\ud800""#).is_err());
    }
}

//! What is done with each row: which fields are read, what the kept ones become, where key and time come from.

use std::borrow::Cow;

use millstream_sdk::columns::Append;
use millstream_sdk::fields::{self, Scalar};
use millstream_sdk::prelude::*;
use millstream_sdk::serde_json;

use crate::Config;
use crate::timestamp::Format;

/// What becomes of a row that lacks a field to keep.
#[config]
#[derive(Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Missing {
    /// The row is rejected with the code `missing-field`.
    #[default]
    Reject,
    /// The field becomes `null`.
    Null,
    /// The field is left out.
    Omit,
}

/// The plan. Places are those of the fields' paths in `fields`.
#[derive(Debug)]
pub(crate) struct Plan {
    fields: Fields,
    paths: Vec<String>,
    kept: Vec<Kept>,
    missing: Missing,
    key: Option<usize>,
    timestamp: Option<(usize, Format)>,
}

/// A name in the projected object, ready to be written.
#[derive(Debug)]
struct Kept {
    /// The name with its quotes and colon.
    json_name: Vec<u8>,
    name: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Field(usize),
    Object(Vec<Kept>),
}

impl Plan {
    pub(crate) fn new(config: Config) -> Result<Self> {
        let mut paths = Vec::new();
        let mut kept = Vec::new();
        for path in config.fields {
            if paths.contains(&path) {
                reject!("bad-config", "`fields` names `{path}` twice");
            }
            keep(&mut kept, &path, &fields::names(&path)?, paths.len())?;
            paths.push(path);
        }
        let mut place_of = |path: String| {
            paths.iter().position(|known| *known == path).unwrap_or_else(|| {
                paths.push(path);
                paths.len() - 1
            })
        };
        let key = config.key.map(&mut place_of);
        let timestamp = config.timestamp.map(|timestamp| (place_of(timestamp.field), timestamp.format));
        Ok(Self { fields: Fields::new(&paths)?, paths, kept, missing: config.missing, key, timestamp })
    }

    pub(crate) fn record(&self, value: &[u8], out: &mut Out<'_, '_>) -> Result<()> {
        let found = self.fields.read(value)?;
        let found = found.as_slice();
        let key = self.key.map(|place| self.key(place, found)).transpose()?;
        let timestamp = match self.timestamp {
            Some((place, format)) => Some(format.read(self.path(place), &self.scalar(place, found)?)?),
            None => None,
        };
        let mut row = out.row();
        if let Some(key) = key {
            row.key(Some(key.as_bytes()));
        }
        if let Some(timestamp) = timestamp {
            row.timestamp(timestamp);
        }
        if self.kept.is_empty() {
            return Ok(());
        }
        row.value_with(|buffer| self.write(&self.kept, found, buffer))
    }

    fn path(&self, place: usize) -> &str {
        self.paths.get(place).map_or("", String::as_str)
    }

    fn lacks(&self, place: usize) -> Error {
        Error::new("missing-field", format_args!("the object has no field `{}`", self.path(place)))
    }

    /// A field from which something is to be made: it must be there and not `null`.
    fn scalar<'a>(&self, place: usize, found: &[Option<&'a str>]) -> Result<Scalar<'a>> {
        match found.get(place).copied().flatten().map(Scalar::read).transpose()? {
            None => Err(self.lacks(place)),
            Some(Scalar::Null) => {
                Err(Error::new("missing-field", format_args!("field `{}` is null", self.path(place))))
            }
            Some(scalar) => Ok(scalar),
        }
    }

    fn key<'a>(&self, place: usize, found: &[Option<&'a str>]) -> Result<Cow<'a, str>> {
        Ok(match self.scalar(place, found)? {
            Scalar::Text(text) => text,
            Scalar::Number(number) => number.into(),
            Scalar::Bool(flag) => if flag { "true" } else { "false" }.into(),
            Scalar::Null | Scalar::Compound => {
                reject!("bad-key", "field `{}` is an object or a list, which cannot be a key", self.path(place))
            }
        })
    }

    fn write(&self, kept: &[Kept], found: &[Option<&str>], buffer: &mut Vec<u8>) -> Result<()> {
        buffer.push(b'{');
        let start = buffer.len();
        for Kept { json_name, content, .. } in kept {
            let text = match content {
                Content::Object(_) => None,
                Content::Field(place) => match found.get(*place).copied().flatten() {
                    Some(text) => Some(text),
                    None => match self.missing {
                        Missing::Reject => return Err(self.lacks(*place)),
                        Missing::Null => Some("null"),
                        Missing::Omit => continue,
                    },
                },
            };
            if buffer.len() > start {
                buffer.push(b',');
            }
            Append(buffer).bytes(json_name);
            match (text, content) {
                (Some(text), _) => Append(buffer).bytes(text.as_bytes()),
                (None, Content::Object(inner)) => self.write(inner, found, buffer)?,
                (None, Content::Field(_)) => {}
            }
        }
        buffer.push(b'}');
        Ok(())
    }
}

/// Adds the field of that path to the projected object.
fn keep(kept: &mut Vec<Kept>, path: &str, names: &[String], place: usize) -> Result<()> {
    let Some((name, inner_names)) = names.split_first() else { return Ok(()) };
    let overlap =
        || Error::new("bad-config", format_args!("`fields` names `{path}` and also a field around or within it"));
    if let Some(known) = kept.iter_mut().find(|known| known.name == *name) {
        return match &mut known.content {
            Content::Object(inner) if !inner_names.is_empty() => keep(inner, path, inner_names, place),
            Content::Object(_) | Content::Field(_) => Err(overlap()),
        };
    }
    let content = if inner_names.is_empty() {
        Content::Field(place)
    } else {
        let mut inner = Vec::new();
        keep(&mut inner, path, inner_names, place)?;
        Content::Object(inner)
    };
    let mut json_name = serde_json::to_vec(name)?;
    json_name.push(b':');
    kept.push(Kept { json_name, name: name.clone(), content });
    Ok(())
}

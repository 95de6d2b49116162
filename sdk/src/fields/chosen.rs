//! Fields of a row that are kept, as an object again.

use serde::ser::{Error, Serialize, Serializer};
use serde_json::value::RawValue;

/// Chosen fields: each path with the JSON text of its field, or `null` where there was none. It is an object when written.
///
/// ```
/// use millstream_sdk::fields::Chosen;
///
/// let (paths, values) = (["user.id".to_owned(), "age".to_owned()], [Some("\"ada\"".to_owned()), None]);
/// let chosen = Chosen { paths: &paths, values: &values };
/// assert_eq!(millstream_sdk::serde_json::to_string(&chosen)?, r#"{"user.id":"ada","age":null}"#);
/// # Ok::<(), millstream_sdk::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'c> {
    /// The paths, as they are in the object.
    pub paths: &'c [String],
    /// The JSON texts, one for each path.
    pub values: &'c [Option<String>],
}

impl Serialize for Chosen<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = Vec::with_capacity(self.paths.len());
        for (path, value) in self.paths.iter().zip(self.values) {
            let value = value.as_deref().map(serde_json::from_str::<&RawValue>).transpose().map_err(Error::custom)?;
            pairs.push((path, value));
        }
        serializer.collect_map(pairs)
    }
}

//! What a pipeline wrote.

use std::collections::BTreeMap;
use std::fmt;

use millstream::pipeline::DEAD_LETTER_HEADER_PREFIX as PREFIX;
use millstream::record::Batch;

/// A row of a topic. For people, it shows key, value and headers as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicRow {
    /// The partition it is in.
    pub partition: u32,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its event time.
    pub timestamp: i64,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl fmt::Debug for TopicRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(lossy);
        let Self { partition, key, value, timestamp, headers } = self;
        write!(f, "{{{partition} @{timestamp} {:?} => {:?}", text(key), text(value))?;
        for (name, value) in headers {
            write!(f, ", {name}: {:?}", text(value))?;
        }
        f.write_str("}")
    }
}

impl TopicRow {
    /// The key as text; empty for null.
    pub fn key_text(&self) -> String {
        lossy(self.key.as_deref().unwrap_or_default())
    }

    /// The value as text; empty for null.
    pub fn value_text(&self) -> String {
        lossy(self.value.as_deref().unwrap_or_default())
    }

    /// The value as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let text = self.value_text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("`{text}` is no JSON: {error}"))
    }

    pub(super) fn all(partition: u32, batch: &Batch) -> Vec<Self> {
        let mut headers = batch.headers.view().rows();
        let rows = batch.timestamps.iter().zip(batch.keys.iter()).zip(batch.values.iter());
        let row = |((&timestamp, key), value)| {
            let header = |(name, value): (&[u8], Option<&[u8]>)| (lossy(name), value.map(<[u8]>::to_vec));
            let (key, value) = (Option::map(key, <[u8]>::to_vec), Option::map(value, <[u8]>::to_vec));
            let headers = headers.next().unwrap_or_default().into_iter().map(header).collect();
            Self { partition, key, value, timestamp, headers }
        };
        rows.map(row).collect()
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A row that no step could process: rejected by a plugin, or poisonous to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The step.
    pub step: String,
    /// The plugin's code, or the platform's: `trap_unreachable` for a panic.
    pub code: String,
    /// What is wrong with the row.
    pub reason: String,
    /// The row as it entered the stage: for the first one the source record.
    pub row: TopicRow,
    /// What else is known, such as `topic`, `partition` and `offset` of the source record, or `window-start`.
    pub provenance: BTreeMap<String, String>,
}

impl DeadLetter {
    pub(super) fn of(mut row: TopicRow) -> Self {
        let mut provenance = BTreeMap::new();
        row.headers.retain(|(name, value)| match name.strip_prefix(PREFIX) {
            None => true,
            Some(name) => {
                provenance.insert(name.to_owned(), lossy(value.as_deref().unwrap_or_default()));
                false
            }
        });
        let mut field = |name: &str| provenance.remove(name).unwrap_or_default();
        Self { step: field("step"), code: field("code"), reason: field("reason"), row, provenance }
    }
}

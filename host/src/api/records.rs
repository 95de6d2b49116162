//! `/v1/topics/{topic}/records`: records as JSON, for people and small programs.
//!
//! Keys and values are bytes. In JSON they are a string where they are UTF-8, and `{"base64": ".."}` where they are not;
//! what is read can be written again as it is. An append of this kind is not idempotent: for that, send
//! batches.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::caller::{Authorized, Consumer, Producer};
use super::extract::{ValidPath, ValidQuery};
use super::reading::{self, ReadFrom};
use super::{App, Error, Problem, Shared};
use crate::clock::now_ms;
use crate::ids::{Offset, PartitionId, TenantId, TopicName, TopicPartition};
use crate::log::batch::{self, EncodeOptions, Offsets};
use crate::log::{self, Fetched, Limits};
use crate::record::Batch;

/// Records of an answer where nothing is asked for.
const COUNT_DEFAULT: usize = 100;
/// Most records of an answer.
pub const COUNT_MAX: usize = 10_000;
/// Bytes of batches that an answer is made of. In JSON they are about twice as many.
const READ_BYTES: usize = 1 << 20;

/// Bytes of a key, a value or a header in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a string, {\"base64\": \"..\"} or null")]
pub enum Data {
    /// What is UTF-8.
    Text(String),
    /// What is not.
    Bytes { base64: String },
}

impl Data {
    /// These bytes in JSON.
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes { base64: BASE64.encode(bytes) },
        }
    }

    /// The bytes that are meant.
    pub fn into_bytes(self) -> Result<Vec<u8>, base64::DecodeError> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Bytes { base64 } => BASE64.decode(base64),
        }
    }
}

/// A record that is to be written, or that was read: then with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its partition. Without one, the key chooses; without a key, the server does.
    #[serde(default)]
    pub partition: Option<PartitionId>,
    /// Its offset. Means nothing in a record that is to be written.
    #[serde(default)]
    pub offset: Option<Offset>,
    /// Milliseconds since the Unix epoch. Without it, the time of the server.
    #[serde(default)]
    pub timestamp: Option<i64>,
    /// The key.
    #[serde(default)]
    pub key: Option<Data>,
    /// The value. Must be there, though it may be null.
    #[serde(deserialize_with = "present")]
    pub value: Option<Data>,
    /// The headers: names and values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(Data, Option<Data>)>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Data>, D::Error> {
    Option::deserialize(deserializer)
}

/// A record in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Record {
    /// Its bytes, and the partition it names or is sent to by its key.
    pub fn into_row(self, partitions: u32, now_ms: i64) -> Result<(Option<PartitionId>, Row), base64::DecodeError> {
        let bytes = |data: Option<Data>| data.map(Data::into_bytes).transpose();
        let key = bytes(self.key)?;
        let partition = self.partition.or_else(|| key.as_ref().map(|key| log::partition_of(key, partitions)));
        let headers = self.headers.into_iter().map(|(name, value)| Ok((name.into_bytes()?, bytes(value)?)));
        let headers = headers.collect::<Result<_, _>>()?;
        Ok((partition, Row { timestamp: self.timestamp.unwrap_or(now_ms), key, value: bytes(self.value)?, headers }))
    }
}

impl Row {
    /// Bytes of its key and value, which the limit of a record counts.
    pub fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }

    /// Appends it to columns.
    pub fn push_to(&self, batch: &mut Batch) {
        batch.push(self.timestamp, self.key.as_deref(), self.value.as_deref());
        batch.headers.push_row(self.headers.iter().map(|(name, value)| (&name[..], value.as_deref())));
    }
}

/// Where records went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// How many were written.
    pub records: u64,
    /// Where they are, partition by partition.
    pub partitions: Vec<WrittenPartition>,
}

/// Where the records of one partition are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenPartition {
    pub partition: PartitionId,
    /// Offset of the first.
    pub base_offset: Offset,
    /// Offset after the last.
    pub next_offset: Offset,
}

/// Records of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Where to read on.
    pub next_offset: Offset,
    /// The oldest record of the partition.
    pub start_offset: Offset,
    /// The end of the partition.
    pub end_offset: Offset,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    #[serde(default)]
    partition: PartitionId,
    #[serde(default)]
    offset: ReadFrom,
    limit: Option<usize>,
    #[serde(default)]
    wait_ms: u64,
}

pub(super) async fn append(
    caller: Authorized<Producer>,
    State(app): Shared,
    ValidPath(topic): ValidPath<TopicName>,
    request: Request,
) -> Result<Json<Written>, Problem> {
    let body = app.body(request, Limits::default().append_bytes_max).await?;
    let partitions = app.log.topic(&caller.tenant, &topic).await?.config.partitions;
    let batches = app.off_thread(move |_| sort(&body.bytes, partitions)).await?;
    let mut pending = Vec::new();
    let mut records = 0;
    for (partition, batch) in batches {
        records += batch.len() as u64;
        let at = TopicPartition { topic: topic.clone(), partition };
        let encoded = batch::encode(batch.view(), &EncodeOptions::default());
        // Tasks, so that one sync serves all partitions.
        let app = app.clone();
        let tenant = caller.tenant.clone();
        pending.push((partition, tokio::spawn(async move { app.append(&tenant, &at, encoded).await })));
    }
    let mut partitions = Vec::with_capacity(pending.len());
    for (partition, appended) in pending {
        let appended = appended.await.map_err(|error| Error::Fault { reason: error.to_string() })??;
        let (base_offset, next_offset) = (appended.base_offset, appended.next_offset);
        partitions.push(WrittenPartition { partition, base_offset, next_offset });
    }
    Ok(Json(Written { records, partitions }))
}

/// Parses JSON lines and sorts the records by partition.
fn sort(lines: &[u8], partitions: u32) -> Result<BTreeMap<PartitionId, Batch>, Error> {
    /// Where the records of the next request without keys go: each request to one partition, for larger batches.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let keyless = NEXT.fetch_add(1, Ordering::Relaxed) % partitions;
    let now_ms = now_ms();
    let mut sorted: BTreeMap<PartitionId, Batch> = BTreeMap::new();
    for (number, line) in (1..).zip(lines.split(|&byte| byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let place = || format!("line {number} of the body");
        let record: Record = serde_json::from_slice(line).map_err(|error| Error::invalid(place(), error))?;
        let (partition, row) = record.into_row(partitions, now_ms).map_err(|error| Error::invalid(place(), error))?;
        row.push_to(sorted.entry(partition.unwrap_or(keyless)).or_default());
    }
    if sorted.is_empty() {
        return Err(Error::invalid("body", "it has no records: send one JSON object a line"));
    }
    Ok(sorted)
}

pub(super) async fn read(
    caller: Authorized<Consumer>,
    State(app): Shared,
    ValidPath(topic): ValidPath<TopicName>,
    ValidQuery(query): ValidQuery<Query>,
) -> Result<Response, Problem> {
    let at = TopicPartition { topic, partition: query.partition };
    let count = query.limit.unwrap_or(COUNT_DEFAULT).clamp(1, COUNT_MAX);
    let wait = Duration::from_millis(query.wait_ms);
    let page = read_page(&app, &caller.tenant, &at, query.offset, count, wait).await?;
    let json = app.off_thread(move |_| to_json(&page)).await?;
    Ok(([("content-type", "application/json")], app.budget.answer([json])?).into_response())
}

/// Reads a page; there is a record in it if there is one behind the place, or comes in time.
pub(super) async fn read_page(
    app: &App,
    tenant: &TenantId,
    at: &TopicPartition,
    mut from: ReadFrom,
    count: usize,
    wait: Duration,
) -> Result<Page, Problem> {
    loop {
        let (offset, fetched) = reading::fetch(app, tenant, at, from, READ_BYTES, wait).await?;
        let of = at.clone();
        let page = app.off_thread(move |_| page(&of, offset, &fetched, count)).await?;
        if !page.records.is_empty() || page.next_offset == offset {
            return Ok(page);
        }
        // Compaction removed what was left of a batch: the next record is behind it.
        from = ReadFrom::At(page.next_offset);
    }
}

/// An answer's bytes.
pub(super) fn to_json<T: Serialize>(answer: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(answer).map(Bytes::from).map_err(|error| Error::Fault { reason: error.to_string() })
}

/// At most `count` records from `offset` on.
pub(super) fn page(
    at: &TopicPartition,
    mut offset: Offset,
    fetched: &Fetched,
    count: usize,
) -> Result<Page, log::Error> {
    let mut records = Vec::new();
    for encoded in &fetched.batches {
        if records.len() == count {
            break;
        }
        let (mut batch, mut offsets) = (Batch::default(), Offsets::default());
        let decoded = batch::decode_with_offsets(encoded, offset, true, &mut batch, &mut offsets);
        let end = decoded.map_err(|error| log::Error::Corrupt {
            what: format!("the batch of `{at}` at or before offset {offset}"),
            reason: error.to_string(),
        })?;
        let rows =
            batch.timestamps.iter().zip(batch.keys.iter().zip(batch.values.iter())).zip(batch.headers.view().rows());
        for (place, ((&timestamp, (key, value)), headers)) in offsets.iter().zip(rows).take(count - records.len()) {
            records.push(Record {
                partition: Some(at.partition),
                offset: Some(place),
                timestamp: Some(timestamp),
                key: key.map(Data::of),
                value: value.map(Data::of),
                headers: headers.into_iter().map(|(name, value)| (Data::of(name), value.map(Data::of))).collect(),
            });
        }
        let last = records.last().and_then(|record| record.offset);
        offset = match last {
            Some(last) if offsets.next().is_some_and(|next| next > last + 1) => last + 1,
            _ => end,
        };
    }
    Ok(Page { records, next_offset: offset, start_offset: fetched.start, end_offset: fetched.end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;

    fn refused(lines: &str) -> String {
        sort(lines.as_bytes(), 4).expect_err("it is wrong").to_string()
    }

    #[test]
    fn lines_go_to_the_partition_they_name_or_that_of_their_key() {
        let lines = "{\"value\":\"a\",\"partition\":3}\n\n{\"key\":\"k\",\"value\":null,\"timestamp\":7}\r\n";
        let sorted = sort(lines.as_bytes(), 4).expect("two records");
        let keyed = &sorted[&log::partition_of(b"k", 4)];
        assert!(keyed.timestamps.contains(&7) && keyed.keys.iter().any(|key| key == Some(b"k")));
        assert!(sorted[&3].values.iter().any(|value| value == Some(b"a")));
        assert_eq!(sorted.values().map(Batch::len).sum::<usize>(), 2);
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        let good = "{\"value\":\"a\"}\n";
        assert!(refused("\n \n").contains("no records"));
        assert!(refused(&format!("{good}{{\"key\":\"k\"}}")).starts_with("line 2 of the body: missing field `value`"));
        assert!(refused("{\"value\":1}").contains("a string, {\"base64\": \"..\"} or null"));
        assert!(refused("{\"value\":{\"base64\":\"?\"}}").starts_with("line 1 of the body: Invalid symbol"));
        assert!(refused("{\"valu\":\"\",\"value\":\"\"}").contains("unknown field `valu`"));
    }

    #[test]
    fn what_is_read_can_be_written_again() {
        let record = Record {
            partition: Some(2),
            offset: None,
            timestamp: Some(-5),
            key: Some(Data::of(b"\xff\x00")),
            value: Some(Data::of("ä".as_bytes())),
            headers: vec![(Data::of(b"h"), None), (Data::of(b"h"), Some(Data::of(b"2")))],
        };
        let line = to_json(&record).expect("JSON");
        let sorted = sort(&line, 4).expect("a record");
        let encoded = batch::encode(sorted[&2].view(), &EncodeOptions::default());
        let at = TopicPartition { topic: "t".parse().expect("a name"), partition: 2 };
        let fetched = Fetched { topic_id: TopicId(1), batches: vec![encoded], start: 0, end: 1 };
        let page = page(&at, 0, &fetched, 10).expect("a page");
        assert_eq!(page.records, [Record { offset: Some(0), ..record }]);
        assert_eq!(page.next_offset, 1);
    }

    #[test]
    fn a_page_ends_at_its_limit_and_begins_in_the_middle_of_a_batch() {
        let mut batch = Batch::default();
        for row in 0..5_u8 {
            batch.push(0, None, Some(&[b'0' + row]));
        }
        let at = TopicPartition { topic: "t".parse().expect("a name"), partition: 0 };
        let fetched = Fetched {
            topic_id: TopicId(1),
            batches: vec![batch::encode(batch.view(), &EncodeOptions::default())],
            start: 0,
            end: 5,
        };
        let page = page(&at, 1, &fetched, 3).expect("a page");
        let offsets: Vec<_> = page.records.iter().filter_map(|record| record.offset).collect();
        assert_eq!((offsets, page.next_offset), (vec![1, 2, 3], 4));
    }

    #[test]
    fn a_page_of_what_compaction_left_has_the_true_offsets_and_goes_on_behind_gaps() {
        let mut batch = Batch::default();
        (0..8_u8).for_each(|row| batch.push(0, Some(&[b'a' + row]), Some(b"v")));
        let encoded = batch::encode(batch.view(), &EncodeOptions::default());
        let retained = batch::retain(&encoded, 0, |seen| matches!(seen.offset, 1 | 4 | 5)).expect("our own batch");
        let batch::Change::Rewritten(compacted) = retained.change else { panic!("records are gone") };
        let at = TopicPartition { topic: "t".parse().expect("a name"), partition: 0 };
        let fetched = Fetched { topic_id: TopicId(1), batches: vec![compacted], start: 0, end: 9 };
        for (from, count, expected, next) in [
            (0, 10, &[1, 4, 5][..], 8),
            (0, 3, &[1, 4, 5], 8),
            (0, 2, &[1, 4], 5),
            (2, 1, &[4], 5),
            (5, 9, &[5], 8),
            (6, 9, &[], 8),
        ] {
            let page = page(&at, from, &fetched, count).expect("a page");
            let offsets: Vec<_> = page.records.iter().filter_map(|record| record.offset).collect();
            assert_eq!((offsets.as_slice(), page.next_offset), (expected, next), "{count} from {from}");
        }
    }
}

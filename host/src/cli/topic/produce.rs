//! `millstream topic produce`: lines become records, each written once.
//!
//! Lines are gathered into record batches, one at a time for each partition, with a producer id made for this run and a
//! sequence number. A batch whose answer is lost is sent again as it is, and the server writes it once.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::Value;

use super::super::Format;
use super::super::client::Client;
use super::super::failure::Failure;
use super::super::progress;
use crate::api::records::{Record, Row};
use crate::api::topics::Topic;
use crate::clock::now_ms;
use crate::error::Kind;
use crate::ids::{PartitionId, TopicName};
use crate::log::batch::{self, Compression, EncodeOptions, Producer};
use crate::log::{Appended, Limits, partition_of};
use crate::record::Batch;

/// Bytes after which a batch is sent: large enough that a sync is a small part of it.
const BATCH_BYTES: usize = 512 << 10;
/// Records after which a batch is sent.
const BATCH_RECORDS: usize = 16_384;
/// How long a line waits for more lines to fill its batch.
const LINGER: Duration = Duration::from_millis(5);
/// Lines that are read ahead.
const LINES_AHEAD: usize = 4096;
/// How long a server that does not answer is waited for: a restart takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before the first repetition; twice as long before each next one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest wait between repetitions.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  millstream topic produce clicks --file clicks.jsonl --key-field user\n  \
                        echo hello | millstream topic produce greetings\n  \
                        millstream topic tail a -o json | millstream topic produce b --format json")]
pub(in crate::cli) struct Produce {
    /// The topic
    topic: TopicName,
    /// File to read; `-` is standard input
    #[arg(long, short, default_value = "-")]
    file: PathBuf,
    /// What a line is
    #[arg(long, value_enum, default_value_t)]
    format: Lines,
    /// Lines are JSON objects, and this field is the key
    #[arg(long, value_name = "FIELD", conflicts_with = "key")]
    key_field: Option<String>,
    /// Lines are JSON objects, and this field is the time in milliseconds since the Unix epoch
    #[arg(long, value_name = "FIELD")]
    timestamp_field: Option<String>,
    /// Key of all records
    #[arg(long)]
    key: Option<String>,
    /// Partition of all records
    #[arg(long)]
    partition: Option<PartitionId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Lines {
    /// A value
    #[default]
    Lines,
    /// A record as `topic tail -o json` prints it
    Json,
}

/// What a run wrote.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Produced {
    records: u64,
    batches: u64,
    /// Batches that were sent again and had been written the first time.
    duplicates: u64,
    repetitions: u64,
    next_offsets: BTreeMap<PartitionId, u64>,
}

impl Produce {
    pub(super) fn run(self, client: &Client, format: Format) -> Result<(), Failure> {
        let topic: Topic = client.get(&format!("/v1/topics/{}", self.topic))?;
        let (input, bar) = self.open()?;
        let (lines, gathered) = sync_channel(LINES_AHEAD);
        // Reading may block on a terminal; rows that are gathered must be sent meanwhile.
        std::thread::spawn(move || read_lines(input, &lines));
        let mut sender = Sender::new(client, &self.topic, topic.partitions.len() as u32);
        self.produce(&gathered, &mut sender, &bar)?;
        bar.finish_and_clear();
        format.show(&sender.produced, |produced| format!("{} records produced", produced.records))
    }

    fn open(&self) -> Result<(Box<dyn BufRead + Send>, ProgressBar), Failure> {
        if self.file == Path::new("-") {
            return Ok((Box::new(BufReader::new(std::io::stdin())), progress::bytes("producing", None)));
        }
        let failed = |error: std::io::Error| Failure::file("read", &self.file, &error);
        let file = File::open(&self.file).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Ok((Box::new(BufReader::new(file)), progress::bytes("producing", Some(length))))
    }

    fn produce(
        &self,
        lines: &Receiver<std::io::Result<Vec<u8>>>,
        sender: &mut Sender<'_>,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        let mut number = 0;
        loop {
            match lines.recv_timeout(LINGER) {
                Ok(line) => {
                    let line = line.map_err(|error| Failure::file("read", &self.file, &error))?;
                    number += 1;
                    bar.inc(line.len() as u64 + 1);
                    let (partition, row) = self.row(&line, number, sender.partitions)?;
                    sender.add(partition, &row)?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    sender.flush()?;
                    // Nothing to send: wait for the next line without waking up for nothing.
                    let Ok(line) = lines.recv() else { return Ok(()) };
                    let line = line.map_err(|error| Failure::file("read", &self.file, &error))?;
                    number += 1;
                    bar.inc(line.len() as u64 + 1);
                    let (partition, row) = self.row(&line, number, sender.partitions)?;
                    sender.add(partition, &row)?;
                }
                Err(RecvTimeoutError::Disconnected) => return sender.flush(),
            }
        }
    }

    /// The record of a line, and its partition where something says which.
    fn row(&self, line: &[u8], number: u64, partitions: u32) -> Result<(Option<PartitionId>, Row), Failure> {
        let wrong = |reason: String| Failure::new("invalid_record", Kind::Invalid, format!("line {number}: {reason}"));
        let limit = Limits::default().batch.record_bytes_max;
        let (partition, row) = match self.format {
            Lines::Json => {
                let record: Record = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
                record.into_row(partitions, now_ms()).map_err(|error| wrong(error.to_string()))?
            }
            Lines::Lines => {
                let (key, timestamp) = self.fields(line).map_err(wrong)?;
                let partition = key.as_ref().map(|key| partition_of(key, partitions));
                let timestamp = timestamp.unwrap_or_else(now_ms);
                (partition, Row { timestamp, key, value: Some(line.to_vec()), headers: Vec::new() })
            }
        };
        if row.bytes() > limit {
            let detail = format!("line {number}: record of {} bytes exceeds the limit of {limit} bytes", row.bytes());
            return Err(Failure::new("record_too_large", Kind::TooLarge, detail));
        }
        Ok((self.partition.or(partition), row))
    }

    /// Key and time of a line.
    fn fields(&self, line: &[u8]) -> Result<(Option<Vec<u8>>, Option<i64>), String> {
        let key = self.key.clone().map(String::into_bytes);
        if self.key_field.is_none() && self.timestamp_field.is_none() {
            return Ok((key, None));
        }
        let object: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let field = |name: &str| object.get(name).ok_or_else(|| format!("there is no field `{name}`"));
        let key = match &self.key_field {
            Some(name) => Some(match field(name)? {
                Value::String(text) => text.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            }),
            None => key,
        };
        let timestamp = match &self.timestamp_field {
            Some(name) => Some(field(name)?.as_i64().ok_or_else(|| format!("field `{name}` is not a whole number"))?),
            None => None,
        };
        Ok((key, timestamp))
    }
}

/// Reads lines until there are none or nobody wants them. A line that is too long to be a record is cut just above the
/// limit, so that it is refused and not gathered.
fn read_lines(mut input: Box<dyn BufRead + Send>, lines: &SyncSender<std::io::Result<Vec<u8>>>) {
    let longest = Limits::default().append_bytes_max as u64;
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(longest).read_until(b'\n', &mut line);
        if matches!(read, Ok(0)) {
            return;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if lines.send(read.map(|_| line)).is_err() {
            return;
        }
    }
}

/// Gathers rows into batches and sends them.
struct Sender<'a> {
    client: &'a Client,
    topic: &'a TopicName,
    partitions: u32,
    producer_id: i64,
    /// Where rows without a key go: one partition until its batch is full, for larger batches.
    keyless: PartitionId,
    gathered: BTreeMap<PartitionId, Batch>,
    sequences: BTreeMap<PartitionId, i32>,
    produced: Produced,
}

impl<'a> Sender<'a> {
    fn new(client: &'a Client, topic: &'a TopicName, partitions: u32) -> Self {
        // Keys of hash maps are random: 63 bits of them are an id that no other run has.
        let random = RandomState::new().build_hasher().finish();
        Self {
            client,
            topic,
            partitions: partitions.max(1),
            producer_id: (random >> 1) as i64,
            keyless: random as u32 % partitions.max(1),
            gathered: BTreeMap::new(),
            sequences: BTreeMap::new(),
            produced: Produced::default(),
        }
    }

    fn add(&mut self, partition: Option<PartitionId>, row: &Row) -> Result<(), Failure> {
        let partition = partition.unwrap_or(self.keyless);
        let batch = self.gathered.entry(partition).or_default();
        row.push_to(batch);
        if batch.payload_bytes() < BATCH_BYTES && batch.len() < BATCH_RECORDS {
            return Ok(());
        }
        let batch = std::mem::take(batch);
        self.keyless = (self.keyless + 1) % self.partitions;
        self.send(partition, &batch)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        for (partition, batch) in std::mem::take(&mut self.gathered) {
            if !batch.is_empty() {
                self.send(partition, &batch)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, partition: PartitionId, batch: &Batch) -> Result<(), Failure> {
        let sequence = self.sequences.entry(partition).or_default();
        let producer = Producer { id: self.producer_id, epoch: 0, base_sequence: *sequence };
        let options = EncodeOptions { compression: Compression::Lz4, producer: Some(producer) };
        let encoded = batch::encode(batch.view(), &options);
        // Sequences begin at 0 again after the largest, as Kafka's do.
        *sequence = ((i64::from(*sequence) + batch.len() as i64) & i64::from(i32::MAX)) as i32;
        let path = format!("/v1/topics/{}/partitions/{partition}/batches", self.topic);
        let appended = self.send_until_answered(&path, &encoded)?;
        let produced = &mut self.produced;
        produced.records += batch.len() as u64;
        produced.batches += 1;
        produced.duplicates += u64::from(appended.duplicate);
        produced.next_offsets.insert(partition, appended.next_offset);
        Ok(())
    }

    /// Sends a batch again and again while the server may be coming back: it writes the batch once.
    fn send_until_answered(&mut self, path: &str, encoded: &[u8]) -> Result<Appended, Failure> {
        let since = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.client.put_bytes("POST", path, "application/octet-stream", encoded) {
                Err(failure) if failure.retry() && since.elapsed() < PATIENCE => {
                    self.produced.repetitions += 1;
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                answered => return answered,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        produce: Produce,
    }

    fn row(arguments: &[&str], line: &str) -> Result<(Option<PartitionId>, Row), Failure> {
        let arguments = ["test", "topic"].iter().chain(arguments);
        Line::parse_from(arguments).produce.row(line.as_bytes(), 7, 4)
    }

    #[test]
    fn a_line_is_a_value_and_fields_of_it_are_key_and_time() {
        let (partition, plain) = row(&[], "hello").expect("a record");
        assert_eq!((partition, plain.key, plain.value), (None, None, Some(b"hello".to_vec())));
        let line = r#"{"user":"ann","n":5,"at":1700000000000}"#;
        let (partition, keyed) = row(&["--key-field", "user", "--timestamp-field", "at"], line).expect("a record");
        assert_eq!((partition, keyed.timestamp), (Some(partition_of(b"ann", 4)), 1_700_000_000_000));
        assert_eq!(row(&["--key-field", "n"], line).expect("a record").1.key, Some(b"5".to_vec()));
        assert_eq!(row(&["--partition", "3", "--key", "k"], "x").expect("a record").0, Some(3));
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let refused = |arguments: &[&str], line: &str| row(arguments, line).expect_err("refused").to_string();
        assert!(refused(&["--key-field", "user"], "{}").starts_with("error: line 7: there is no field `user`"));
        assert!(refused(&["--timestamp-field", "t"], "{\"t\":1.5}").contains("is not a whole number"));
        assert!(refused(&["--format", "json"], "{\"key\":\"k\"}").contains("line 7: missing field `value`"));
        assert!(refused(&[], &"x".repeat((1 << 20) + 1)).contains("[record_too_large]"));
    }
}

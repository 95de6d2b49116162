//! Dead letters: rows that no step could process, with everything needed to see why and to send them again.
//!
//! Key and value are the source record's, byte for byte, and its headers where the pipeline carries them; where it came
//! from and what happened is in headers that begin with [`PREFIX`]. Sending one again is a copy without those.

use super::plan::{Plan, Step};
use super::rounds;
use crate::ids::{PartitionId, TopicName, TopicPartition};
use crate::log::batch::Offsets;
use crate::plugin::{Domain, Failure, Rejected};
use crate::record::{Batch, BatchRef};
use crate::time::Window;

/// What the names of provenance headers begin with.
pub const PREFIX: &str = "millstream.";

/// Most bytes of a backtrace in a header: enough for ten frames.
const BACKTRACE_BYTES_MAX: usize = 4096;

/// Where the rows of a stage come from.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) enum Source<'a> {
    /// Records of a partition, one a row.
    Records {
        at: &'a TopicPartition,
        /// The offset of each row.
        offsets: &'a Offsets,
        /// The records as they were read.
        records: BatchRef<'a>,
        /// The round of each record; empty if all are of round 0.
        rounds: &'a [u32],
        /// The record of each row by way of which others come from records; none if they come from them directly.
        through: Option<&'a [u32]>,
    },
    /// Rows that a step with state made, or windows that it makes rows of.
    Derived {
        /// The rows; of a window its key, and the accumulator or result as value.
        rows: BatchRef<'a>,
        /// The window of each row; empty if they are not of windows.
        windows: &'a [Window],
        /// The round of each row; empty where no rows come round.
        rounds: &'a [u32],
    },
    /// A timer.
    Timer {
        /// One row: the timer's key and time.
        rows: BatchRef<'a>,
        /// What the plugin calls it.
        id: u64,
        /// What its time is measured in.
        domain: Domain,
    },
    /// Rows of several of these in one order.
    Merged(&'a MergedSource<'a>),
}

/// Where rows come from that were put into one order.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct MergedSource<'a> {
    sources: Vec<Source<'a>>,
    /// For each row, which of the sources it comes from and which row of it.
    pub(in crate::pipeline) of: Vec<(u32, u32)>,
    /// For each row, the place of its topic among the pipeline's sources; empty if all are of one topic.
    pub(in crate::pipeline) inputs: Vec<u16>,
}

impl<'a> MergedSource<'a> {
    /// Adds a source. Its number.
    pub(in crate::pipeline) fn add(&mut self, source: Source<'a>) -> u32 {
        self.sources.push(source);
        self.sources.len() as u32 - 1
    }

    fn find(&self, row: u32) -> (Source<'a>, u32) {
        let (source, row) = self.of[row as usize];
        (self.sources[source as usize], row)
    }
}

impl Source<'_> {
    /// The partition that a row came from, if rows of several are here.
    pub(in crate::pipeline) fn partition(self, row: u32) -> Option<PartitionId> {
        match self {
            Self::Records { at, .. } => Some(at.partition),
            Self::Merged(merged) => {
                let (source, row) = merged.find(row);
                source.partition(row)
            }
            Self::Derived { .. } | Self::Timer { .. } => None,
        }
    }

    /// The round of a row.
    pub(in crate::pipeline) fn round(self, row: u32) -> u32 {
        match self {
            Self::Records { rounds, through, .. } => {
                let record = through.map_or(row, |through| through[row as usize]);
                rounds.get(record as usize).copied().unwrap_or_default()
            }
            Self::Derived { rounds, .. } => rounds.get(row as usize).copied().unwrap_or_default(),
            Self::Timer { .. } => rounds::UNKNOWN,
            Self::Merged(merged) => {
                let (source, row) = merged.find(row);
                source.round(row)
            }
        }
    }
}

/// What went wrong with a row.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Cause<'a> {
    /// The stable code: the plugin's for a row it rejected, the host's for a row it failed on.
    pub(in crate::pipeline) code: &'a str,
    /// What happened.
    pub(in crate::pipeline) reason: &'a str,
    /// Where in the guest.
    pub(in crate::pipeline) backtrace: &'a [String],
}

impl<'a> From<&'a Failure> for Cause<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self { code: failure.code, reason: &failure.message, backtrace: &failure.backtrace }
    }
}

/// The rows that a plugin rejected, with the cause of each.
pub(in crate::pipeline) fn causes(rejected: &Rejected) -> impl Iterator<Item = (u32, Cause<'_>)> {
    let texts = rejected.codes.iter().zip(rejected.reasons.iter());
    rejected
        .rows
        .iter()
        .copied()
        .zip(texts)
        .map(|(row, (code, reason))| (row, Cause { code: text(code), reason: text(reason), backtrace: &[] }))
}

/// The sandbox has checked that it is UTF-8.
fn text(bytes: Option<&[u8]>) -> &str {
    std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
}

/// The dead letter of one row of a source.
pub(in crate::pipeline) fn letter(plan: &Plan, step: &Step, source: Source<'_>, row: u32, cause: Cause<'_>) -> Batch {
    let origin = row;
    let (rows, row) = match source {
        Source::Records { records, through, .. } => (records, through.map_or(row, |through| through[row as usize])),
        Source::Derived { rows, .. } | Source::Timer { rows, .. } => (rows, row),
        Source::Merged(merged) => {
            let (source, row) = merged.find(row);
            return letter(plan, step, source, row, cause);
        }
    };
    let (_, from) = rows.split_at(row as usize);
    let (one, _) = from.split_at(1);
    let mut fields = vec![
        ("tenant", plan.tenant.to_string()),
        ("pipeline", plan.name.to_string()),
        ("step", step.name.to_string()),
        ("plugin", step.plugin.to_string()),
        ("digest", step.digest.to_string()),
        ("code", cause.code.to_owned()),
        ("reason", cause.reason.to_owned()),
    ];
    match source.round(origin) {
        0 | rounds::UNKNOWN => {}
        round => fields.push(("round", round.to_string())),
    }
    if !cause.backtrace.is_empty() {
        let mut backtrace = cause.backtrace.join("\n");
        backtrace.truncate(backtrace.floor_char_boundary(BACKTRACE_BYTES_MAX));
        fields.push(("backtrace", backtrace));
    }
    match source {
        // Of these, the letter of the row's own source has been made.
        Source::Merged(_) => {}
        Source::Records { at, offsets, .. } => fields.extend([
            ("topic", at.topic.to_string()),
            ("partition", at.partition.to_string()),
            ("offset", offsets.of(row as usize).to_string()),
        ]),
        Source::Derived { windows, .. } => {
            if let Some(window) = windows.get(row as usize) {
                fields.extend([("window-start", window.start.to_string()), ("window-end", window.end.to_string())]);
            }
        }
        Source::Timer { id, domain, .. } => {
            let domain = match domain {
                Domain::Event => "event-time",
                Domain::Processing => "processing-time",
            };
            fields.extend([
                ("timer-id", id.to_string()),
                ("timer-time", one.timestamps[0].to_string()),
                ("timer-domain", domain.to_owned()),
            ]);
        }
    }
    with_provenance(one, &fields)
}

/// The dead letter of a row that was to go to a topic that needs keys, and has none: the row as it was to be written.
pub(in crate::pipeline) fn without_key(plan: &Plan, target: &TopicName, row: BatchRef<'_>) -> Batch {
    let reason = format!("the row has no key, and topic `{target}`, where it was to go, is compacted by key");
    unwritten(plan, target, row, Cause { code: "key_required", reason: &reason, backtrace: &[] })
}

/// The dead letter of a row that could not be written to its topic: the row as it was to be written.
pub(in crate::pipeline) fn unwritten(plan: &Plan, target: &TopicName, row: BatchRef<'_>, cause: Cause<'_>) -> Batch {
    let fields = [
        ("tenant", plan.tenant.to_string()),
        ("pipeline", plan.name.to_string()),
        ("code", cause.code.to_owned()),
        ("reason", cause.reason.to_owned()),
        ("output", target.to_string()),
    ];
    with_provenance(row, &fields)
}

/// One row with these headers after its own.
fn with_provenance(one: BatchRef<'_>, fields: &[(&str, String)]) -> Batch {
    let names: Vec<String> = fields.iter().map(|(name, _)| format!("{PREFIX}{name}")).collect();
    let provenance = names.iter().zip(fields).map(|(name, (_, value))| (name.as_bytes(), Some(value.as_bytes())));
    let mut letter = Batch {
        timestamps: one.timestamps.to_vec(),
        keys: one.keys.iter().collect(),
        values: one.values.iter().collect(),
        ..Batch::default()
    };
    letter.headers.push_row(one.headers.rows().flatten().chain(provenance));
    letter
}

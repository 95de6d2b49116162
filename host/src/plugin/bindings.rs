//! The types of `wit/millstream.wit` as they cross the boundary, each field in the order of the contract.
//!
//! Parameters borrow: a column is lowered out of the batch that it lies in. Results are owned: each list is one copy.
//! Lists of integers are copied as a whole both ways. Nothing here leaves the module: [`check`](super::check) turns
//! results into the host's own types.

mod processor;

use wasmtime::component::{ComponentType, Lift, Lower};

pub(super) use self::processor::{DoneResult, TimerChangesResult, TimersResult, WorkParam};
use crate::plugin::{Closed, Contribution};
use crate::record::{BatchRef, Column, ColumnRef, HeadersRef};

/// The interface that every plugin exports.
pub(super) const LIFECYCLE: &str = "millstream:plugin/lifecycle@0.1.0";
/// The interface of the world `transform`.
pub(super) const TRANSFORMER: &str = "millstream:plugin/transformer@0.1.0";
/// The interface of the world `aggregate`.
pub(super) const AGGREGATOR: &str = "millstream:plugin/aggregator@0.1.0";
/// The interface of the world `process`.
pub(super) const PROCESSOR: &str = "millstream:plugin/processor@0.1.0";
/// What a plugin exports that takes over the state of other versions.
pub(super) const MIGRATION: &str = "millstream:plugin/migration@0.1.0";
/// The import by which rows are handed over while a call runs.
pub(super) const EMISSION: &str = "millstream:plugin/emission@0.1.0";
/// The import of tables.
pub(super) const TABLE: &str = "millstream:plugin/table@0.1.0";
/// The import by which the state of keys goes on beside their values.
pub(super) const PAGES: &str = "millstream:plugin/pages@0.1.0";
/// The import of reference tables.
pub(super) const LOOKUP: &str = "millstream:plugin/lookup@0.1.0";

/// `types.headers`, as a parameter.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct HeadersParam<'a> {
    counts: &'a [u32],
    #[component(name = "name-lengths")]
    name_lengths: &'a [i32],
    names: &'a [u8],
    #[component(name = "value-lengths")]
    value_lengths: &'a [i32],
    values: &'a [u8],
}

impl<'a> From<HeadersRef<'a>> for HeadersParam<'a> {
    fn from(headers: HeadersRef<'a>) -> Self {
        Self {
            counts: headers.counts,
            name_lengths: headers.names.lengths,
            names: headers.names.bytes,
            value_lengths: headers.values.lengths,
            values: headers.values.bytes,
        }
    }
}

/// `types.batch`.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct BatchParam<'a> {
    timestamps: &'a [i64],
    #[component(name = "key-lengths")]
    key_lengths: &'a [i32],
    keys: &'a [u8],
    #[component(name = "value-lengths")]
    value_lengths: &'a [i32],
    values: &'a [u8],
    headers: HeadersParam<'a>,
}

impl<'a> From<BatchRef<'a>> for BatchParam<'a> {
    fn from(rows: BatchRef<'a>) -> Self {
        Self {
            timestamps: rows.timestamps,
            key_lengths: rows.keys.lengths,
            keys: rows.keys.bytes,
            value_lengths: rows.values.lengths,
            values: rows.values.bytes,
            headers: rows.headers.into(),
        }
    }
}

/// Lengths and bytes, as a parameter: `types.accumulators`, `processor.values`.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct ColumnParam<'a> {
    lengths: &'a [i32],
    bytes: &'a [u8],
}

impl<'a> From<ColumnRef<'a>> for ColumnParam<'a> {
    fn from(column: ColumnRef<'a>) -> Self {
        Self { lengths: column.lengths, bytes: column.bytes }
    }
}

/// `aggregator.contribution`.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct ContributionParam<'a> {
    groups: ColumnParam<'a>,
    #[component(name = "row-groups")]
    row_groups: &'a [u32],
    rows: BatchParam<'a>,
}

impl<'a> From<Contribution<'a>> for ContributionParam<'a> {
    fn from(rows: Contribution<'a>) -> Self {
        Self { groups: rows.groups.into(), row_groups: rows.row_groups, rows: rows.rows.into() }
    }
}

/// `aggregator.closed`.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct ClosedParam<'a> {
    groups: ColumnParam<'a>,
    #[component(name = "key-lengths")]
    key_lengths: &'a [i32],
    keys: &'a [u8],
    starts: &'a [i64],
    ends: &'a [i64],
}

impl<'a> From<Closed<'a>> for ClosedParam<'a> {
    fn from(windows: Closed<'a>) -> Self {
        Self {
            groups: windows.groups.into(),
            key_lengths: windows.keys.lengths,
            keys: windows.keys.bytes,
            starts: windows.starts,
            ends: windows.ends,
        }
    }
}

/// `types.headers`, as a result.
#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(super) struct HeadersResult {
    pub(super) counts: Vec<u32>,
    #[component(name = "name-lengths")]
    pub(super) name_lengths: Vec<i32>,
    pub(super) names: Vec<u8>,
    #[component(name = "value-lengths")]
    pub(super) value_lengths: Vec<i32>,
    pub(super) values: Vec<u8>,
}

/// `types.rows`.
#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(super) struct RowsResult {
    #[component(name = "source-rows")]
    pub(super) source_rows: Vec<u32>,
    pub(super) outputs: Vec<u16>,
    pub(super) timestamps: Vec<i64>,
    #[component(name = "key-lengths")]
    pub(super) key_lengths: Vec<i32>,
    pub(super) keys: Vec<u8>,
    #[component(name = "value-lengths")]
    pub(super) value_lengths: Vec<i32>,
    pub(super) values: Vec<u8>,
    pub(super) headers: HeadersResult,
}

/// `types.rejects`.
#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(super) struct RejectsResult {
    pub(super) rows: Vec<u32>,
    #[component(name = "code-lengths")]
    pub(super) code_lengths: Vec<i32>,
    pub(super) codes: Vec<u8>,
    #[component(name = "reason-lengths")]
    pub(super) reason_lengths: Vec<i32>,
    pub(super) reasons: Vec<u8>,
}

/// `types.answer`.
#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(super) struct AnswerResult {
    pub(super) rows: RowsResult,
    pub(super) rejected: RejectsResult,
}

/// Lengths and bytes, as a result: `types.accumulators`, `processor.values`, and what `table` and `lookup` answer.
#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(super) struct ColumnResult {
    pub(super) lengths: Vec<i32>,
    pub(super) bytes: Vec<u8>,
}

impl From<ColumnResult> for Column {
    fn from(column: ColumnResult) -> Self {
        Self { lengths: column.lengths, bytes: column.bytes }
    }
}

/// `aggregator.folded`.
#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(super) struct FoldedResult {
    pub(super) groups: ColumnResult,
    pub(super) rejected: RejectsResult,
}

/// `types.output`.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct OutputResult {
    pub(super) name: String,
    pub(super) summary: String,
}

/// `types.description`.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct DescriptionResult {
    pub(super) summary: String,
    #[component(name = "config-schema")]
    pub(super) config_schema: String,
    pub(super) reads: Vec<String>,
    pub(super) outputs: Vec<OutputResult>,
}

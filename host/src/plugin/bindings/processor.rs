//! The types of the interface `processor`.

use wasmtime::component::{ComponentType, Lift, Lower};

use super::{BatchParam, ColumnParam, ColumnResult, RejectsResult, RowsResult};
use crate::plugin::{Timers, Work};

/// `processor.timers`, as a parameter.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(in crate::plugin) struct TimersParam<'a> {
    groups: &'a [u32],
    ids: &'a [u64],
    times: &'a [i64],
    domains: &'a [u8],
}

impl<'a> From<&'a Timers> for TimersParam<'a> {
    fn from(timers: &'a Timers) -> Self {
        Self { groups: &timers.groups, ids: &timers.ids, times: &timers.times, domains: &timers.domains }
    }
}

/// `processor.work`.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(in crate::plugin) struct WorkParam<'a> {
    #[component(name = "group-rows")]
    group_rows: &'a [u32],
    rows: BatchParam<'a>,
    inputs: &'a [u16],
    #[component(name = "row-watermarks")]
    row_watermarks: &'a [i64],
    #[component(name = "key-lengths")]
    key_lengths: &'a [i32],
    keys: &'a [u8],
    state: ColumnParam<'a>,
    due: TimersParam<'a>,
    watermark: i64,
    #[component(name = "processing-time")]
    processing_time: i64,
}

impl<'a> From<&Work<'a>> for WorkParam<'a> {
    fn from(work: &Work<'a>) -> Self {
        Self {
            group_rows: work.group_rows,
            rows: work.rows.into(),
            inputs: work.inputs,
            row_watermarks: work.row_watermarks,
            key_lengths: work.keys.lengths,
            keys: work.keys.bytes,
            state: work.state.into(),
            due: work.due.into(),
            watermark: work.watermark,
            processing_time: work.processing_time,
        }
    }
}

/// `processor.timers`, as a result.
#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct TimersResult {
    pub(in crate::plugin) groups: Vec<u32>,
    pub(in crate::plugin) ids: Vec<u64>,
    pub(in crate::plugin) times: Vec<i64>,
    pub(in crate::plugin) domains: Vec<u8>,
}

/// `processor.timer-changes`.
#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct TimerChangesResult {
    pub(in crate::plugin) groups: Vec<u32>,
    pub(in crate::plugin) ids: Vec<u64>,
    pub(in crate::plugin) times: Vec<i64>,
    pub(in crate::plugin) domains: Vec<u8>,
    pub(in crate::plugin) sets: Vec<u8>,
}

/// `processor.done`.
#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct DoneResult {
    pub(in crate::plugin) rows: RowsResult,
    pub(in crate::plugin) rejected: RejectsResult,
    pub(in crate::plugin) state: ColumnResult,
    pub(in crate::plugin) timers: TimerChangesResult,
    pub(in crate::plugin) fired: TimersResult,
}

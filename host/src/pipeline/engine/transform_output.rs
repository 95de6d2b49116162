//! What the transforms of a stage make of rows, and where among them event time is final.
//!
//! Rows that later transforms drop, reject or route elsewhere move the watermark too, if event time is final before
//! those. So what transformed the place is remembered: its times, and its records. From there on the origin of a row is
//! which of these rows it comes from, and the record is found by way of them. So a row is never judged by what it came
//! from, nor by what came behind that, though all of it may be of one record.

use std::ops::Range;

use super::arrival::Arrival;
use super::dead_letter::Source;
use super::row_watermarks::Moving;
use super::rows::{Origins, StageRows};
use crate::time::Mark;

/// What came of rows.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct TransformOutput {
    /// The rows; none if no transform took them, so that they are what they were.
    pub(in crate::pipeline) rows: Option<StageRows>,
    timed: Timed,
}

/// The rows by which event time moves.
#[derive(Debug, Default)]
enum Timed {
    /// Those that come to the end of the transforms.
    #[default]
    Arriving,
    /// The records: no transform before the place took them.
    Read,
    /// Those that came to a place before that.
    Left { times: Vec<i64>, records: Vec<u32> },
}

impl TransformOutput {
    /// Notes that event time is final now, though another transform follows. What follows a second time changes nothing.
    pub(in crate::pipeline) fn fix_times(&mut self) {
        if !matches!(self.timed, Timed::Arriving) {
            return;
        }
        self.timed = match &mut self.rows {
            None => Timed::Read,
            Some(StageRows { batch, origins }) => {
                let themselves = (0..origins.len() as u32).collect();
                let records = std::mem::replace(origins, themselves);
                Timed::Left { times: batch.timestamps.clone(), records }
            }
        };
    }

    /// The record of each row by way of which rows come from records.
    pub(in crate::pipeline) fn records(&self) -> Option<&[u32]> {
        match &self.timed {
            Timed::Left { records, .. } => Some(records),
            Timed::Arriving | Timed::Read => None,
        }
    }

    /// Gives marks of the last transform their records.
    pub(in crate::pipeline) fn lead_back(&self, marks: &mut [(u32, Mark)]) {
        if let Some(records) = self.records() {
            marks.iter_mut().for_each(|(origin, _)| *origin = records[*origin as usize]);
        }
    }

    /// The rows by which event time moves where these rows have arrived, which come of these records.
    pub(in crate::pipeline) fn moving<'a>(&'a self, arrival: Arrival<'a>, of: Range<usize>) -> Moving<'a> {
        let all = |times: &[i64]| 0..times.len() as u32;
        match (&self.timed, arrival.source) {
            (Timed::Left { times, records }, _) => {
                Moving { range: all(times), times, records: Origins::Listed(records), sources: arrival.origins }
            }
            (Timed::Read, Source::Records { records, .. }) => Moving {
                range: of.start as u32..of.end as u32,
                times: records.timestamps,
                records: Origins::From(0),
                sources: arrival.origins,
            },
            _ => {
                let times = arrival.rows.timestamps;
                Moving { range: all(times), times, records: arrival.origins, sources: Origins::From(0) }
            }
        }
    }
}

impl<'a> Arrival<'a> {
    /// What transforms made of these rows.
    pub(in crate::pipeline) fn behind(self, transformed: &'a TransformOutput) -> Self {
        let source = match (self.source, transformed.records()) {
            (Source::Records { at, offsets, records, rounds, .. }, through @ Some(_)) => {
                Source::Records { at, offsets, records, rounds, through }
            }
            (source, _) => source,
        };
        Self { source, ..self.after(transformed.rows.as_ref()) }
    }
}

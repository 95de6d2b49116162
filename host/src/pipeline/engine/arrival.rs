//! Rows as they come to a stage, and as its keyed step gives them on.

use super::dead_letter::Source;
use super::rows::{Origins, StageRows};
use crate::ids::PartitionId;
use crate::record::{Batch, BatchRef};
use crate::time::Window;

/// Where rows come from and how they came.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Arrival<'a> {
    pub(in crate::pipeline) rows: BatchRef<'a>,
    /// The rows of `source` that they come from.
    pub(in crate::pipeline) origins: Origins<'a>,
    /// What entered the stage.
    pub(in crate::pipeline) source: Source<'a>,
    /// The partition by which it entered, where all of it entered by one.
    pub(in crate::pipeline) source_partition: PartitionId,
    /// The place of its topic among the pipeline's sources, where all of it is of one.
    pub(in crate::pipeline) input: u16,
}

impl Default for Arrival<'_> {
    /// No rows.
    fn default() -> Self {
        let source = Source::Derived { rows: BatchRef::default(), windows: &[], rounds: &[] };
        Self { rows: BatchRef::default(), origins: Origins::From(0), source, source_partition: 0, input: 0 }
    }
}

impl<'a> Arrival<'a> {
    /// The round of a row: that of the row that it comes from.
    pub(in crate::pipeline) fn round(self, row: u32) -> u32 {
        self.source.round(self.origins.of(row))
    }

    /// The partition by which a row came.
    pub(in crate::pipeline) fn partition(self, row: u32) -> PartitionId {
        self.source.partition(self.origins.of(row)).unwrap_or(self.source_partition)
    }

    /// The place of each row's topic among the pipeline's sources; none if all are of the first.
    pub(in crate::pipeline) fn inputs(self) -> Vec<u16> {
        let rows = self.rows.len() as u32;
        match self.source {
            Source::Merged(merged) if !merged.inputs.is_empty() => {
                (0..rows).map(|row| merged.inputs[self.origins.of(row) as usize]).collect()
            }
            _ if self.input == 0 => Vec::new(),
            _ => vec![self.input; self.rows.len()],
        }
    }

    /// Other rows that were made of these, if there are any.
    pub(in crate::pipeline) fn after(self, rows: Option<&'a StageRows>) -> Self {
        match rows {
            None => self,
            Some(StageRows { batch, origins }) => {
                Self { rows: batch.view(), origins: Origins::Listed(origins), ..self }
            }
        }
    }
}

/// Rows that a keyed step gives, in order.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Emission {
    pub(in crate::pipeline) rows: Batch,
    /// The watermark that rows after each may rely on.
    pub(in crate::pipeline) places: Vec<i64>,
    /// The window of each row; empty if they are not of windows.
    pub(in crate::pipeline) windows: Vec<Window>,
    /// The round of each row; empty where no rows come round.
    pub(in crate::pipeline) rounds: Vec<u32>,
}

impl Emission {
    /// The same, as they come to the next stage.
    pub(super) fn arrival(&self) -> Arrival<'_> {
        let rows = self.rows.view();
        let source = Source::Derived { rows, windows: &self.windows, rounds: &self.rounds };
        Arrival { rows, origins: Origins::From(0), source, source_partition: 0, input: 0 }
    }
}

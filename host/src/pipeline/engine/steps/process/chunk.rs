//! Rows of a chunk, grouped by key.

use std::ops::Range;

use super::NEVER;
use super::run::Unit;
use crate::pipeline::engine::gather::{Taker, gather};
use crate::pipeline::engine::plan::Step;
use crate::pipeline::engine::steps::visible;
use crate::record::{Batch, BatchRef};
use crate::state::{KeyGroups, Keyed, SlotId};

/// Rows that are processed together, and what is known at their places.
#[derive(Debug)]
pub(super) struct Chunk<'a> {
    /// The rows as they came.
    pub(super) rows: BatchRef<'a>,
    /// The watermark at the place of each, never going back.
    pub(super) marks: Vec<i64>,
    /// The watermark at the last row, by which timers are due.
    pub(super) watermark: i64,
    /// The input by which each row came, in the order of the grouped ones; none if all came by the first.
    inputs: Vec<u16>,
    /// What the plugin reads of the rows, grouped by key; none if they came so.
    grouped: Option<Batch>,
    visible: BatchRef<'a>,
    /// The row at each place among the grouped ones; empty if they came so.
    order: Vec<u32>,
    /// The watermarks of the grouped rows; empty if they came so.
    grouped_marks: Vec<i64>,
    /// Where each group ends among the grouped rows.
    ends: Vec<u32>,
    /// Takes of `rows` what the plugin leaves as it was.
    pub(super) taker: Taker<'a>,
}

/// Memory to group rows in, used chunk after chunk.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    pub(super) groups: KeyGroups,
}

impl<'a> Chunk<'a> {
    /// Groups rows, which came by these inputs. `reached` is the watermark before them.
    pub(super) fn new(
        step: &Step,
        rows: BatchRef<'a>,
        known: &[i64],
        reached: i64,
        inputs: Vec<u16>,
        state: &mut Keyed,
        grouping: &mut Grouping,
    ) -> Self {
        let mut watermark = reached;
        let marks: Vec<i64> = known
            .iter()
            .map(|&mark| {
                watermark = watermark.max(mark);
                watermark
            })
            .collect();
        state.group(rows.keys, &mut grouping.groups);
        let KeyGroups { slots, row_groups, .. } = &grouping.groups;
        let mut ends = vec![0_u32; slots.len()];
        row_groups.iter().for_each(|&group| ends[group as usize] += 1);
        let visible = visible(step, rows);
        let mut chunk = Self {
            rows,
            marks,
            watermark,
            inputs,
            grouped: None,
            visible,
            order: Vec::new(),
            grouped_marks: Vec::new(),
            ends,
            taker: Taker::new(rows),
        };
        if row_groups.is_sorted() {
            running_sum(&mut chunk.ends);
        } else {
            chunk.order = sort(row_groups, &mut chunk.ends);
            chunk.grouped = Some(gather(visible, &chunk.order));
            chunk.grouped_marks = chunk.order.iter().map(|&row| chunk.marks[row as usize]).collect();
            if !chunk.inputs.is_empty() {
                chunk.inputs = chunk.order.iter().map(|&row| chunk.inputs[row as usize]).collect();
            }
        }
        chunk
    }

    /// No rows, when only time moves on.
    pub(super) fn empty(watermark: i64) -> Self {
        Self {
            rows: BatchRef::default(),
            marks: Vec::new(),
            watermark,
            inputs: Vec::new(),
            grouped: None,
            visible: BatchRef::default(),
            order: Vec::new(),
            grouped_marks: Vec::new(),
            ends: Vec::new(),
            taker: Taker::default(),
        }
    }

    /// The watermark before the first row.
    pub(super) fn before(&self) -> i64 {
        self.marks.first().copied().unwrap_or(NEVER)
    }

    /// One unit a group, with all that is due of it.
    pub(super) fn units(&self, slots: &[SlotId]) -> Vec<Unit> {
        let mut start = 0;
        let unit = |(&slot, &end): (&SlotId, &u32)| {
            let rows = std::mem::replace(&mut start, end)..end;
            Unit { rows, ..Unit::timers(slot, self.watermark, true) }
        };
        slots.iter().zip(&self.ends).map(unit).collect()
    }

    /// What the plugin reads of the grouped rows.
    pub(super) fn grouped(&self) -> BatchRef<'_> {
        self.grouped.as_ref().map_or(self.visible, Batch::view)
    }

    /// The watermarks of the grouped rows.
    pub(super) fn grouped_marks(&self) -> &[i64] {
        if self.order.is_empty() { &self.marks } else { &self.grouped_marks }
    }

    /// The inputs by which grouped rows came; none if all came by the first.
    pub(super) fn inputs(&self, rows: Range<usize>) -> &[u16] {
        if self.inputs.is_empty() { &[] } else { &self.inputs[rows] }
    }

    /// The row at a place among the grouped ones.
    pub(super) fn row(&self, place: u32) -> u32 {
        self.order.get(place as usize).copied().unwrap_or(place)
    }

    /// Bytes of keys and values of the row at a place among the grouped ones.
    pub(super) fn row_bytes(&self, place: u32) -> usize {
        let row = self.row(place) as usize;
        (self.rows.keys.lengths[row].max(0) + self.rows.values.lengths[row].max(0)) as usize
    }

    /// The first row at whose place the watermark has reached a time.
    pub(super) fn reached(&self, time: i64) -> u32 {
        self.marks.partition_point(|&mark| mark < time || mark == NEVER) as u32
    }
}

/// Counts become ends.
fn running_sum(counts: &mut [u32]) {
    let mut sum = 0;
    for count in counts {
        sum += *count;
        *count = sum;
    }
}

/// The rows by group, each group's in the order they came. Counts of groups become ends.
pub(super) fn sort(row_groups: &[u32], counts: &mut [u32]) -> Vec<u32> {
    running_sum(counts);
    let mut at: Vec<u32> = std::iter::once(0).chain(counts.iter().copied()).take(counts.len()).collect();
    let mut order = vec![0; row_groups.len()];
    for (row, &group) in (0..).zip(row_groups) {
        let at = &mut at[group as usize];
        order[*at as usize] = row;
        *at += 1;
    }
    order
}

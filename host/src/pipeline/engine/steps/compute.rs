//! A program of keyed windows, computed level by level, one call of the guest for all keys at once.
//!
//! Failed calls are taken apart as everywhere: a row that cannot be added is left out, a keyed window that cannot be merged
//! stays out of the merge, a result that cannot be made is missing, and each is a dead letter. A row that is left out
//! still counts as one that came: its session lasts as long as if it had been added.

use std::collections::HashSet;

use super::finish::{Firing, finish};
use super::windows::untouched;
use super::{Sink, Stop, visible};
use crate::pipeline::engine::arrival::{Arrival, Emission};
use crate::pipeline::engine::calls::Calls;
use crate::pipeline::engine::dead_letter::{Source, causes};
use crate::pipeline::engine::gather::{Taker, gather};
use crate::pipeline::engine::outputs::extend;
use crate::pipeline::engine::plan::Fold;
use crate::pipeline::engine::rows::Origins;
use crate::plugin::{Contribution, Failure};
use crate::record::{Batch, BatchRef, Column};
use crate::state::KeyedWindows;
use crate::state::keyed_windows::{NodeId, Origin, Program, Values};

/// Bytes of contents that may wait to be made results of: they are copies, and one row may cause many.
const WAITING_BYTES: usize = 4 << 20;
/// No group.
const NO_GROUP: u32 = u32::MAX;

/// The rows that a program is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) arrival: Arrival<'a>,
    pub(super) taker: &'a Taker<'a>,
}

/// Computes a program and lets the keyed windows take in what it comes to; results are appended to `emission`. If it stops before
/// its end, the keyed windows are as if nothing had been planned.
pub(super) async fn compute(
    fold: &Fold,
    keyed_windows: &mut KeyedWindows,
    program: &Program,
    rows: Rows<'_>,
    sink: &mut Sink<'_>,
    emission: &mut Emission,
) -> Result<(), Stop> {
    let values = Values::new(keyed_windows, program);
    let groups = vec![NO_GROUP; program.nodes.len()];
    let mut run = Run {
        fold,
        keyed_windows,
        program,
        values,
        groups,
        waiting: Vec::new(),
        contents: Column::default(),
        lost: HashSet::new(),
        results: Batch::default(),
        causes: Vec::new(),
    };
    let computed = run.run(rows, sink).await;
    let Run { mut values, results, causes, .. } = run;
    if let Err(stop) = computed {
        keyed_windows.undo();
        return Err(stop);
    }
    sink.usage.windows_closed += program.ended;
    if keyed_windows.settle(program, &mut values) {
        sink.may_retreat = false;
    }
    collect(program, &results, &causes, emission);
    Ok(())
}

struct Run<'a> {
    fold: &'a Fold,
    keyed_windows: &'a KeyedWindows,
    program: &'a Program,
    values: Values,
    /// The group of each node in the call that is being made.
    groups: Vec<u32>,
    /// Results that wait to be made, and their contents.
    waiting: Vec<u32>,
    contents: Column,
    /// Rows that have become dead letters: one that is in several windows becomes one once.
    lost: HashSet<u32>,
    /// Rows of results, and for each which result it is of.
    results: Batch,
    causes: Vec<u32>,
}

impl Run<'_> {
    async fn run(&mut self, rows: Rows<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
        for level in 0..self.program.levels() {
            if let Some(merges) = self.program.merges.get(level).filter(|merges| !merges.is_empty()) {
                self.merge(merges, sink).await?;
            }
            if let Some(adds) = self.program.adds.get(level).filter(|adds| !adds.is_empty()) {
                self.add(adds, rows, sink).await?;
            }
            for &fire in self.program.ready.get(level).map_or(&[][..], Vec::as_slice) {
                self.ready(fire, sink);
                if self.contents.bytes.len() > WAITING_BYTES {
                    self.give(sink).await?;
                }
            }
        }
        self.give(sink).await
    }

    fn value(&self, node: NodeId) -> Option<&[u8]> {
        self.values.get(self.keyed_windows, self.program, node)
    }

    /// Adds rows to nodes.
    async fn add(&mut self, adds: &[(u32, NodeId)], rows: Rows<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
        let all = adds.len() == rows.arrival.rows.len() && (0..).zip(adds).all(|(at, &(row, _))| at == row);
        let (picked, origins): (Batch, Vec<u32>);
        let arrival = if all {
            rows.arrival
        } else {
            picked = rows.taker.take(adds.iter().map(|&(row, _)| row));
            origins = adds.iter().map(|&(row, _)| rows.arrival.origins.of(row)).collect();
            Arrival { rows: picked.view(), origins: Origins::Listed(&origins), ..rows.arrival }
        };
        let mut calls = Calls::new(arrival.rows);
        while let Some((at, rows)) = calls.next() {
            let (nodes, row_groups, groups) = self.group(&adds[at..at + rows.len()]);
            let rows_seen = visible(&self.fold.step, rows);
            let contribution = Contribution { groups: groups.view(), row_groups: &row_groups, rows: rows_seen };
            match self.fold.guest.add(contribution).await {
                Ok(called) => {
                    sink.succeeded(called.fuel);
                    let untouched = untouched(&row_groups, nodes.len(), &called.answer);
                    for ((group, &node), value) in (0..).zip(&nodes).zip(called.answer.groups.iter()) {
                        if untouched.binary_search(&group).is_err()
                            && let Some(value) = value
                        {
                            self.values.set(node, value);
                        }
                    }
                    for (row, cause) in causes(&called.answer.rejected) {
                        let place = at + row as usize;
                        if self.lost.insert(adds[place].0) {
                            let origin = arrival.origins.of(place as u32);
                            sink.dead_letter(&self.fold.step, arrival.source, origin, cause, arrival.source_partition);
                        }
                    }
                }
                Err(failure) if failure.guest && rows.len() == 1 && self.lost.contains(&adds[at].0) => {
                    sink.failed_again(&failure)
                }
                Err(failure) => {
                    sink.failed(&self.fold.step, failure, &mut calls, (at, rows), arrival)?;
                    if rows.len() == 1 {
                        self.lost.insert(adds[at].0);
                    }
                }
            }
        }
        for &(_, node) in adds {
            // A node is there once for each of its rows; its base is used once.
            let Origin::Add { base } = self.program.nodes[node as usize].origin else { continue };
            if std::mem::replace(&mut self.groups[node as usize], NO_GROUP) == NO_GROUP {
                continue;
            }
            if self.values.is_open(node) {
                self.values.set_same(node, base);
            }
            self.values.mark_incomplete(node, self.values.is_incomplete(base));
            self.values.used(base);
        }
        Ok(())
    }

    /// The groups of a call: their nodes, the group of each row, and what each has so far.
    fn group(&mut self, adds: &[(u32, NodeId)]) -> (Vec<NodeId>, Vec<u32>, Column) {
        let (mut nodes, mut row_groups, mut groups) = (Vec::new(), Vec::with_capacity(adds.len()), Column::default());
        for &(_, node) in adds {
            let known = self.groups[node as usize];
            if nodes.get(known as usize) == Some(&node) {
                row_groups.push(known);
                continue;
            }
            let group = nodes.len() as u32;
            self.groups[node as usize] = group;
            nodes.push(node);
            row_groups.push(group);
            groups.push(match self.program.nodes[node as usize].origin {
                Origin::Add { base } if self.values.is_open(node) => self.value(base),
                _ => self.value(node),
            });
        }
        (nodes, row_groups, groups)
    }

    /// Merges pairs of nodes. No call is needed for a pair with an empty half.
    async fn merge(&mut self, merges: &[NodeId], sink: &mut Sink<'_>) -> Result<(), Stop> {
        let mut pairs = Vec::with_capacity(merges.len());
        let (mut lefts, mut rights) = (Column::default(), Column::default());
        for &node in merges {
            let Origin::Merge { left, right, .. } = self.program.nodes[node as usize].origin else { continue };
            let incomplete = self.values.is_incomplete(left) || self.values.is_incomplete(right);
            self.values.mark_incomplete(node, incomplete);
            match (self.value(left), self.value(right)) {
                (Some(one), Some(other)) => {
                    lefts.push(Some(one));
                    rights.push(Some(other));
                    pairs.push(node);
                }
                (None, _) => self.settle_merge(node, Some(right)),
                (_, None) => self.settle_merge(node, Some(left)),
            }
        }
        let times = vec![0; pairs.len()];
        let rows = BatchRef { timestamps: &times, keys: lefts.view(), values: rights.view(), ..BatchRef::default() };
        let mut calls = Calls::new(rows);
        while let Some((at, rows)) = calls.next() {
            let nodes = &pairs[at..at + rows.len()];
            match self.fold.guest.merge(rows.keys, rows.values).await {
                Ok(called) => {
                    sink.succeeded(called.fuel);
                    for (&node, value) in nodes.iter().zip(called.answer.iter()) {
                        self.values.set(node, value.unwrap_or_default());
                        self.settle_merge(node, None);
                    }
                }
                Err(failure) => self.failed_merge(failure, &mut calls, (at, rows), nodes, sink)?,
            }
        }
        Ok(())
    }

    /// Ends a merge. `other` is the node whose value it has, if none was made.
    fn settle_merge(&mut self, node: NodeId, other: Option<NodeId>) {
        let Origin::Merge { left, right, .. } = self.program.nodes[node as usize].origin else { return };
        if let Some(other) = other {
            self.values.set_same(node, other);
        }
        self.values.used(left);
        self.values.used(right);
    }

    /// Takes a failed merge apart. What cannot be merged becomes a dead letter of its key and window; the earlier part
    /// stays.
    fn failed_merge<'b>(
        &mut self,
        failure: Failure,
        calls: &mut Calls<'b>,
        (at, rows): (usize, BatchRef<'b>),
        nodes: &[NodeId],
        sink: &mut Sink<'_>,
    ) -> Result<(), Stop> {
        let Some(Origin::Merge { left, key, window, .. }) =
            nodes.first().map(|&node| self.program.nodes[node as usize].origin)
        else {
            return Ok(());
        };
        let key: Column = [self.keyed_windows.key(key)].into_iter().collect();
        let times = [window.last()];
        let lost =
            BatchRef { timestamps: &times, keys: key.view(), values: rows.values.split_at(1).0, ..BatchRef::default() };
        let windows = [window];
        let alone = Arrival {
            rows: lost,
            source: Source::Derived { rows: lost, windows: &windows, rounds: &[] },
            ..Arrival::default()
        };
        // A pair alone is not halved, and its letter is the first of `alone`.
        let place = if nodes.len() == 1 { 0 } else { at };
        sink.failed(&self.fold.step, failure, calls, (place, rows), alone)?;
        if let [node] = nodes {
            self.values.mark_incomplete(*node, true);
            self.settle_merge(*node, Some(left));
        }
        Ok(())
    }

    /// Lets a result wait to be made, if there is anything new in it.
    fn ready(&mut self, number: u32, sink: &mut Sink<'_>) {
        let fire = self.program.fires[number as usize];
        let (before, after) = fire.change;
        let same = self.values.resolve(before) == self.values.resolve(after);
        let content = self.values.get(self.keyed_windows, self.program, fire.node);
        sink.usage.windows_closed += u64::from(fire.at_end && (content.is_some() || fire.again));
        if let (Some(content), false) = (content, same) {
            sink.usage.windows_updated += u64::from(!fire.at_end);
            self.contents.push(Some(content));
            self.waiting.push(number);
        }
        self.values.used(fire.node);
    }

    /// Makes the results that wait.
    async fn give(&mut self, sink: &mut Sink<'_>) -> Result<(), Stop> {
        let waiting = std::mem::take(&mut self.waiting);
        let contents = std::mem::take(&mut self.contents);
        if waiting.is_empty() {
            return Ok(());
        }
        let fires = || waiting.iter().map(|&number| self.program.fires[number as usize]);
        let keys: Column = fires().map(|fire| self.keyed_windows.key(fire.key)).collect();
        let windows: Vec<_> = fires().map(|fire| fire.window).collect();
        let times: Vec<_> = fires().map(|fire| fire.time).collect();
        let firing = Firing { windows: &windows, times: &times, keys: keys.view(), accumulators: contents.view() };
        let rows = finish(self.fold, firing, sink).await?;
        self.causes.extend(rows.origins.iter().map(|&origin| waiting[origin as usize]));
        extend(&mut self.results, rows.batch.view());
        Ok(())
    }
}

/// Appends results in the order of their causes.
fn collect(program: &Program, results: &Batch, causes: &[u32], emission: &mut Emission) {
    let mut order: Vec<u32> = (0..causes.len() as u32).collect();
    if causes.is_sorted() {
        extend(&mut emission.rows, results.view());
    } else {
        order.sort_by_key(|&row| causes[row as usize]);
        let sorted = gather(results.view(), &order);
        extend(&mut emission.rows, sorted.view());
    }
    let fires = order.iter().map(|&row| program.fires[causes[row as usize] as usize]);
    for fire in fires {
        emission.places.push(fire.place);
        emission.windows.push(fire.window);
    }
}

//! What a step with state of its own was given and answered, key by key: what micro-batches were cut into is not in it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::answers::{Cell, Out, by_source, differing};
use crate::plugin::{AS_SOURCE, Domain, Done, Work};

/// Timers of the clock.
const CLOCK: u8 = Domain::Processing as u8;

/// What a step was given and answered.
#[derive(Debug, Default)]
pub(super) struct Trace(BTreeMap<Option<Vec<u8>>, KeyTrace>);

/// The same of one key.
#[derive(Debug, Default)]
struct KeyTrace {
    /// Its rows, in their order.
    rows: Vec<RowGiven>,
    /// What came of each row and timer.
    answers: BTreeMap<Source, Vec<Out>>,
    /// Its state after the last call, where that was seen.
    state: Option<Option<Vec<u8>>>,
    /// Whether it may differ: a timer emitted in parts, so that an answer may have been dropped and asked for again, or the
    /// clock set something off, which has no place among the rows.
    may_differ: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct RowGiven {
    time: i64,
    value: Option<Vec<u8>>,
    input: u16,
    /// The watermark at its place.
    mark: i64,
}

/// What an answer is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// The row of that number among the key's.
    Row(usize),
    /// Each time that a timer of this domain and id fires.
    Timer(u8, u64),
}

impl Trace {
    /// Notes a call. `pages` says that state may go on in pages, and what of it is where depends on the calls.
    pub(super) fn note(&mut self, work: &Work<'_>, done: &Done, pages: bool) {
        let rows = work.rows.len();
        let sources = rows + work.due.groups.len() + done.fired.groups.len();
        let times = [work.rows.timestamps, &work.due.times, &done.fired.times].concat();
        let mut answers = by_source(sources, work.rows, &times, done.pieces(), &done.rejected);
        let timers = answers.split_off(rows);
        let mut answers = answers.into_iter();
        let mut values = work.rows.values.iter();
        let mut states = done.state.iter().zip(&done.state.lengths);
        let keys: Vec<Option<Vec<u8>>> = work.keys.iter().map(|key| key.map(<[u8]>::to_vec)).collect();
        let mut start = 0;
        for (group, (key, &count)) in (0..).zip(keys.iter().zip(work.group_rows)) {
            let trace = self.0.entry(key.clone()).or_default();
            trace.may_differ |= done.going_on.contains(&group);
            let range: Range<usize> = start..start + count as usize;
            start = range.end;
            for row in range {
                trace.answers.insert(Source::Row(trace.rows.len()), answers.next().unwrap_or_default());
                trace.rows.push(RowGiven {
                    time: work.rows.timestamps[row],
                    value: values.next().flatten().map(<[u8]>::to_vec),
                    input: work.inputs.get(row).copied().unwrap_or_default(),
                    mark: work.row_watermarks.get(row).copied().unwrap_or(work.watermark),
                });
            }
            if let Some((state, &length)) = states.next().filter(|(_, length)| !pages && **length != AS_SOURCE) {
                debug_assert!(length >= -1, "answers are checked");
                trace.state = Some(state.map(<[u8]>::to_vec));
            }
        }
        for timers in [work.due, &done.fired, &done.timers.timers] {
            for (&group, _) in timers.groups.iter().zip(&timers.domains).filter(|(_, domain)| **domain == CLOCK) {
                if let Some(trace) = keys.get(group as usize).and_then(|key| self.0.get_mut(key)) {
                    trace.may_differ = true;
                }
            }
        }
        let due = work.due.groups.iter().zip(work.due.domains.iter().zip(&work.due.ids));
        let fired = done.fired.groups.iter().zip(done.fired.domains.iter().zip(&done.fired.ids));
        for ((&group, (&domain, &id)), outs) in due.chain(fired).zip(timers) {
            if let Some(trace) = keys.get(group as usize).and_then(|key| self.0.get_mut(key)) {
                trace.answers.entry(Source::Timer(domain, id)).or_default().extend(outs);
            }
        }
    }

    /// The first difference to another trace, among keys that were given the same: what was asked, and both answers.
    ///
    /// Keys that were given other rows, or the same at other watermarks, say nothing: what differs is before this step, or
    /// something that may.
    pub(super) fn difference(&self, cut: &Self) -> Option<(String, String, String)> {
        let pairs = self.0.iter().filter_map(|(key, whole)| Some((key, whole, cut.0.get(key)?)));
        let mut same = pairs.filter(|(_, whole, cut)| whole.rows == cut.rows && !whole.may_differ && !cut.may_differ);
        same.find_map(|(key, whole, cut)| whole.difference(&Cell::Given(key.clone()), cut))
    }
}

impl KeyTrace {
    fn difference(&self, key: &Cell, cut: &Self) -> Option<(String, String, String)> {
        let none = Vec::new();
        for source in self.answers.keys().chain(cut.answers.keys()) {
            let of = |trace: &'_ Self| trace.answers.get(source).unwrap_or(&none).clone();
            let (whole, cut) = (of(self), of(cut));
            if whole != cut {
                let (whole, cut) = differing(&whole, &cut);
                return Some((self.source(*source, key), whole, cut));
            }
        }
        match (&self.state, &cut.state) {
            (Some(whole), Some(cut)) if whole != cut => {
                let state = |state: &Option<Vec<u8>>| format!("the state {}", Cell::Given(state.clone()));
                Some((format!("key {key} after all its rows"), state(whole), state(cut)))
            }
            _ => None,
        }
    }

    fn source(&self, source: Source, key: &Cell) -> String {
        match source {
            Source::Timer(_, id) => format!("timer {id} of key {key}"),
            Source::Row(number) => {
                let row = &self.rows[number];
                let value = Cell::Given(row.value.clone());
                format!("row {} of key {key} with the value {value} at {}", number + 1, row.time)
            }
        }
    }
}

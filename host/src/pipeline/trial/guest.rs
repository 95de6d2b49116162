//! A guest in a trial: what it answers is compared with what it answers to the same rows in smaller calls.
//!
//! Calls of all functions but `process` are told all that they depend on, so they are cut here, call by call. What `process`
//! is told comes from state, timers and tables, so the engine cuts its rows into micro-batches instead, and what it was
//! asked and answered is noted.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Trial;
use super::answers::{Cell, Out, by_source, differing, row};
use crate::pipeline::engine::gather::{slice, slice_column};
use crate::plugin::{
    Aggregator, Answer, Call, Called, Closed, Contribution, Description, Done, Failure, Folded, Guest, Metric,
    Migrator, Plugin, Processor, Stateful, Transformer, Work,
};
use crate::record::{BatchRef, Column, ColumnRef};

/// A guest of some world in a trial.
#[derive(Debug)]
struct Tried<G: ?Sized> {
    /// The number of its step.
    step: usize,
    guest: Arc<G>,
    trial: Arc<Trial>,
}

/// The guest of the step of that number as it is in a trial.
pub(super) fn tried(step: usize, guest: Guest, trial: &Arc<Trial>) -> Guest {
    let trial = Arc::clone(trial);
    match guest {
        Guest::Transform(guest) => Guest::Transform(Arc::new(Tried { step, guest, trial })),
        Guest::Aggregate(guest) => Guest::Aggregate(Arc::new(Tried { step, guest, trial })),
        Guest::Process(guest) => Guest::Process(Arc::new(Tried { step, guest, trial })),
    }
}

impl<G: ?Sized> Tried<G> {
    /// The parts into which a call of so many rows is cut: each row by itself, and all in two. None of a call that is not
    /// worth it.
    fn parts(&self, rows: usize) -> Vec<Range<usize>> {
        if rows < 2 || !self.trial.whole.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let middle = (rows * 2).div_ceil(3);
        let halves = if rows > 2 { vec![0..middle, middle..rows] } else { Vec::new() };
        (0..rows).map(|row| row..row + 1).chain(halves).collect()
    }

    /// Calls again for a part. None if that fails, as it may by limits: then there is nothing to compare.
    async fn again<T>(&self, call: Call<'_, T>) -> Result<Option<T>, Failure> {
        match self.trial.call(call).await {
            Ok(called) => Ok(Some(called.answer)),
            Err(failure) if failure.guest => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn compare(&self, whole: &[Vec<Out>], cut: &[Vec<Out>], row: impl Fn(usize) -> String) -> Result<(), Failure> {
        match whole.iter().zip(cut).position(|(whole, cut)| whole != cut) {
            None => Ok(()),
            Some(place) => {
                let (whole, cut) = differing(&whole[place], &cut[place]);
                Err(self.trial.differs(self.step, row(place), whole, cut))
            }
        }
    }
}

impl Tried<dyn Aggregator> {
    /// Folds rows part by part, from accumulators to accumulators. None if a part fails.
    async fn fold(&self, rows: &Contribution<'_>, parts: &[Range<usize>]) -> Result<Option<Folding>, Failure> {
        let mut groups: Vec<Option<Vec<u8>>> = rows.groups.iter().map(|group| group.map(<[u8]>::to_vec)).collect();
        let mut rejected = vec![Vec::new(); rows.rows.len()];
        for part in parts {
            let of_rows = &rows.row_groups[part.clone()];
            let mut involved = of_rows.to_vec();
            involved.sort_unstable();
            involved.dedup();
            let column: Column = involved.iter().map(|&group| groups[group as usize].as_deref()).collect();
            let place = |group: &u32| involved.partition_point(|other| other < group) as u32;
            let row_groups: Vec<u32> = of_rows.iter().map(place).collect();
            let contribution =
                Contribution { groups: column.view(), row_groups: &row_groups, rows: slice(rows.rows, part.clone()) };
            let Some(folded) = self.again(self.guest.add(contribution)).await? else { return Ok(None) };
            for (&group, accumulator) in involved.iter().zip(folded.groups.iter()) {
                groups[group as usize] = accumulator.map(<[u8]>::to_vec);
            }
            let outs = by_source(part.len(), BatchRef::default(), &[], [].into_iter(), &folded.rejected);
            rejected.splice(part.clone(), outs);
        }
        Ok(Some(Folding { groups, rejected }))
    }
}

/// What folding came to.
struct Folding {
    groups: Vec<Option<Vec<u8>>>,
    rejected: Vec<Vec<Out>>,
}

/// Some consecutive windows.
fn windows<'a>(of: Closed<'a>, range: Range<usize>) -> Closed<'a> {
    Closed {
        groups: slice_column(of.groups, range.clone()),
        keys: slice_column(of.keys, range.clone()),
        starts: &of.starts[range.clone()],
        ends: &of.ends[range],
    }
}

/// Windows as the source rows of their results: the host fills in their keys and times, which are the last of the window.
fn as_rows<'a>(of: Closed<'a>, times: &'a [i64]) -> BatchRef<'a> {
    BatchRef { timestamps: times, keys: of.keys, ..BatchRef::default() }
}

/// The last time of each window.
fn times_of(ends: &[i64]) -> Vec<i64> {
    ends.iter().map(|end| end.saturating_sub(1)).collect()
}

impl<G: Plugin + ?Sized> Plugin for Tried<G> {
    fn description(&self) -> &Description {
        self.guest.description()
    }

    fn metrics(&self) -> BTreeMap<String, Metric> {
        self.guest.metrics()
    }
}

impl Transformer for Tried<dyn Transformer> {
    fn transform<'a>(&'a self, rows: BatchRef<'a>) -> Call<'a, Answer> {
        Box::pin(async move {
            let called = self.trial.call(self.guest.transform(rows)).await?;
            self.trial.pay(called.answer.pieces())?;
            let outs = |answer: &Answer, rows: BatchRef<'_>| {
                by_source(rows.len(), rows, rows.timestamps, answer.pieces(), &answer.rejected)
            };
            let whole = outs(&called.answer, rows);
            for part in self.parts(rows.len()) {
                let some = slice(rows, part.clone());
                if let Some(answer) = self.again(self.guest.transform(some)).await? {
                    self.compare(&whole[part], &outs(&answer, some), |place| row(some, place))?;
                }
            }
            Ok(called)
        })
    }
}

impl Stateful for Tried<dyn Aggregator> {
    fn migrator(&self) -> Option<&dyn Migrator> {
        self.guest.migrator()
    }
}

impl Aggregator for Tried<dyn Aggregator> {
    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded> {
        Box::pin(async move {
            let called = self.trial.call(self.guest.add(rows)).await?;
            let parts = self.parts(rows.rows.len());
            let (singly, halves) = parts.split_at(parts.len().min(rows.rows.len()));
            let whole = by_source(rows.rows.len(), BatchRef::default(), &[], [].into_iter(), &called.answer.rejected);
            for parts in [singly, halves].into_iter().filter(|parts| !parts.is_empty()) {
                let Some(folding) = self.fold(&rows, parts).await? else { continue };
                self.compare(&whole, &folding.rejected, |place| row(rows.rows, place))?;
                for (group, (whole, cut)) in (0_u32..).zip(called.answer.groups.iter().zip(folding.groups)) {
                    if whole != cut.as_deref() {
                        let last = rows.row_groups.iter().rposition(|of| *of == group).unwrap_or_default();
                        let shown = |bytes: Option<&[u8]>| format!("the accumulator {}", Cell::of(bytes));
                        let what = format!("a window up to {}", row(rows.rows, last));
                        return Err(self.trial.differs(self.step, what, shown(whole), shown(cut.as_deref())));
                    }
                }
            }
            Ok(called)
        })
    }

    fn merge<'a>(&'a self, left: ColumnRef<'a>, right: ColumnRef<'a>) -> Call<'a, Column> {
        Box::pin(async move {
            let called = self.trial.call(self.guest.merge(left, right)).await?;
            let whole: Vec<_> = called.answer.iter().collect();
            for part in self.parts(left.len()) {
                let (some_left, some_right) = (slice_column(left, part.clone()), slice_column(right, part.clone()));
                let Some(cut) = self.again(self.guest.merge(some_left, some_right)).await? else { continue };
                for (place, (whole, cut)) in part.clone().zip(whole[part].iter().zip(cut.iter())) {
                    if *whole != cut {
                        let shown = |bytes: Option<&[u8]>| format!("the accumulator {}", Cell::of(bytes));
                        let what = format!("two parts of a window, number {place} of the call");
                        return Err(self.trial.differs(self.step, what, shown(*whole), shown(cut)));
                    }
                }
            }
            Ok(called)
        })
    }

    fn finish<'a>(&'a self, closed: Closed<'a>) -> Call<'a, Answer> {
        Box::pin(async move {
            let called = self.trial.call(self.guest.finish(closed)).await?;
            self.trial.pay(called.answer.pieces())?;
            let outs = |answer: &Answer, closed: Closed<'_>| {
                let times = times_of(closed.ends);
                by_source(closed.groups.len(), as_rows(closed, &times), &times, answer.pieces(), &answer.rejected)
            };
            let whole = outs(&called.answer, closed);
            for part in self.parts(closed.groups.len()) {
                let some = windows(closed, part.clone());
                if let Some(answer) = self.again(self.guest.finish(some)).await? {
                    let times = times_of(some.ends);
                    let what = |place| {
                        format!(
                            "the window that begins at {}: {}",
                            some.starts[place],
                            row(as_rows(some, &times), place)
                        )
                    };
                    self.compare(&whole[part], &outs(&answer, some), what)?;
                }
            }
            Ok(called)
        })
    }
}

impl Stateful for Tried<dyn Processor> {
    fn migrator(&self) -> Option<&dyn Migrator> {
        self.guest.migrator()
    }
}

impl Processor for Tried<dyn Processor> {
    fn process<'a>(&'a self, work: Work<'a>) -> Call<'a, Done> {
        Box::pin(async move {
            let called: Called<Done> = self.trial.call(self.guest.process(work.clone())).await?;
            self.trial.pay(called.answer.pieces())?;
            let mut seen = self.trial.lock();
            seen.traces.entry(self.step).or_default().note(&work, &called.answer, self.guest.has_pages());
            drop(seen);
            Ok(called)
        })
    }

    fn has_pages(&self) -> bool {
        self.guest.has_pages()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_the_last_time_of_its_window_if_it_has_none_of_its_own() {
        assert_eq!(times_of(&[2_000, i64::MIN]), [1_999, i64::MIN]);
    }
}

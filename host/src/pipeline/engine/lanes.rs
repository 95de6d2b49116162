//! Rows of several inputs on their way into the first step with state, in the order of event time.
//!
//! A key's rows may come by several inputs, and what a step keeps of rows that wait for the watermark grows with the
//! distance between inputs. So inputs are merged as the rows of a live stream would have arrived: the record whose rows are the
//! oldest is next, each input's own order is kept, and the watermark at a row's place follows the merged order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::arrival::Arrival;
use super::dead_letter::{MergedSource, Source};
use super::outputs::extend;
use super::row_watermarks::{Moving, RowWatermarksBuf, TimestampBounds};
use super::rows::Origins;
use crate::record::{Batch, BatchRef};
use crate::time::{Mark, Watermark, Watermarks};

/// Rows from which on a slice of one input ends where its rows would have to be copied to go on.
const UNCOPIED_ROWS: usize = 1 << 11;

/// What the transforms made of consecutive records of one input.
#[derive(Debug)]
pub(in crate::pipeline) struct View<'a> {
    /// The rows that go on.
    pub(in crate::pipeline) arrival: Arrival<'a>,
    /// The rows by which event time moves.
    pub(in crate::pipeline) moving: Moving<'a>,
    /// Marks, each with its record.
    pub(in crate::pipeline) marks: &'a [(u32, Mark)],
    pub(in crate::pipeline) records: Range<usize>,
    /// Rows that are in no slice yet.
    rest: BatchRef<'a>,
    /// Its number among the sources of the slice that is being made.
    source: Option<u32>,
}

impl<'a> View<'a> {
    pub(in crate::pipeline) fn new(
        arrival: Arrival<'a>,
        moving: Moving<'a>,
        marks: &'a [(u32, Mark)],
        records: Range<usize>,
    ) -> Self {
        Self { rest: arrival.rows, arrival, moving, marks, records, source: None }
    }
}

/// The rows of one input.
#[derive(Debug)]
pub(in crate::pipeline) struct Lane<'a> {
    /// Which of the plan's inputs.
    pub(in crate::pipeline) input: usize,
    views: Vec<View<'a>>,
    /// Records from here on wait.
    end: usize,
    /// The view that is next, and what is next of it.
    view: usize,
    moving: u32,
    row: u32,
    mark: usize,
}

impl<'a> Lane<'a> {
    pub(in crate::pipeline) fn new(input: usize, views: Vec<View<'a>>) -> Self {
        let mut lane = Self { input, views, end: usize::MAX, view: 0, moving: 0, row: 0, mark: 0 };
        lane.end = lane.records();
        lane.begin_view();
        lane
    }

    fn begin_view(&mut self) {
        if let Some(view) = self.views.get(self.view) {
            (self.moving, self.row, self.mark) = (view.moving.range.start, 0, 0);
        }
    }

    /// How many records it has.
    pub(in crate::pipeline) fn records(&self) -> usize {
        self.views.last().map_or(0, |view| view.records.end)
    }

    /// The newest plausible event time of the records that do not wait, if there is one.
    pub(in crate::pipeline) fn newest(&self, bounds: TimestampBounds) -> Option<i64> {
        self.times().filter(|(record, time)| *record < self.end && bounds.holds(*time)).map(|(_, time)| time).max()
    }

    /// The oldest plausible event time, if there is one.
    pub(in crate::pipeline) fn oldest(&self, bounds: TimestampBounds) -> Option<i64> {
        self.times().map(|(_, time)| time).filter(|time| bounds.holds(*time)).min()
    }

    /// The newest watermark that a mark says.
    pub(in crate::pipeline) fn newest_mark(&self) -> Option<i64> {
        self.told().filter(|(record, _)| *record < self.end).map(|(_, time)| time).max()
    }

    /// Lets records wait from the first one on whose rows are newer than a time.
    pub(in crate::pipeline) fn wait_behind(&mut self, time: i64, bounds: TimestampBounds) {
        let first = self.times().find(|&(_, of)| of > time && bounds.holds(of)).map(|(record, _)| record);
        self.end = first.map_or(self.end, |record| self.end.min(record));
    }

    /// Lets records wait that come after the first one whose rows, or the watermark that its marks say, are newer.
    pub(in crate::pipeline) fn wait_after(&mut self, time: i64, watermark: i64, bounds: TimestampBounds) {
        let row = self.times().find(|&(_, of)| of > time && bounds.holds(of));
        let mark = self.told().find(|&(_, of)| of > watermark);
        let first = row.into_iter().chain(mark).map(|(record, _)| record).min();
        self.end = first.map_or(self.end, |record| self.end.min(record + 1));
    }

    /// How many records have come to the step, and what was before them.
    pub(in crate::pipeline) fn taken(&mut self) -> usize {
        self.head().map_or(self.end, |record| record as usize)
    }

    fn times(&self) -> impl Iterator<Item = (usize, i64)> {
        self.views.iter().flat_map(|View { moving, .. }| {
            let at = |row: u32| (moving.records.of(row) as usize, moving.times[row as usize]);
            moving.range.clone().map(at)
        })
    }

    fn told(&self) -> impl Iterator<Item = (usize, i64)> {
        self.views.iter().flat_map(|view| view.marks).filter_map(|&(record, mark)| match mark {
            Mark::Watermark(time) => Some((record as usize, time)),
            Mark::Idle | Mark::Active => None,
        })
    }

    /// The next record of which there is a row or a mark.
    fn head(&mut self) -> Option<u32> {
        loop {
            let view = self.views.get(self.view)?;
            let moving = (self.moving < view.moving.range.end).then(|| view.moving.records.of(self.moving));
            let mark = view.marks.get(self.mark).map(|&(record, _)| record);
            match moving.into_iter().chain(mark).min() {
                Some(record) => return ((record as usize) < self.end).then_some(record),
                None => {
                    self.view += 1;
                    self.begin_view();
                }
            }
        }
    }

    /// The event time by which the next record has its turn: that of its oldest row. One without a plausible time has it
    /// at once.
    fn key(&mut self, bounds: TimestampBounds) -> Option<i64> {
        let record = self.head()?;
        let View { moving, .. } = &self.views[self.view];
        let rows = (self.moving..moving.range.end).take_while(|&row| moving.records.of(row) == record);
        Some(rows.map(|row| moving.times[row as usize]).filter(|time| bounds.holds(*time)).min().unwrap_or(i64::MIN))
    }

    /// Lets the rows and marks of the next record pass: each row is judged by what was known just before the row that it
    /// comes from passed, and a mark stands after the rows of its record.
    fn pass(
        &mut self,
        record: u32,
        watermarks: &mut Watermarks,
        bounds: TimestampBounds,
        placed: &mut RowWatermarksBuf,
    ) {
        let View { arrival, moving, marks, .. } = &self.views[self.view];
        let rows = arrival.rows.len() as u32;
        while self.moving < moving.range.end && moving.records.of(self.moving) == record {
            while self.row < rows && moving.sources.of(self.row) == self.moving {
                placed.push(watermarks.output(), watermarks.late(self.input));
                self.row += 1;
            }
            let time = moving.times[self.moving as usize];
            if bounds.holds(time) {
                watermarks.row(self.input, time);
            }
            self.moving += 1;
        }
        while let Some((_, mark)) = marks.get(self.mark).filter(|(of, _)| *of == record) {
            watermarks.mark(self.input, *mark);
            self.mark += 1;
        }
    }
}

/// Consecutive rows of one view.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    lane: usize,
    view: usize,
    first: u32,
    rows: u32,
}

/// Rows that enter the step together.
#[derive(Debug)]
pub(in crate::pipeline) struct Slice<'a> {
    rows: Rows<'a>,
    pub(in crate::pipeline) placed: RowWatermarksBuf,
}

#[derive(Debug)]
enum Rows<'a> {
    /// Of one view, as they are.
    One(Arrival<'a>),
    /// Of several, copied into one order.
    Merged { batch: Batch, source: MergedSource<'a>, input: u16 },
}

impl Slice<'_> {
    pub(in crate::pipeline) fn arrival(&self) -> Arrival<'_> {
        match &self.rows {
            Rows::One(arrival) => *arrival,
            Rows::Merged { batch, source, input } => Arrival {
                rows: batch.view(),
                origins: Origins::From(0),
                source: Source::Merged(source),
                source_partition: 0,
                input: *input,
            },
        }
    }
}

/// The merge.
#[derive(Debug)]
pub(in crate::pipeline) struct Merge<'a> {
    lanes: Vec<Lane<'a>>,
    /// For each lane that has more, when it has its turn.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
    /// Whether the order of rows of different inputs matters to the step. If not, one comes after the other.
    in_order: bool,
    bounds: TimestampBounds,
    /// The watermark at whose place rows wait, because so much is due before them.
    wait_at: Option<i64>,
}

impl<'a> Merge<'a> {
    pub(in crate::pipeline) fn new(
        mut lanes: Vec<Lane<'a>>,
        in_order: bool,
        bounds: TimestampBounds,
        wait_at: Option<i64>,
    ) -> Self {
        let heads = (0..).zip(&mut lanes).filter_map(|(number, lane)| {
            let key = lane.key(bounds)?;
            Some(Reverse((if in_order { key } else { i64::MIN }, number)))
        });
        let heads = heads.collect();
        Self { lanes, heads, in_order, bounds, wait_at }
    }

    /// How many records of each lane have come to the step, and what was before them.
    pub(in crate::pipeline) fn taken(mut self) -> Vec<usize> {
        self.lanes.iter_mut().map(Lane::taken).collect()
    }

    /// The next rows, about this many; none if all have come, or have to wait.
    pub(in crate::pipeline) fn next(&mut self, watermarks: &mut Watermarks, rows: usize) -> Option<Slice<'a>> {
        let mut placed = RowWatermarksBuf::default();
        let mut stretches: Vec<Stretch> = Vec::new();
        while placed.len() < rows
            && let Some(Reverse((_, number))) = self.heads.pop()
        {
            let turn = self.turn(number, watermarks, rows, &mut placed);
            stretches.extend(turn.stretch);
            self.heads.extend(turn.again.map(|key| Reverse((key, number))));
            // A lane that stopped and does not come again either is at its end or waits, and then all do.
            if turn.waits {
                self.heads.clear();
            }
            let uncopied = if self.in_order { UNCOPIED_ROWS } else { 1 };
            if (self.lanes.len() == 1 || !self.in_order) && placed.len() >= uncopied {
                break;
            }
        }
        (placed.len() > 0).then(|| Slice { rows: self.gather(&stretches), placed })
    }

    /// Lets records of one lane pass: as long as it is its turn, and to the end of a view.
    fn turn(&mut self, number: usize, watermarks: &mut Watermarks, rows: usize, placed: &mut RowWatermarksBuf) -> Turn {
        let next = self.heads.peek().filter(|_| self.in_order).map(|Reverse(next)| *next);
        let lane = &mut self.lanes[number];
        let before = placed.len();
        let mut first = None;
        let mut turn = Turn::default();
        while let Some(record) = lane.head() {
            let (view, row) = *first.get_or_insert((lane.view, lane.row));
            let stretch = Stretch { lane: number, view, first: row, rows: (placed.len() - before) as u32 };
            if self.wait_at.is_some_and(|wait_at| watermarks.output() >= Watermark::At(wait_at)) {
                return Turn { waits: true, ..Turn::of(stretch) };
            }
            if lane.view != view || placed.len() >= rows {
                let key = if self.in_order { lane.key(self.bounds) } else { Some(i64::MIN) };
                return Turn { again: key, ..Turn::of(stretch) };
            }
            if let Some(next) = next
                && let Some(key) = lane.key(self.bounds)
                && (key, number) > next
            {
                return Turn { again: Some(key), ..Turn::of(stretch) };
            }
            lane.pass(record, watermarks, self.bounds, placed);
            turn = Turn::of(Stretch { rows: (placed.len() - before) as u32, ..stretch });
        }
        turn
    }

    fn view(&mut self, stretch: &Stretch) -> &mut View<'a> {
        &mut self.lanes[stretch.lane].views[stretch.view]
    }

    /// The rows of stretches, which are those that are next of their views.
    fn gather(&mut self, stretches: &[Stretch]) -> Rows<'a> {
        if let [one] = stretches {
            let view = self.view(one);
            let (rows, rest) = view.rest.split_at(one.rows as usize);
            view.rest = rest;
            return Rows::One(Arrival { rows, origins: view.arrival.origins.skip(one.first as usize), ..view.arrival });
        }
        let (mut batch, mut source, mut inputs) = (Batch::default(), MergedSource::default(), Vec::new());
        for stretch in stretches {
            let View { arrival, rest, source: number, .. } = self.view(stretch);
            let (rows, after) = rest.split_at(stretch.rows as usize);
            *rest = after;
            extend(&mut batch, rows);
            let number = *number.get_or_insert_with(|| source.add(arrival.source));
            let origins = (stretch.first..stretch.first + stretch.rows).map(|row| (number, arrival.origins.of(row)));
            source.of.extend(origins);
            inputs.resize(source.of.len(), arrival.input);
        }
        stretches.iter().for_each(|stretch| self.view(stretch).source = None);
        let input = inputs[0];
        if inputs.iter().any(|of| *of != input) {
            source.inputs = inputs;
        }
        Rows::Merged { batch, source, input }
    }
}

/// What became of a lane's turn.
#[derive(Debug, Default)]
struct Turn {
    stretch: Option<Stretch>,
    /// When it has its turn again.
    again: Option<i64>,
    /// Whether its next record has to wait for what is due before it.
    waits: bool,
}

impl Turn {
    fn of(stretch: Stretch) -> Self {
        Self { stretch: (stretch.rows > 0).then_some(stretch), ..Self::default() }
    }
}

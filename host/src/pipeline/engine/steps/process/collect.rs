//! What the calls of a chunk emitted and rejected, put into one order.
//!
//! Rows are in the order of the rows that they come from. A timer's rows stand before the first row at whose place the
//! watermark has reached it, timers among themselves by time, then key, then as the key fired them. Nothing of this
//! depends on which keys and rows were in which call.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::ops::Range;

use super::call::domain_of;
use super::chunk::sort;
use super::run::Run;
use crate::pipeline::engine::arrival::{Arrival, Emission};
use crate::pipeline::engine::dead_letter::{Cause, Source, causes};
use crate::pipeline::engine::gather::gather;
use crate::pipeline::engine::outputs;
use crate::pipeline::engine::plan::{Route, Step};
use crate::pipeline::engine::rounds::UNKNOWN;
use crate::pipeline::engine::rows::StageRows;
use crate::pipeline::engine::steps::{Sink, bytes_of};
use crate::plugin::{AS_SOURCE, Domain, Done, Emitted, Timers};
use crate::record::{Batch, Column};
use crate::state::{Keyed, SlotId, Timer};

/// Where in the order something is.
#[derive(Debug, Clone, Copy)]
struct Order {
    /// The row of the chunk that it is at, or comes before.
    place: u32,
    /// Timers of the clock come before those of event time, and both before the row.
    rank: u8,
    time: i64,
    slot: SlotId,
    /// The order in which it was collected.
    number: u32,
}

/// The rank of a row.
const ROW: u8 = 2;

impl Order {
    /// The round of what is here: that of the row of `from`. Of a timer none is known.
    fn round(&self, from: Arrival<'_>) -> u32 {
        if self.rank == ROW { from.round(self.place) } else { UNKNOWN }
    }
}

/// What a dead letter is of.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// A row of the chunk.
    Row(u32),
    /// A timer of a key, with its place and the time by which it is ordered.
    Timer((u32, i64), SlotId, Timer),
}

#[derive(Debug)]
struct Letter {
    order: Order,
    what: What,
    code: String,
    reason: String,
    backtrace: Vec<String>,
}

/// What the calls of a chunk gave.
#[derive(Debug, Default)]
pub(super) struct Collected {
    rows: Batch,
    outputs: Vec<u16>,
    /// The watermark that rows after each may rely on.
    marks: Vec<i64>,
    orders: Vec<Order>,
    letters: Vec<Letter>,
    /// The watermark before all of it.
    before: i64,
}

/// What the rows of an answer may come from.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) slots: &'a [SlotId],
    /// The rows of the call among the grouped ones.
    pub(super) range: Range<usize>,
    pub(super) group_rows: &'a [u32],
    pub(super) due: &'a Timers,
    pub(super) timers: &'a [Timer],
}

impl Sources<'_> {
    /// What a row comes from: a row of the chunk or a timer.
    fn find(&self, run: &Run<'_, '_>, fired: &Timers, floors: &Floors, source: u32) -> What {
        let source = source as usize;
        if source < self.range.len() {
            return What::Row(run.chunk.row((self.range.start + source) as u32));
        }
        let timer = source - self.range.len();
        if let Some(&group) = self.due.groups.get(timer) {
            let slot = self.slots[group as usize];
            return What::Timer(run.place_of(slot, self.timers[timer]), slot, self.timers[timer]);
        }
        let at = timer - self.timers.len();
        let group = fired.groups[at];
        let slot = self.slots[group as usize];
        let timer = Timer { domain: domain_of(fired.domains[at]), time: fired.times[at], id: fired.ids[at] };
        let (place, time) = run.place_of(slot, timer);
        let (floor_place, floor_time) = floors.of(group, timer.domain);
        let time = time.max(floor_time);
        let place = if timer.domain == Domain::Event { run.chunk.reached(time).max(floor_place) } else { place };
        What::Timer((place, time), slot, timer)
    }
}

/// How far each group has come, so that a timer which was set and fired in the call for a time that had transformed is not
/// placed before what set it.
#[derive(Debug, Default)]
struct Floors {
    of: HashMap<(u32, Domain), (u32, i64)>,
    /// The group of each row of the call; empty if no timer needs to be placed.
    row_groups: Vec<u32>,
}

impl Floors {
    fn new(sources: &Sources<'_>, fired: &Timers) -> Self {
        let mut row_groups = Vec::new();
        if !fired.groups.is_empty() {
            let rows = (0..).zip(sources.group_rows);
            row_groups = rows.flat_map(|(group, &rows)| std::iter::repeat_n(group, rows as usize)).collect();
        }
        Self { of: HashMap::new(), row_groups }
    }

    fn of(&self, group: u32, domain: Domain) -> (u32, i64) {
        self.of.get(&(group, domain)).copied().unwrap_or((0, i64::MIN))
    }

    /// Notes what the next row comes from; rows of a group are in the order in which it made them.
    fn note(&mut self, sources: &Sources<'_>, fired: &Timers, source: u32, what: What) {
        if fired.groups.is_empty() {
            return;
        }
        match what {
            What::Row(row) => {
                let group = self.row_groups[source as usize];
                self.of.entry((group, Domain::Event)).or_insert((0, i64::MIN)).0 = row + 1;
            }
            What::Timer((place, time), _, timer) => {
                let number = source as usize - sources.range.len();
                let due = sources.due.groups.get(number).copied();
                let group = due.unwrap_or_else(|| fired.groups[number - sources.timers.len()]);
                self.of.insert((group, timer.domain), (place, time));
            }
        }
    }
}

impl Collected {
    /// Nothing yet. `before` is the watermark before all that is to come.
    pub(super) fn new(before: i64) -> Self {
        Self { before, ..Self::default() }
    }

    fn order(&self, what: What, number: usize) -> Order {
        let number = number as u32;
        match what {
            What::Row(place) => Order { place, rank: ROW, time: 0, slot: 0, number },
            What::Timer((place, time), slot, timer) => {
                let rank = u8::from(timer.domain == Domain::Event);
                Order { place, rank, time, slot, number }
            }
        }
    }

    /// Takes what a call emitted.
    pub(super) fn emitted(&mut self, run: &Run<'_, '_>, sources: &Sources<'_>, done: &Done) {
        let mut floors = Floors::new(sources, &done.fired);
        done.pieces().for_each(|piece| self.piece(run, sources, &done.fired, &mut floors, piece));
    }

    fn piece(
        &mut self,
        run: &Run<'_, '_>,
        sources: &Sources<'_>,
        fired: &Timers,
        floors: &mut Floors,
        emitted: &Emitted,
    ) {
        let chunk = run.chunk;
        let (mut keys, mut values) = (emitted.keys.bytes.as_slice(), emitted.values.bytes.as_slice());
        let given = |column: &Column, at: usize| column.lengths.get(at).copied().unwrap_or(AS_SOURCE);
        for (at, &source) in emitted.source_rows.iter().enumerate() {
            let what = sources.find(run, fired, floors, source);
            floors.note(sources, fired, source, what);
            self.orders.push(self.order(what, self.orders.len()));
            if !emitted.outputs.is_empty() || !self.outputs.is_empty() {
                self.outputs.resize(self.rows.len(), 0);
                self.outputs.push(emitted.outputs.get(at).copied().unwrap_or(0));
            }
            let (mark, time) = match what {
                What::Row(row) => (chunk.marks[row as usize], chunk.rows.timestamps[row as usize]),
                What::Timer((_, due), _, timer) if timer.domain == Domain::Event => (due.saturating_sub(1), timer.time),
                What::Timer(_, _, timer) => (self.before, timer.time),
            };
            self.marks.push(mark);
            self.rows.timestamps.push(emitted.timestamps.get(at).copied().unwrap_or(time));
            match (given(&emitted.keys, at), what) {
                (AS_SOURCE, What::Row(of)) => chunk.taker.take_key(&mut self.rows.keys, of),
                (AS_SOURCE, What::Timer(_, slot, _)) => self.rows.keys.push(run.state.key(slot)),
                (length, _) => self.rows.keys.push(next(&mut keys, length)),
            }
            match (given(&emitted.values, at), what) {
                (AS_SOURCE, What::Row(of)) => chunk.taker.take_value(&mut self.rows.values, of),
                (length, _) => self.rows.values.push(next(&mut values, length)),
            }
        }
        self.headers(run, sources, emitted);
    }

    /// Takes the headers of a piece, after the rest of it.
    fn headers(&mut self, run: &Run<'_, '_>, sources: &Sources<'_>, emitted: &Emitted) {
        let of_rows = run.chunk.rows.headers;
        let count = emitted.source_rows.len();
        let headers = &mut self.rows.headers;
        if !headers.are_carried() && !emitted.headers.are_carried() && of_rows.counts.is_empty() {
            return;
        }
        headers.counts.resize(self.rows.timestamps.len() - count, 0);
        if emitted.headers.are_carried() {
            headers.extend(emitted.headers.view());
            return;
        }
        if of_rows.counts.is_empty() {
            headers.counts.resize(self.rows.timestamps.len(), 0);
            return;
        }
        for &source in &emitted.source_rows {
            if (source as usize) < sources.range.len() {
                let row = run.chunk.row(sources.range.start as u32 + source);
                run.chunk.taker.take_headers(headers, std::iter::once(row));
            } else {
                headers.counts.push(0);
            }
        }
    }

    /// What the collected rows take.
    pub(super) fn bytes(&self) -> usize {
        bytes_of(&self.rows)
    }

    /// Takes what a call rejected: rows, and timers by their numbers after the rows.
    pub(super) fn rejected(&mut self, run: &Run<'_, '_>, sources: &Sources<'_>, done: &Done) {
        let floors = Floors::default();
        let rows = sources.range.len() as u32;
        let mut rejected: Vec<_> = causes(&done.rejected).collect();
        if !done.fired.groups.is_empty() && rejected.len() > 1 {
            // Timers that were set in the call have the greater numbers, whenever they fired.
            let fired = firing_order(sources, &done.fired);
            rejected.sort_by_key(|&(source, _)| source.checked_sub(rows).map(|timer| fired[timer as usize]));
        }
        for (source, cause) in rejected {
            self.letter(sources.find(run, &done.fired, &floors, source), cause);
        }
    }

    /// Takes a dead letter.
    pub(super) fn letter(&mut self, what: What, cause: Cause<'_>) {
        self.letters.push(Letter {
            order: self.order(what, self.letters.len()),
            what,
            code: cause.code.to_owned(),
            reason: cause.reason.to_owned(),
            backtrace: cause.backtrace.to_vec(),
        });
    }

    /// Sends dead letters and rows on their way, in order; rows for the next step are appended to `emission`. `from` are
    /// the chunk's rows.
    pub(super) fn end(
        mut self,
        step: &Step,
        state: &Keyed,
        from: Arrival<'_>,
        sink: &mut Sink<'_>,
        emission: &mut Emission,
    ) {
        self.letters.sort_unstable_by(|left, right| compare(state, &left.order, &right.order));
        for letter in &self.letters {
            letter.send(step, state, from, sink);
        }
        let order = in_order(state, &self.orders, from.rows.len());
        let (mut rows, mut outputs, mut marks) = (self.rows, self.outputs, self.marks);
        let mut rounds: Vec<u32> = match sink.plan.feedback {
            Some(_) => self.orders.iter().map(|order| order.round(from)).collect(),
            None => Vec::new(),
        };
        if let Some(order) = order {
            rows = gather(rows.view(), &order);
            marks = order.iter().map(|&at| marks[at as usize]).collect();
            if !outputs.is_empty() {
                outputs = order.iter().map(|&at| outputs[at as usize]).collect();
            }
            if !rounds.is_empty() {
                rounds = order.iter().map(|&at| rounds[at as usize]).collect();
            }
        }
        if outputs.is_empty() && step.routes.first() == Some(&Route::Next) {
            append(&mut emission.rows, rows);
            emission.places.append(&mut marks);
            emission.rounds.append(&mut rounds);
            return;
        }
        let origins = (0..rows.len() as u32).collect();
        let mut next = StageRows::default();
        let round = |row: u32| rounds.get(row as usize).copied().unwrap_or_default();
        sink.distribute(step, &StageRows { batch: rows, origins }, &outputs, &mut next, round, 0);
        append(&mut emission.rows, next.batch);
        if !rounds.is_empty() {
            emission.rounds.extend(next.origins.iter().map(|&origin| rounds[origin as usize]));
        }
        emission.places.extend(next.origins.iter().map(|&origin| marks[origin as usize]));
    }
}

impl Letter {
    fn send(&self, step: &Step, state: &Keyed, from: Arrival<'_>, sink: &mut Sink<'_>) {
        let cause = Cause { code: &self.code, reason: &self.reason, backtrace: &self.backtrace };
        match self.what {
            What::Row(row) => sink.dead_letter(step, from.source, from.origins.of(row), cause, from.source_partition),
            What::Timer(_, slot, timer) => {
                let mut rows = Batch::default();
                rows.push(timer.time, state.key(slot), None);
                let source = Source::Timer { rows: rows.view(), id: timer.id, domain: timer.domain };
                sink.dead_letter(step, source, 0, cause, 0);
            }
        }
    }
}

/// Due timers of a key by time, id and number in the call, the next one first.
type Waiting = BinaryHeap<Reverse<(i64, u64, usize)>>;

/// When each timer of a call fired, by its number, as far as that can be compared: among those of a key and domain. A key
/// fires the first of those that wait, by time and id, and those that were set in the call are told in the order in which
/// they fired. So a due one fired before the first of them that it comes before.
fn firing_order(sources: &Sources<'_>, fired: &Timers) -> Vec<usize> {
    let mut waiting: BTreeMap<(u32, Domain), Waiting> = BTreeMap::new();
    for (number, (&group, timer)) in sources.due.groups.iter().zip(sources.timers).enumerate() {
        waiting.entry((group, timer.domain)).or_default().push(Reverse((timer.time, timer.id, number)));
    }
    let mut order = vec![usize::MAX; sources.timers.len() + fired.groups.len()];
    let mut next = 0..;
    let mut fires = |number: usize| order[number] = next.next().unwrap_or(usize::MAX);
    for (at, &group) in fired.groups.iter().enumerate() {
        let before = (fired.times[at], fired.ids[at]);
        if let Some(due) = waiting.get_mut(&(group, domain_of(fired.domains[at]))) {
            while let Some(&Reverse((_, _, number))) = due.peek().filter(|Reverse((time, id, _))| (*time, *id) < before)
            {
                due.pop();
                fires(number);
            }
        }
        fires(sources.timers.len() + at);
    }
    for mut due in waiting.into_values() {
        while let Some(Reverse((_, _, number))) = due.pop() {
            fires(number);
        }
    }
    order
}

/// The places of what was collected, in order; none if it is in order as it is.
fn in_order(state: &Keyed, orders: &[Order], rows: usize) -> Option<Vec<u32>> {
    if orders.is_sorted_by(|left, right| compare(state, left, right) != Ordering::Greater) {
        return None;
    }
    if orders.iter().all(|order| order.rank == ROW) {
        let places: Vec<u32> = orders.iter().map(|order| order.place).collect();
        let mut counts = vec![0; rows];
        places.iter().for_each(|&place| counts[place as usize] += 1);
        return Some(sort(&places, &mut counts));
    }
    let mut sorted: Vec<&Order> = orders.iter().collect();
    sorted.sort_unstable_by(|left, right| compare(state, left, right));
    Some(sorted.into_iter().map(|order| order.number).collect())
}

fn compare(state: &Keyed, left: &Order, right: &Order) -> Ordering {
    let place = |order: &Order| (order.place, order.rank, order.time);
    place(left)
        .cmp(&place(right))
        .then_with(|| {
            if left.slot == right.slot { Ordering::Equal } else { state.key(left.slot).cmp(&state.key(right.slot)) }
        })
        .then_with(|| left.number.cmp(&right.number))
}

/// The next row of so many bytes; null if it has a length below zero.
fn next<'a>(bytes: &mut &'a [u8], length: i32) -> Option<&'a [u8]> {
    let (row, rest) = bytes.split_at(usize::try_from(length).ok()?);
    *bytes = rest;
    Some(row)
}

fn append(into: &mut Batch, rows: Batch) {
    if into.is_empty() {
        *into = rows;
    } else {
        outputs::extend(into, rows.view());
    }
}

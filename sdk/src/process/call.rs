//! The call of a [`Process`] over columns, the same natively and in the guest.
//!
//! It owns the order in which a group's rows and timers are seen, and what happens to the state around each of them.

use super::Process;
use super::context::{Context, CurrentRow, Progress};
use super::queue::{Op, Queue, Waiting};
use super::timer::{CLEAN_UP, Domain, timer_of};
use crate::answer::{Answer, Parts, Rejects, Rows};
use crate::batch::{Batch, Record, Records};
use crate::columns::{Cell, Column};
use crate::error::{Error, Result};
use crate::state::{Kept, Now, State, decode_kept, encode_kept};
use crate::table::Pending;

/// More timers of one group that are set and fired before its rows cannot be done in one call: it fails, and the host lets
/// them fire before it calls with the row. How many are due is the host's to bound, as it bounds those that are set and
/// fired: by so many for a call
const FIRED_MAX: usize = 10_000;
/// and so many more for each row.
const FIRED_PER_ROW: usize = 64;

/// Timers, in columns, in order within a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueTimers {
    /// The group each timer belongs to.
    pub groups: Vec<u32>,
    /// Their ids.
    pub ids: Vec<u64>,
    /// When each is due.
    pub times: Vec<i64>,
    /// 0 for event time, 1 for processing time.
    pub domains: Vec<u8>,
}

/// Timers that are set and deleted, in columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimerChanges {
    /// The group each timer belongs to.
    pub groups: Vec<u32>,
    /// Their ids.
    pub ids: Vec<u64>,
    /// When each is due.
    pub times: Vec<i64>,
    /// 0 for event time, 1 for processing time.
    pub domains: Vec<u8>,
    /// 1 for set, 0 for deleted.
    pub sets: Vec<u8>,
}

/// Work for a call: the contract's record of the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// How many rows each group has.
    pub group_rows: Vec<u32>,
    /// The rows, group after group.
    pub rows: Batch,
    /// The input that each row came from; empty: all by input 0.
    pub inputs: Vec<u16>,
    /// The watermark at each row; empty: `watermark`.
    pub row_watermarks: Vec<i64>,
    /// The groups' keys.
    pub keys: Column,
    /// The groups' state.
    pub state: Column,
    /// The groups' timers that are due.
    pub due: DueTimers,
    /// The watermark after the last row.
    pub watermark: i64,
    /// The host's clock.
    pub processing_time: i64,
}

/// What a plugin answers to work: the contract's record of the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows to emit that come before those of `rows`, as far as the host does not have them already.
    pub early: Vec<Rows>,
    /// Rows to emit.
    pub rows: Rows,
    /// Rows, and timers by their number, that could not be processed; ascending.
    pub rejected: Rejects,
    /// The groups' state.
    pub state: Column,
    /// Timers to set and delete.
    pub timers: TimerChanges,
    /// Timers that were set and fired in this call.
    pub fired: DueTimers,
    /// Groups whose first timer has more to emit.
    pub going_on: Vec<u32>,
}

/// Processes rows and timers of many keys.
pub fn process<P: Process>(plugin: &P, work: &Work) -> Done {
    let due = &work.due;
    let mut due_order: Vec<u32> = (0..).take(due.groups.len()).collect();
    if !due.groups.is_sorted() {
        due_order.sort_by_key(|&place| due.groups.get(place as usize));
    }
    let mut due_order = due_order.as_slice();
    let mut call = Call::new(plugin, work);
    let mut records = work.rows.records();
    let mut keys = work.keys.cells();
    let mut before = work.state.cells();
    let mut state = Column::with_capacity(work.group_rows.len(), work.state.bytes.len());
    let mut bytes = Vec::new();
    for (group, &rows) in (0..).zip(&work.group_rows) {
        let of_group = due_order.iter().take_while(|&&place| due.groups.get(place as usize) == Some(&group)).count();
        let (own_due, later_due) = due_order.split_at(of_group);
        due_order = later_due;
        let old = before.next().and_then(Cell::bytes);
        let mut kept = call.begin_group(group, keys.next().and_then(Cell::bytes), old, own_due);
        call.run_group(&mut kept, &mut records, rows as usize);
        call.end_group();
        bytes.clear();
        let stays = encode_kept(&mut kept, group, &mut bytes);
        match stays.then_some(bytes.as_slice()) {
            new if new == old => state.push_same(),
            new => state.push(new),
        }
    }
    call.context.tables.end();
    let Parts { early, rows, rejected } = call.context.answer.into_parts();
    let (timers, fired, going_on) = (call.timers, call.fired, call.going_on);
    Done { early, rows, rejected: ascending(rejected), state, timers, fired, going_on }
}

/// A call in progress.
struct Call<'a, P> {
    plugin: &'a P,
    work: &'a Work,
    context: Context<'a>,
    queue: Queue,
    /// Whether anything in the state has a time to live.
    lives: bool,
    group: u32,
    fired_in_group: usize,
    fired_max: usize,
    /// The number of the first due timer, as a place where rows come from.
    due_from: u32,
    /// The number of the first timer that is set and fired in the call.
    fired_from: u32,
    timers: TimerChanges,
    fired: DueTimers,
    going_on: Vec<u32>,
}

/// How timers come to fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A row comes after them: all of them have to fire.
    Row,
    /// Nothing does. Those that are left can fire in the next call.
    Nothing,
}

impl<'a, P: Process> Call<'a, P> {
    fn new(plugin: &'a P, work: &'a Work) -> Self {
        let now = Now { event_time: None, watermark: None, processing_time: work.processing_time };
        let due_from = count(work.rows.len());
        let settings = plugin.state();
        Self {
            plugin,
            work,
            context: Context {
                answer: Answer::new(&work.rows, P::OUTPUTS).with_later_sources(&work.due.times),
                tables: Pending::default(),
                ops: Vec::new(),
                place: CurrentRow { source: 0, key: None, input: 0, time: 0, row: false, now },
                progress: Progress::default(),
            },
            queue: Queue::default(),
            lives: Domain::ALL.iter().any(|&domain| settings.lives(domain)),
            group: 0,
            fired_in_group: 0,
            fired_max: FIRED_MAX,
            due_from,
            fired_from: due_from + count(work.due.times.len()),
            timers: TimerChanges::default(),
            fired: DueTimers::default(),
            going_on: Vec::new(),
        }
    }

    fn begin_group(&mut self, group: u32, key: Option<&'a [u8]>, state: Option<&[u8]>, due: &[u32]) -> Kept<P::State> {
        self.group = group;
        self.fired_in_group = 0;
        self.queue.clear();
        self.context.tables.begin_group(group);
        self.context.place.key = key;
        self.context.place.now.watermark = None;
        let all = &self.work.due;
        for &place in due {
            let at = place as usize;
            if let (Some(&id), Some(&time), Some(&domain)) = (all.ids.get(at), all.times.get(at), all.domains.get(at)) {
                self.queue.due(Domain::of_number(domain), id, time, place);
            }
        }
        let empty = self.plugin.state();
        let kept = match state {
            None => Ok(Kept { state: empty, clean_up: [None; 2], paged: false }),
            Some(bytes) => decode_kept(empty, group, bytes),
        };
        // No row is to blame, so the call fails, and the host says so.
        kept.unwrap_or_else(|message| panic!("the key `{}` has {message}", self.context.key_text().unwrap_or_default()))
    }

    fn run_group(&mut self, kept: &mut Kept<P::State>, records: &mut Records<'a>, rows: usize) {
        self.fired_max = FIRED_MAX + FIRED_PER_ROW * rows;
        let before = if rows > 0 { Before::Row } else { Before::Nothing };
        if let Some(last) = self.queue.last_due(Domain::ProcessingTime)
            && !self.fire(kept, Domain::ProcessingTime, last.max(self.work.processing_time), before)
        {
            return;
        }
        for record in records.take(rows) {
            let watermark = self.row_watermark(record.index);
            self.fire(kept, Domain::EventTime, watermark, Before::Row);
            self.row(kept, record, watermark);
        }
        // What is left of the due timers, and what is set and comes no later than the watermark: a key's timers that set
        // each other are one call, in which the state is read once.
        let last = self.queue.last_due(Domain::EventTime).into_iter().chain(known(self.work.watermark)).max();
        if let Some(last) = last {
            self.fire(kept, Domain::EventTime, last, Before::Nothing);
        }
    }

    fn row_watermark(&self, row: u32) -> i64 {
        self.work.row_watermarks.get(row as usize).copied().unwrap_or(self.work.watermark)
    }

    fn row(&mut self, kept: &mut Kept<P::State>, mut record: Record<'a>, watermark: i64) {
        let place = &mut self.context.place;
        // The group's key is the rows' key, which therefore need not be sent with each of them.
        record.key = place.key;
        place.source = record.index;
        self.context.progress.timer = None;
        place.input = self.work.inputs.get(record.index as usize).copied().unwrap_or(0);
        place.time = record.timestamp;
        place.row = true;
        place.now.event_time = Some(record.timestamp);
        place.now.watermark = known(watermark);
        let earliest = self.earliest(None);
        self.callback(kept, earliest, |plugin, context, state| plugin.on_row(context, state, record.read()?));
    }

    /// Fires the timers up to `limit`, and those that are set meanwhile. Whether all have fired: if nothing comes after them,
    /// a timer that goes on and a long chain of timers are left for the next call.
    fn fire(&mut self, kept: &mut Kept<P::State>, domain: Domain, limit: i64, before: Before) -> bool {
        while let Some(waiting) = self.queue.next(domain, limit) {
            self.fired_in_group += usize::from(waiting.due.is_none());
            if self.fired_in_group > self.fired_max {
                let (key, most) = (self.context.key_text().unwrap_or_default(), self.fired_max);
                panic!("timer flood: more than {most} timers of the key `{key}` were set and fired in one call");
            }
            let now = &mut self.context.place.now;
            match domain {
                Domain::EventTime => {
                    now.event_time = Some(waiting.time);
                    // One that was set for a time before its setter's comes right after it, and time does not go back.
                    now.watermark = now.watermark.max(Some(waiting.time));
                }
                // Where the watermark stands meanwhile is no matter of the key's.
                Domain::ProcessingTime => (now.event_time, now.watermark) = (None, None),
            }
            let earliest = self.earliest(Some(domain));
            if waiting.id == CLEAN_UP {
                kept.state.begin(&self.context.place.now);
                if let Some(time) = kept.clean_up.get_mut(usize::from(domain.number())) {
                    *time = None;
                }
                self.settle(kept, earliest);
            } else {
                self.timer(kept, domain, waiting, earliest);
            }
            // The next call begins with the first timer that is left: so it may not be for a time that has passed, which the
            // host would not know.
            let goes_on = self.context.progress.goes_on;
            if before == Before::Nothing
                && (goes_on || self.fired_in_group >= self.context.answer.bounds().chain)
                && self.queue.next_time(domain).is_some_and(|next| next >= waiting.time && next <= limit)
            {
                self.queue.give_back();
                self.going_on.extend(goes_on.then_some(self.group));
                return false;
            }
        }
        true
    }

    /// The earliest times for which timers are set. What has come already has to come again, or where the timer falls due
    /// would depend on where batches are cut. Timers that set timers of their own domain are in their midst, and may.
    fn earliest(&self, from_timer: Option<Domain>) -> Earliest {
        let now = &self.context.place.now;
        Domain::ALL.map(|domain| match domain {
            domain if from_timer == Some(domain) => i64::MIN,
            Domain::EventTime => now.watermark.map_or(i64::MIN, |watermark| watermark.saturating_add(1)),
            Domain::ProcessingTime => now.processing_time.saturating_add(1),
        })
    }

    fn timer(&mut self, kept: &mut Kept<P::State>, domain: Domain, waiting: Waiting, earliest: Earliest) {
        let Waiting { time, id, due } = waiting;
        let timer = timer_of(id, time, domain);
        let place = &mut self.context.place;
        place.source = match due {
            Some(due) => self.due_from + due,
            None => {
                let fired = count(self.fired.ids.len());
                self.fired.groups.push(self.group);
                self.fired.ids.push(id);
                self.fired.times.push(time);
                self.fired.domains.push(domain.number());
                self.context.answer.add_later_source(time);
                self.fired_from + fired
            }
        };
        place.input = 0;
        place.time = timer.time;
        place.row = false;
        self.context.progress.timer = Some((domain, id, time));
        // The host takes the time it knows. A timer that fell due later than it was set for says what it was set for.
        self.context.answer.set_default_time(Some(timer.time).filter(|&set_for| set_for != time));
        self.callback(kept, earliest, |plugin, context, state| {
            plugin.on_timer(context, state, timer)?;
            if context.out().lacks_value() {
                return Err(Error::new("no-value", "a row that a timer emits needs a value of its own"));
            }
            Ok(())
        });
        self.context.answer.set_default_time(None);
    }

    /// Runs what the plugin does with a row or timer, and keeps all of it or nothing.
    fn callback(
        &mut self,
        kept: &mut Kept<P::State>,
        earliest: Earliest,
        run: impl FnOnce(&P, &mut Context<'a>, &mut P::State) -> Result<()>,
    ) {
        let context = &mut self.context;
        let source = context.place.source;
        let before = context.answer.mark();
        (context.progress.before, context.progress.goes_on) = (context.answer.bytes(), false);
        kept.state.begin(&context.place.now);
        match run(self.plugin, context, &mut kept.state) {
            Ok(()) => {
                context.tables.keep();
                for Op { domain, id, time } in context.ops.drain(..) {
                    let time = time.map(|time| time.max(in_domain(earliest, domain)));
                    self.queue.apply(Op { domain, id, time });
                }
            }
            Err(error) => {
                context.answer.reject(source, before, &error);
                context.tables.undo();
                context.ops.clear();
                context.progress.goes_on = false;
                kept.state.undo();
            }
        }
        self.settle(kept, earliest);
    }

    /// Makes sure that there is a timer for the first thing in the state that has to go, and none if there is no state.
    ///
    /// The timer moves only to an earlier time: when it fires too early, it is set again. What it is set for depends on
    /// nothing but what the key has seen.
    fn settle(&mut self, kept: &mut Kept<P::State>, earliest: Earliest) {
        // Nothing has to go, and no version before this one set a timer for it.
        if !self.lives && kept.clean_up == [None; 2] {
            return;
        }
        let empty = kept.state.is_empty();
        for (set, domain) in kept.clean_up.iter_mut().zip(Domain::ALL) {
            let first = in_domain(earliest, domain);
            let wanted = match *set {
                _ if empty => None,
                None => kept.state.earliest(domain).map(|end| end.max(first)),
                Some(time) => Some(kept.state.written(domain).map_or(time, |end| end.max(first).min(time))),
            };
            if wanted != *set {
                *set = wanted;
                self.queue.apply(Op { domain, id: CLEAN_UP, time: wanted });
            }
        }
    }

    fn end_group(&mut self) {
        self.context.tables.end_group();
        for Op { domain, id, time } in self.queue.changes() {
            self.timers.groups.push(self.group);
            self.timers.ids.push(id);
            self.timers.times.push(time.unwrap_or_default());
            self.timers.domains.push(domain.number());
            self.timers.sets.push(u8::from(time.is_some()));
        }
    }
}

/// The earliest times for which timers are set, by domain.
type Earliest = [i64; 2];

fn in_domain([event_time, processing_time]: Earliest, domain: Domain) -> i64 {
    match domain {
        Domain::EventTime => event_time,
        Domain::ProcessingTime => processing_time,
    }
}

/// The least number stands for a watermark that is not known.
fn known(watermark: i64) -> Option<i64> {
    Some(watermark).filter(|&watermark| watermark != i64::MIN)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("a call has fewer than 2^32 rows and timers")
}

/// Timers are rejected where they fire, between rows, and have the greater numbers.
fn ascending(rejected: Rejects) -> Rejects {
    if rejected.rows.is_sorted() {
        return rejected;
    }
    let cells = rejected.codes.cells().zip(rejected.reasons.cells());
    let mut all: Vec<_> = rejected.rows.iter().copied().zip(cells).collect();
    all.sort_by_key(|&(row, _)| row);
    Rejects {
        rows: all.iter().map(|&(row, _)| row).collect(),
        codes: all.iter().map(|(_, (code, _))| code.bytes()).collect(),
        reasons: all.iter().map(|(_, (_, reason))| reason.bytes()).collect(),
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;

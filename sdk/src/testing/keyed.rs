//! Runs a keyed plugin natively, as the host would: groups, state, timers, tables.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::input::{Input, batch};
use super::output::{Emitted, Outcome, Rejected};
use super::store::{MemoryTables, with_tables};
use crate::answer::Parts;
use crate::columns::{Cell, Column, SAME};
use crate::host;
use crate::process::{self, Domain, Done, DueTimers, Process, Timer, TimerChanges, Work};
use crate::state::{Kept, decode_kept, encode_whole};

/// A key as the run keeps it.
type Key = Option<Vec<u8>>;

/// What a test did.
#[derive(Debug, Clone)]
enum Step {
    Row(u16, Input),
    Watermark(i64),
    Clock(i64),
}

/// A keyed plugin that is being run: rows go in, the watermark and the clock are moved by hand.
#[derive(Debug)]
pub struct Keyed<'p, P: Process> {
    plugin: &'p P,
    steps: Vec<Step>,
    simulation: Simulation<'p, P>,
}

/// Begins to run a keyed plugin. Rows are processed at once, each in a call of its own.
///
/// The watermark is not known until it is set, and the clock begins at 0.
pub fn keyed<P: Process>(plugin: &P) -> Keyed<'_, P> {
    drop(host::take());
    Keyed { plugin, steps: Vec::new(), simulation: Simulation::new(plugin) }
}

impl<P: Process> Keyed<'_, P> {
    /// Processes a row.
    pub fn row(&mut self, row: impl Into<Input>) {
        self.row_by(0, row);
    }

    /// Processes a row that comes by another input than the first one.
    pub fn row_by(&mut self, input: u16, row: impl Into<Input>) {
        self.step(Step::Row(input, row.into()));
    }

    /// Moves the watermark, and fires what falls due. It never goes back.
    pub fn watermark(&mut self, watermark: i64) {
        self.step(Step::Watermark(watermark));
    }

    /// Moves the clock, and fires what falls due.
    pub fn clock(&mut self, processing_time: i64) {
        self.step(Step::Clock(processing_time));
    }

    fn step(&mut self, step: Step) {
        self.simulation.run(std::slice::from_ref(&step));
        self.steps.push(step);
    }

    /// The rows that have been emitted so far.
    pub fn rows(&self) -> &[Emitted] {
        &self.simulation.outcome.rows
    }

    /// The rows that have been rejected so far.
    pub fn rejected(&self) -> &[Rejected] {
        &self.simulation.outcome.rejected
    }

    /// The timers that are set for a key, in order; without those that clean up state.
    pub fn timers(&self, key: impl Into<Vec<u8>>) -> Vec<Timer> {
        let timers = self.simulation.timers.get(&Some(key.into())).into_iter().flatten();
        let own = timers.filter(|((_, id), _)| *id != process::CLEAN_UP);
        let mut own: Vec<Timer> = own.map(|(&(domain, id), &time)| process::timer_of(id, time, domain)).collect();
        own.sort();
        own
    }

    /// The state of a key; none if nothing is kept.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn state(&self, key: impl Into<Vec<u8>>) -> Option<P::State> {
        self.simulation.state(&Some(key.into())).map(|kept| kept.state)
    }

    /// How many keys have state or timers.
    pub fn keys(&self) -> usize {
        let timers = self.simulation.timers.iter().filter(|(_, timers)| !timers.is_empty());
        timers.map(|(key, _)| key).chain(self.simulation.state.keys()).collect::<BTreeSet<_>>().len()
    }

    /// How many entries the tables of all keys have.
    pub fn table_entries(&self) -> usize {
        self.simulation.tables.borrow().all().len()
    }

    /// How many pages the states of all keys have, beside what rides in columns.
    pub fn state_pages(&self) -> usize {
        self.simulation.tables.borrow().pages()
    }

    /// Ends the run: all that came of it, in order. Rows and rejections name the row they come from by its number among the
    /// run's rows; those of timers have [`FROM_TIMER`] there.
    ///
    /// The same steps are run again in calls of other sizes, up to as large as can be.
    ///
    /// # Panics
    /// If a key then sees something else: results must not depend on where batches are cut.
    pub fn end(mut self) -> Outcome {
        let message = host::take();
        for size in [2, 3, 7, usize::MAX] {
            let mut other = Simulation::new(self.plugin);
            self.steps.chunks(size).for_each(|steps| other.run(steps));
            other.assert_same(&self.simulation, size);
        }
        drop(host::take());
        std::mem::take(&mut self.simulation.outcome).with(message)
    }
}

/// What stands for the number of the row where a timer emitted or was rejected.
pub const FROM_TIMER: usize = usize::MAX;

/// Calls on end that fire timers and no more, before this is a plugin that never comes to rest.
const CALLS_MAX: usize = 10_000;

/// The host as far as a keyed plugin sees it.
#[derive(Debug)]
struct Simulation<'p, P> {
    plugin: &'p P,
    state: BTreeMap<Key, Vec<u8>>,
    timers: BTreeMap<Key, BTreeMap<(Domain, u64), i64>>,
    tables: Rc<RefCell<MemoryTables>>,
    watermark: i64,
    clock: i64,
    rows: usize,
    outcome: Outcome,
    /// The key that each row and each rejection of the outcome comes from.
    row_keys: Vec<Key>,
    rejected_keys: Vec<Key>,
}

/// A row on its way.
struct Placed<'s> {
    number: usize,
    input: u16,
    watermark: i64,
    row: &'s Input,
}

impl<'p, P: Process> Simulation<'p, P> {
    fn new(plugin: &'p P) -> Self {
        Self {
            plugin,
            state: BTreeMap::new(),
            timers: BTreeMap::new(),
            tables: Rc::default(),
            watermark: i64::MIN,
            clock: 0,
            rows: 0,
            outcome: Outcome::default(),
            row_keys: Vec::new(),
            rejected_keys: Vec::new(),
        }
    }

    /// The state of a key, all of it in memory.
    fn state(&self, key: &Key) -> Option<Kept<P::State>> {
        let bytes = self.state.get(key)?;
        let read =
            |bytes: &[u8]| decode_kept(self.plugin.state(), 0, bytes).unwrap_or_else(|message| panic!("{message}"));
        let mut whole = Vec::new();
        self.tables.borrow_mut().groups = vec![key.clone()];
        with_tables(self.tables.clone(), || encode_whole(&mut read(bytes), &mut whole));
        Some(read(&whole))
    }

    /// The states of all keys, each in one piece: where they go on in pages, and how, depends on where batches are cut.
    fn states(&self) -> BTreeMap<Key, Vec<u8>> {
        let whole = |key: &Key| {
            let mut bytes = Vec::new();
            self.state(key).iter_mut().for_each(|kept| encode_whole(kept, &mut bytes));
            (key.clone(), bytes)
        };
        self.state.keys().map(whole).collect()
    }

    /// Runs steps in as few calls as can be: in a call, the clock stands still.
    fn run(&mut self, steps: &[Step]) {
        let mut rows = Vec::new();
        for step in steps {
            match step {
                Step::Row(input, row) => {
                    rows.push(Placed { number: self.rows, input: *input, watermark: self.watermark, row });
                    self.rows += 1;
                }
                Step::Watermark(watermark) => self.watermark = self.watermark.max(*watermark),
                Step::Clock(clock) => {
                    self.micro_batch(&std::mem::take(&mut rows));
                    self.clock = self.clock.max(*clock);
                }
            }
        }
        self.micro_batch(&rows);
    }

    /// A call, and more of them while there are timers that are due.
    fn micro_batch(&mut self, rows: &[Placed<'_>]) {
        self.call(rows);
        let mut calls = 0;
        while self.timers.values().flatten().any(|(&timer, &time)| self.is_due(timer, time)) {
            self.call(&[]);
            calls += 1;
            assert!(
                calls < CALLS_MAX,
                "timers go on falling due: each one that fires sets another one for a time that has come"
            );
        }
    }

    fn is_due(&self, (domain, _): (Domain, u64), time: i64) -> bool {
        match domain {
            Domain::EventTime => time <= self.watermark,
            Domain::ProcessingTime => time <= self.clock,
        }
    }

    fn call(&mut self, rows: &[Placed<'_>]) {
        // Groups in the order in which their keys first appear, then those with timers alone.
        let mut keys: Vec<Key> = Vec::new();
        let with_timers =
            self.timers.iter().filter(|(_, timers)| timers.iter().any(|(&id, &time)| self.is_due(id, time)));
        for key in rows.iter().map(|placed| &placed.row.key).chain(with_timers.map(|(key, _)| key)) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        if keys.is_empty() {
            return;
        }
        let mut due = DueTimers::default();
        let mut ordered: Vec<&Placed<'_>> = Vec::new();
        let mut group_rows = Vec::new();
        for (group, key) in (0..).zip(&keys) {
            let before = ordered.len();
            ordered.extend(rows.iter().filter(|placed| placed.row.key == *key));
            group_rows.push(u32::try_from(ordered.len() - before).expect("a test has fewer than 2^32 rows"));
            for (time, id, domain) in self.take_due(key) {
                due.groups.push(group);
                due.ids.push(id);
                due.times.push(time);
                due.domains.push(domain.number());
            }
        }
        let inputs: Vec<Input> = ordered.iter().map(|placed| placed.row.clone()).collect();
        let work = Work {
            group_rows,
            rows: batch(&inputs, P::READS),
            inputs: ordered.iter().map(|placed| placed.input).collect(),
            row_watermarks: ordered.iter().map(|placed| placed.watermark).collect(),
            keys: keys.iter().map(Option::as_deref).collect(),
            state: keys.iter().map(|key| self.state.get(key).map(Vec::as_slice)).collect(),
            due,
            watermark: self.watermark,
            processing_time: self.clock,
        };
        self.tables.borrow_mut().groups.clone_from(&keys);
        let done = with_tables(self.tables.clone(), || process::process(self.plugin, &work));
        self.keep_state(&keys, &done.state);
        self.keep_timers(&keys, &done.timers);
        let numbers: Vec<usize> = ordered.iter().map(|placed| placed.number).collect();
        self.keep_rows(&keys, inputs, &numbers, &work, done);
    }

    /// Takes the timers of a key that are due, in order.
    fn take_due(&mut self, key: &Key) -> Vec<(i64, u64, Domain)> {
        let due = |timer, time| self.is_due(timer, time);
        let timers = self.timers.get(key).into_iter().flatten();
        let mut taken: Vec<_> = timers
            .filter(|&(&timer, &time)| due(timer, time))
            .map(|(&(domain, id), &time)| (time, id, domain))
            .collect();
        taken.sort_unstable();
        if let Some(timers) = self.timers.get_mut(key) {
            timers.retain(|&timer, &mut time| !taken.contains(&(time, timer.1, timer.0)));
        }
        taken
    }

    fn keep_state(&mut self, keys: &[Key], state: &Column) {
        assert_eq!(keys.len(), state.len(), "a state for each group");
        for (key, state) in keys.iter().zip(state.cells()) {
            match state {
                Cell::Same => {}
                Cell::Null => drop(self.state.remove(key)),
                Cell::Bytes(bytes) => drop(self.state.insert(key.clone(), bytes.to_vec())),
            }
        }
    }

    fn keep_timers(&mut self, keys: &[Key], changes: &TimerChanges) {
        for (place, &group) in changes.groups.iter().enumerate() {
            let timers = self.timers.entry(keys[group as usize].clone()).or_default();
            let timer = (Domain::of_number(changes.domains[place]), changes.ids[place]);
            match changes.sets[place] {
                0 => drop(timers.remove(&timer)),
                _ => drop(timers.insert(timer, changes.times[place])),
            }
        }
    }

    /// Reads the rows of the answer. Timers stand behind the rows, as sources without a value.
    fn keep_rows(&mut self, keys: &[Key], mut inputs: Vec<Input>, numbers: &[usize], work: &Work, done: Done) {
        let mut groups: Vec<u32> = Vec::new();
        for (group, &rows) in (0..).zip(&work.group_rows) {
            groups.extend(std::iter::repeat_n(group, rows as usize));
        }
        for timers in [&work.due, &done.fired] {
            for (&group, &time) in timers.groups.iter().zip(&timers.times) {
                groups.push(group);
                let timer = Input::null().at(time);
                inputs.push(keys[group as usize].clone().map_or(timer.clone(), |key| timer.key(key)));
            }
        }
        for rows in done.early.iter().chain([&done.rows]) {
            for (row, &source) in rows.source_rows.iter().enumerate() {
                let own = rows.values.lengths.get(row).is_some_and(|&length| length != SAME);
                assert!(own || (source as usize) < numbers.len(), "a row that a timer emits has a value");
            }
        }
        let key = |source: usize| keys[groups[source] as usize].clone();
        let answer = Parts { early: done.early, rows: done.rows, rejected: done.rejected };
        let outcome = Outcome::of_any_order(&inputs, &work.rows, P::OUTPUTS, answer);
        let number = |source: usize| numbers.get(source).copied().unwrap_or(FROM_TIMER);
        for row in outcome.rows {
            self.row_keys.push(key(row.source));
            self.outcome.rows.push(Emitted { source: number(row.source), ..row });
        }
        for rejected in outcome.rejected {
            self.rejected_keys.push(key(rejected.row));
            self.outcome.rejected.push(Rejected { row: number(rejected.row), ..rejected });
        }
    }

    /// Holds two runs of the same steps against each other: this one in calls of so many steps, the other in calls of one.
    fn assert_same(&self, other: &Self, size: usize) {
        fn by_key<T: Clone>(keys: &[Key], things: &[T]) -> BTreeMap<Key, Vec<T>> {
            let mut all: BTreeMap<Key, Vec<T>> = BTreeMap::new();
            keys.iter().zip(things).for_each(|(key, thing)| all.entry(key.clone()).or_default().push(thing.clone()));
            all
        }
        let rows = |run: &Self| by_key(&run.row_keys, &run.outcome.rows);
        let rejected = |run: &Self| {
            let mut all = by_key(&run.rejected_keys, &run.outcome.rejected);
            // In an answer rejected rows come before rejected timers.
            all.values_mut().for_each(|rejected| rejected.sort_by_key(|one| one.row));
            all
        };
        let timers = |run: &Self| {
            let mut timers = run.timers.clone();
            timers.retain(|_, timers| !timers.is_empty());
            timers
        };
        let entries = |run: &Self| run.tables.borrow().all();
        let how = format!("depend on where batches are cut: each {size} steps (left), each step (right)");
        assert_eq!(rows(self), rows(other), "rows {how}");
        assert_eq!(rejected(self), rejected(other), "rejections {how}");
        assert_eq!(self.states(), other.states(), "states {how}");
        assert_eq!(timers(self), timers(other), "timers {how}");
        assert_eq!(entries(self), entries(other), "tables {how}");
    }
}

//! One call: what goes in, and what its answer does to the state.

use std::cell::LazyCell;
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use super::collect::Sources;
use super::run::{Run, Unit};
use super::{KEY_TIMERS_MAX, NEVER};
use crate::pipeline::engine::gather::slice;
use crate::pipeline::engine::steps::{ROW_BYTES, Stop};
use crate::plugin::{Called, Domain, Done, Emitted, Failure, SharedTables, Timers, Work};
use crate::record::Column;
use crate::state::{CallTables, SlotId, Timer};

/// What came of a call.
#[derive(Debug)]
pub(super) enum Answered {
    /// The answer was taken, or there was nothing to do.
    Applied,
    /// A timer has more to emit, and the answer was dropped.
    GoesOn,
    /// The call failed.
    Failed(Failure),
}

impl Run<'_, '_> {
    /// Calls the plugin with units whose rows are next to each other, and takes its answer; if only `whole` ones are wanted,
    /// none of which a timer goes on.
    ///
    /// Units without rows are due up to the same time: by it, the plugin knows which timers may fire that it sets.
    pub(super) async fn call(&mut self, units: &[Unit], whole: bool) -> Result<Answered, Stop> {
        let (mut timers, mut due, mut watermark) = (Vec::new(), Timers::default(), NEVER);
        for (group, unit) in (0..).zip(units) {
            let before = timers.len();
            self.due(unit, &mut timers);
            due.groups.resize(timers.len(), group);
            watermark = watermark.max(until(unit, &timers[before..]));
        }
        let (Some(first), Some(last)) =
            (units.first(), units.iter().rfind(|unit| !unit.rows.is_empty()).or(units.last()))
        else {
            return Ok(Answered::Applied);
        };
        let range = first.rows.start as usize..last.rows.end.max(first.rows.start) as usize;
        if range.is_empty() && timers.is_empty() {
            return Ok(Answered::Applied);
        }
        due.ids.extend(timers.iter().map(|timer| timer.id));
        due.times.extend(timers.iter().map(|timer| timer.time));
        due.domains.extend(timers.iter().map(|timer| timer.domain as u8));
        let slots: Vec<SlotId> = units.iter().map(|unit| unit.slot).collect();
        let group_rows: Vec<u32> = units.iter().map(|unit| unit.rows.len() as u32).collect();
        let (mut keys, mut state) = (Column::default(), Column::default());
        slots.iter().for_each(|&slot| keys.push(self.state.key(slot)));
        self.state.load(&slots, &mut state);
        let marks = &self.chunk.grouped_marks()[range.clone()];
        let watermark = marks.iter().copied().fold(watermark, i64::max);
        let same = marks.iter().all(|&mark| mark == watermark);
        let tables = self.process.has_tables().then(|| self.state.lend_tables(&slots));
        let work = Work {
            group_rows: &group_rows,
            rows: slice(self.chunk.grouped(), range.clone()),
            inputs: self.chunk.inputs(range.clone()),
            row_watermarks: if same { &[] } else { marks },
            keys: keys.view(),
            state: state.view(),
            due: &due,
            watermark,
            processing_time: self.clock,
            tables: tables.clone().map(|tables: Arc<Mutex<CallTables>>| tables as SharedTables),
        };
        let result = self.process.guest.process(work).await;
        let result = result.and_then(|called| self.within_limits(&slots, &timers, &due, called));
        let mut goes_on = result.as_ref().is_ok_and(|called| !called.answer.going_on.is_empty());
        let among_rows = goes_on && !self.chunk.rows.is_empty();
        self.state.pace.wide |= among_rows;
        // Among rows it has to come to its end in this commit, unless there can be fewer of them.
        let retreats = among_rows && self.sink.may_retreat;
        goes_on &= whole || retreats;
        if let Some(tables) = tables {
            self.state.take_tables(&tables, result.is_ok() && !goes_on);
        }
        let called = match result {
            Ok(called) => called,
            Err(failure) => return Ok(Answered::Failed(failure)),
        };
        if goes_on {
            self.sink.usage.fuel += called.fuel;
            return if retreats { Err(Stop::Retreat) } else { Ok(Answered::GoesOn) };
        }
        self.sink.succeeded(called.fuel);
        self.sink.may_retreat = false;
        let sources = Sources { slots: &slots, range, group_rows: &group_rows, due: &due, timers: &timers };
        self.apply(units, &sources, &called.answer);
        Ok(Answered::Applied)
    }

    /// Whether not too much has been emitted, and no key would have too many timers.
    fn within_limits(
        &self,
        slots: &[SlotId],
        timers: &[Timer],
        due: &Timers,
        called: Called<Done>,
    ) -> Result<Called<Done>, Failure> {
        let emitted: usize = called.answer.pieces().map(bytes).sum();
        let (bytes, limit) = (self.collected.bytes() + emitted, self.sink.plan.chunk_output_bytes);
        if self.enough.is_none() && bytes > limit {
            return Err(Failure {
                code: "limit_chunk_output",
                message: format!(
                    "rows and timers that are processed together emitted {bytes} bytes, the limit is {limit}: emit less for each, or let timers go on"
                ),
                backtrace: Vec::new(),
                fuel: called.fuel,
                guest: true,
            });
        }
        let changes = &called.answer.timers;
        if changes.sets.is_empty() {
            return Ok(called);
        }
        let mut sets = vec![0_usize; slots.len()];
        for (&group, &set) in changes.timers.groups.iter().zip(&changes.sets) {
            sets[group as usize] += usize::from(set == 1);
        }
        for (group, &slot) in (0..).zip(slots) {
            // It is worth to count only where there would be too many if each were new.
            let before = self.state.timers(slot);
            if sets[group as usize] == 0 || before + sets[group as usize] <= KEY_TIMERS_MAX {
                continue;
            }
            let mut there: BTreeSet<(Domain, u64)> =
                self.state.all_timers(slot).map(|timer| (timer.domain, timer.id)).collect();
            for (_, timer) in due.groups.iter().zip(timers).filter(|(of, _)| **of == group) {
                there.remove(&(timer.domain, timer.id));
            }
            for at in (0..changes.sets.len()).filter(|&at| changes.timers.groups[at] == group) {
                let timer = (domain_of(changes.timers.domains[at]), changes.timers.ids[at]);
                if changes.sets[at] == 1 {
                    there.insert(timer)
                } else {
                    there.remove(&timer)
                };
            }
            let count = there.len();
            if count > KEY_TIMERS_MAX && count > before {
                return Err(Failure {
                    code: "limit_key_timers",
                    message: format!("{count} timers of one key, the limit is {KEY_TIMERS_MAX}"),
                    backtrace: Vec::new(),
                    fuel: called.fuel,
                    guest: true,
                });
            }
        }
        Ok(called)
    }

    fn apply(&mut self, units: &[Unit], sources: &Sources<'_>, done: &Done) {
        self.state.store(sources.slots, &done.state);
        for (&group, timer) in sources.due.groups.iter().zip(sources.timers) {
            self.state.remove_timer(sources.slots[group as usize], timer.domain, timer.id);
        }
        self.apply_timers(units, done);
        self.collect(sources, done);
        let reached = LazyCell::new(|| reached(units.len(), sources, done));
        let emitted_any = done.pieces().any(|piece| !piece.source_rows.is_empty());
        for &group in &sources.due.groups {
            self.stirred.push(sources.slots[group as usize]);
        }
        for (group, unit) in units.iter().enumerate() {
            self.fired += usize::from(unit.rows.is_empty());
            let going_on = emitted_any && done.going_on.contains(&(group as u32));
            if let Some(chain) = self.follow(unit, || reached[group]) {
                chain.called(fired_of(&done.fired, group as u32), going_on);
            }
        }
    }

    fn apply_timers(&mut self, units: &[Unit], done: &Done) {
        let changes = &done.timers;
        for (at, &group) in changes.timers.groups.iter().enumerate() {
            let unit = &units[group as usize];
            let (id, domain) = (changes.timers.ids[at], domain_of(changes.timers.domains[at]));
            if changes.sets[at] == 1 {
                let time = match domain {
                    Domain::Processing => changes.timers.times[at],
                    // What is due already falls due when time moves on after the key's last row.
                    Domain::Event => changes.timers.times[at].max(self.earliest(unit)),
                };
                self.state.set_timer(unit.slot, Timer { domain, time, id });
            } else {
                self.state.remove_timer(unit.slot, domain, id);
            }
            if self.stirred.last() != Some(&unit.slot) {
                self.stirred.push(unit.slot);
            }
        }
    }

    /// The earliest time at which an event-time timer can be due that was set in a unit. The least of all times stands for
    /// no watermark, so no timer is due at it.
    fn earliest(&self, unit: &Unit) -> i64 {
        match unit.rows.clone().next_back() {
            Some(last) => self.chunk.grouped_marks()[last as usize].saturating_add(1),
            None => NEVER + 1,
        }
    }

    /// Collects what was emitted and rejected.
    fn collect(&mut self, sources: &Sources<'_>, done: &Done) {
        let mut collected = std::mem::take(&mut self.collected);
        collected.emitted(self, sources, done);
        if !done.rejected.rows.is_empty() {
            collected.rejected(self, sources, done);
        }
        self.collected = collected;
    }
}

/// The time to which firing has come in each group. A due timer that was set or deleted in the call need not have fired,
/// unless it emitted something or was rejected.
fn reached(groups: usize, sources: &Sources<'_>, done: &Done) -> Vec<i64> {
    let (changes, fired) = (&done.timers.timers, &done.fired);
    let changed: HashSet<(u32, u8, u64)> = changes
        .groups
        .iter()
        .zip(&changes.domains)
        .zip(&changes.ids)
        .map(|((&of, &domain), &id)| (of, domain, id))
        .collect();
    let heard_of: HashSet<u32> =
        done.pieces().flat_map(|piece| &piece.source_rows).chain(&done.rejected.rows).copied().collect();
    let rows = sources.range.len() as u32;
    let mut reached = vec![NEVER; groups];
    for ((number, &group), timer) in (rows..).zip(&sources.due.groups).zip(sources.timers) {
        let may_be_gone = changed.contains(&(group, timer.domain as u8, timer.id));
        if timer.domain == Domain::Event && (!may_be_gone || heard_of.contains(&number)) {
            reached[group as usize] = reached[group as usize].max(timer.time);
        }
    }
    for ((&group, &domain), &time) in fired.groups.iter().zip(&fired.domains).zip(&fired.times) {
        if domain_of(domain) == Domain::Event {
            reached[group as usize] = reached[group as usize].max(time);
        }
    }
    reached
}

/// The times of the timers of a group that were set and fired in a call. Those of a group are next to each other.
fn fired_of(fired: &Timers, group: u32) -> impl Iterator<Item = i64> {
    let places = fired.groups.iter().zip(&fired.times);
    places.filter(move |(of, _)| **of == group).map(|(_, &time)| time)
}

/// The time up to which timers of a unit may fire that are set in its call: as far as it is due, or as the last of its timers
/// if there may be more.
fn until(unit: &Unit, timers: &[Timer]) -> i64 {
    match timers.last() {
        Some(last) if timers.len() == unit.most as usize => match last.domain {
            Domain::Event => last.time,
            Domain::Processing => NEVER,
        },
        _ => unit.until,
    }
}

/// What emitted rows take.
fn bytes(emitted: &Emitted) -> usize {
    let headers = emitted.headers.names.bytes.len() + emitted.headers.values.bytes.len();
    emitted.keys.bytes.len() + emitted.values.bytes.len() + headers + emitted.source_rows.len() * ROW_BYTES
}

/// The domain of a number that has been checked.
pub(super) fn domain_of(number: u8) -> Domain {
    if number == 0 { Domain::Event } else { Domain::Processing }
}

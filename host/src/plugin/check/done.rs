//! What `process` answers: rows in any order, out of rows and timers, and the state and timers of its groups.

use super::{CallShape, invalid};
use crate::plugin::bindings::{DoneResult, TimerChangesResult, TimersResult};
use crate::plugin::emission::Emission;
use crate::plugin::failure::{Code, Trap};
use crate::plugin::{AS_SOURCE, Done, Emitted, TimerChanges, Timers};

/// What a call of `process` was given beside its rows.
#[derive(Debug, Clone, Copy)]
pub(in crate::plugin) struct Given {
    pub(in crate::plugin) groups: usize,
    pub(in crate::plugin) due: usize,
}

impl CallShape<'_> {
    /// Checks the answer of `process`.
    pub(in crate::plugin) fn done(self, given: Given, done: DoneResult, emission: Emission) -> Result<Done, Trap> {
        let fired = self.fired(given, done.fired)?;
        // Timers are rejected by the numbers by which they emit.
        let all = Self { rows: self.rows + given.due + fired.groups.len(), ..self };
        let rejected = all.rejected(done.rejected)?;
        self.fit(&emission.pieces, &done.rows)?;
        let emit = |rows| {
            let emitted = self.emitted_from_anywhere(rows)?;
            self.sources(&emitted, all.rows)?;
            if !rejected.rows.is_empty() {
                all.apart_in_any_order(&emitted.source_rows, &rejected.rows)?;
            }
            Ok(emitted)
        };
        let early = emission.pieces.into_iter().map(emit).collect::<Result<_, Trap>>()?;
        let emitted = emit(done.rows)?;
        let state = self.states(given.groups, done.state, AS_SOURCE)?;
        let timers = self.changes(given, done.timers)?;
        let going_on = emission.going_on;
        if let Some(group) = going_on.iter().find(|&&group| group as usize >= given.groups) {
            return Err(invalid(format!("group {group} of {} goes on", given.groups)));
        }
        Ok(Done { early, emitted, rejected, state, timers, fired, going_on })
    }

    /// Rows come from a row or a timer that there is, and those of timers have a value.
    fn sources(self, emitted: &Emitted, sources: usize) -> Result<(), Trap> {
        let places = &emitted.source_rows;
        let last = places.iter().fold(None, |last, &place| last.max(Some(place)));
        let Some(last) = last.map(|last| last as usize) else { return Ok(()) };
        if last >= sources {
            return Err(invalid(format!("source rows name {last} of {sources} rows and timers")));
        }
        if last < self.rows {
            return Ok(());
        }
        let lengths = &emitted.values.lengths;
        let of_timer = |place: u32| place as usize >= self.rows;
        let bare = places
            .iter()
            .zip(lengths)
            .fold(false, |found, (&place, &length)| found | (of_timer(place) & (length == AS_SOURCE)));
        if bare || lengths.is_empty() {
            return Err(invalid("a row of a timer is to have its source row's value, but a timer has none"));
        }
        Ok(())
    }

    /// No row is both emitted and rejected.
    fn apart_in_any_order(self, emitted: &[u32], rejected: &[u32]) -> Result<(), Trap> {
        let mut is_rejected = vec![false; self.rows];
        for &row in rejected {
            is_rejected[row as usize] = true;
        }
        match emitted.iter().find(|&&row| is_rejected.get(row as usize) == Some(&true)) {
            Some(row) => Err(invalid(format!("row {row} is both emitted and rejected"))),
            None => Ok(()),
        }
    }

    fn changes(self, given: Given, changes: TimerChangesResult) -> Result<TimerChanges, Trap> {
        let TimerChangesResult { groups, ids, times, domains, sets } = changes;
        let bounds = (self.limits.timers_base, self.limits.timers_per_row);
        self.within(Code::Timers, "timers set and deleted", bounds, groups.len())?;
        if sets.len() != groups.len() {
            return Err(invalid(format!("{} changes of timers, {} of them set or delete", groups.len(), sets.len())));
        }
        if let Some(other) = sets.iter().find(|&&set| set > 1) {
            return Err(invalid(format!("a timer is neither set (1) nor deleted (0) but {other}")));
        }
        let timers = Timers { groups, ids, times, domains };
        sound(&timers, given.groups)?;
        Ok(TimerChanges { timers, sets })
    }

    fn fired(self, given: Given, fired: TimersResult) -> Result<Timers, Trap> {
        let TimersResult { groups, ids, times, domains } = fired;
        let bounds = (self.limits.fired_base, self.limits.fired_per_row);
        self.within(Code::Timers, "timers set and fired in the call", bounds, groups.len())?;
        let timers = Timers { groups, ids, times, domains };
        sound(&timers, given.groups)?;
        Ok(timers)
    }
}

/// Timers have columns of one length, groups that exist and a domain.
fn sound(timers: &Timers, groups: usize) -> Result<(), Trap> {
    let Timers { groups: of, ids, times, domains } = timers;
    let count = of.len();
    if ids.len() != count || times.len() != count || domains.len() != count {
        let (ids, times, domains) = (ids.len(), times.len(), domains.len());
        return Err(invalid(format!("timers of {count} groups with {ids} ids, {times} times and {domains} domains")));
    }
    let last = of.iter().fold(0, |last, &group| last.max(group));
    if count > 0 && last as usize >= groups {
        return Err(invalid(format!("timers name group {last} of {groups}")));
    }
    let domain = domains.iter().fold(0, |most, &domain| most.max(domain));
    if domain > 1 {
        return Err(invalid(format!("a timer is of domain {domain}; there are 0, event time, and 1, processing time")));
    }
    Ok(())
}

#[cfg(test)]
#[path = "done_tests.rs"]
mod tests;

//! The timers of one group during a call: those that are due, those that are newly set, and what the host is to be told.
//!
//! What a callback does to timers is kept aside until it has succeeded. Of an id and domain there is one timer, so a due
//! one that is set again or deleted before it fires does not fire.

use std::collections::BTreeMap;

use super::timer::Domain;

/// What a callback does to a timer: sets it for a time, or deletes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Op {
    pub(crate) domain: Domain,
    pub(crate) id: u64,
    pub(crate) time: Option<i64>,
}

/// A timer that waits to be fired in this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) time: i64,
    pub(super) id: u64,
    /// Its place among the call's due timers; none for one that was set in this call.
    pub(super) due: Option<u32>,
}

/// The timers of one domain.
#[derive(Debug, Default)]
struct Line {
    /// In the order in which they fire.
    by_time: BTreeMap<(i64, u64), Option<u32>>,
    /// When each fires.
    by_id: BTreeMap<u64, i64>,
    /// How many of them are the host's due ones.
    due: usize,
}

impl Line {
    fn remove(&mut self, id: u64) {
        if let Some(time) = self.by_id.remove(&id)
            && let Some(Some(_)) = self.by_time.remove(&(time, id))
        {
            self.due -= 1;
        }
    }

    fn insert(&mut self, Waiting { time, id, due }: Waiting) {
        self.remove(id);
        self.by_id.insert(id, time);
        self.by_time.insert((time, id), due);
        self.due += usize::from(due.is_some());
    }

    fn pop(&mut self) -> Option<Waiting> {
        let ((time, id), due) = self.by_time.pop_first()?;
        self.by_id.remove(&id);
        self.due -= usize::from(due.is_some());
        Some(Waiting { time, id, due })
    }
}

/// The timers of a group.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: [Line; 2],
    /// The last thing that happened to each timer that was set or deleted: its time, or that it is no more.
    changes: BTreeMap<(Domain, u64), Option<i64>>,
}

impl Queue {
    /// Forgets the timers of the group before.
    pub(super) fn clear(&mut self) {
        // Most groups have none.
        for line in self.lines.iter_mut().filter(|line| !line.by_id.is_empty()) {
            *line = Line::default();
        }
        if !self.changes.is_empty() {
            self.changes.clear();
        }
    }

    fn line(&mut self, domain: Domain) -> &mut Line {
        let [event_time, processing_time] = &mut self.lines;
        match domain {
            Domain::EventTime => event_time,
            Domain::ProcessingTime => processing_time,
        }
    }

    /// Takes a timer that the host says is due. It is the host's no more.
    pub(super) fn due(&mut self, domain: Domain, id: u64, time: i64, place: u32) {
        self.line(domain).insert(Waiting { time, id, due: Some(place) });
    }

    /// Does what a callback asked for.
    pub(super) fn apply(&mut self, Op { domain, id, time }: Op) {
        let line = self.line(domain);
        match time {
            Some(time) => line.insert(Waiting { time, id, due: None }),
            None => line.remove(id),
        }
        self.changes.insert((domain, id), time);
    }

    /// The next timer up to `limit`.
    pub(super) fn next(&mut self, domain: Domain, limit: i64) -> Option<Waiting> {
        let line = self.line(domain);
        let (&(time, _), _) = line.by_time.first_key_value()?;
        if time > limit {
            return None;
        }
        let next = line.pop()?;
        if next.due.is_none() {
            // The host may know an earlier setting of it.
            self.changes.insert((domain, next.id), None);
        }
        Some(next)
    }

    /// When the next timer fires.
    pub(super) fn next_time(&mut self, domain: Domain) -> Option<i64> {
        self.line(domain).by_time.first_key_value().map(|(&(time, _), _)| time)
    }

    /// Gives the timers that are due and have not fired back to the host.
    pub(super) fn give_back(&mut self) {
        for (domain, line) in Domain::ALL.into_iter().zip(&self.lines) {
            let due = line.by_time.iter().filter(|(_, due)| due.is_some());
            self.changes.extend(due.map(|(&(time, id), _)| ((domain, id), Some(time))));
        }
    }

    /// When the last due timer of that domain fires.
    pub(super) fn last_due(&mut self, domain: Domain) -> Option<i64> {
        let line = self.line(domain);
        if line.due == 0 {
            return None;
        }
        line.by_time.iter().rev().find(|(_, due)| due.is_some()).map(|(&(time, _), _)| time)
    }

    /// What the host is to be told: each timer that was set, with its time, or deleted.
    pub(super) fn changes(&self) -> impl Iterator<Item = Op> {
        self.changes.iter().map(|(&(domain, id), &time)| Op { domain, id, time })
    }
}

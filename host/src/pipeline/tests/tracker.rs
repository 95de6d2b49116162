//! A guest with state and timers of its own, made to be checked: what it emits tells the whole history of its key.
//!
//! [`Tracker::on`] is what a plugin would be: it sees one row or timer and what the key has. The guest around it keeps
//! the contract's order inside a call; the model of the tests keeps it over the whole input, by other means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::guests::{answer, description, failure};
use crate::plugin::{
    AS_SOURCE, Call, Description, Domain, Done, Guest, Plugin, Processor, SharedTables, Stateful, TableRange, Work,
    World,
};
use crate::record::Column;

/// The guest.
#[derive(Debug)]
pub(super) struct Tracker {
    description: Description,
    /// Whether timers that are set while the last due ones fire are left to the host, though they come before those.
    leaves: bool,
    /// Whether timers of key `a` set themselves for the time at which they are, for ever.
    endless: bool,
}

fn made(leaves: bool, endless: bool) -> Guest {
    Guest::Process(Arc::new(Tracker { description: description(World::Process, &["rows", "side"]), leaves, endless }))
}

/// One that fires what it can.
pub(super) fn tracker() -> Guest {
    made(false, false)
}

/// One that fires no more than the contract asks for.
pub(super) fn leaving_tracker() -> Guest {
    made(true, false)
}

/// One whose timers of key `a` never end.
pub(super) fn endless_tracker() -> Guest {
    made(true, true)
}

/// What a key sees.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event<'a> {
    /// A row: `TIME KEY ACTION ACTION ..`.
    Row(&'a str, u16),
    Timer(Domain, u64, i64),
}

/// What it does.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Deeds {
    /// Values to emit.
    pub(super) emitted: Vec<String>,
    /// Timers to set and delete.
    pub(super) timers: Vec<(Domain, u64, Option<i64>)>,
    /// Whether it is rejected, or `None` if the call fails.
    pub(super) rejected: Option<bool>,
}

/// The entries of a key.
pub(super) trait Entries {
    fn get(&mut self, key: &str) -> Option<String>;
    fn put(&mut self, key: &str, value: Option<&str>);
    fn all(&mut self) -> Vec<(String, String)>;
}

/// What a plugin would be. The state is the number of events and a digest of them.
pub(super) fn on(key: &str, event: Event<'_>, state: &mut Option<String>, entries: &mut dyn Entries) -> Deeds {
    let mut deeds = Deeds { rejected: Some(false), ..Deeds::default() };
    let mut seen = match event {
        Event::Row(text, input) => format!("row {input} {text}"),
        Event::Timer(domain, id, time) => format!("timer {domain:?} {id} {time}"),
    };
    match event {
        Event::Row(text, _) => {
            for action in text.split(' ').skip(2) {
                let (what, rest) = action.split_at(1);
                let (name, value) = rest.split_once('@').unwrap_or((rest, ""));
                match what {
                    "s" | "p" => {
                        let domain = if what == "s" { Domain::Event } else { Domain::Processing };
                        deeds.timers.push((domain, number(name), Some(value.parse().expect("a time"))));
                    }
                    "d" => deeds.timers.push((Domain::Event, number(name), None)),
                    "f" => (0..number(name)).for_each(|id| deeds.timers.push((Domain::Event, id, Some(i64::MAX)))),
                    "w" => entries.put(name, Some(value)),
                    "x" => entries.put(name, None),
                    "g" => seen += &format!(" {:?} {:?}", entries.get(name), entries.all()),
                    "b" => deeds.rejected = Some(true),
                    "t" => deeds.rejected = None,
                    "c" => *state = None,
                    "q" => return deeds,
                    other => unreachable!("no action {other}"),
                }
            }
        }
        Event::Timer(Domain::Processing, id, time) if id < 3 => {
            deeds.timers.push((Domain::Processing, id, Some(time + 10)));
        }
        Event::Timer(Domain::Processing, ..) => {}
        Event::Timer(Domain::Event, id, time) => match id % 8 {
            2 => deeds.timers.push((Domain::Event, id + 1, Some(time.saturating_add(7)))),
            3 => deeds.timers.push((Domain::Event, 1, None)),
            4 => deeds.timers.push((Domain::Event, 5, Some(time.saturating_sub(30)))),
            6 => deeds.rejected = None,
            7 if id < 50 => deeds.timers.push((Domain::Event, id + 8, Some(time.saturating_add(10)))),
            0 if id > 0 => deeds.rejected = Some(true),
            _ => {}
        },
    }
    let (count, digest) = match state.as_deref().and_then(|state| state.split_once(' ')) {
        Some((count, digest)) => (number(count) + 1, u64::from_str_radix(digest, 16).expect("our own")),
        None => (1, 0),
    };
    let digest = seen
        .bytes()
        .fold(digest, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(5));
    *state = (!seen.contains(" c")).then(|| format!("{count} {digest:x}"));
    deeds.emitted.push(format!("{key} {count} {seen} {digest:x}"));
    deeds
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// The entries of a group, in table 0.
struct GroupEntries<'a> {
    tables: &'a SharedTables,
    group: u32,
    /// What to put back if the event is rejected.
    undo: Vec<(String, Option<String>)>,
}

impl Entries for GroupEntries<'_> {
    fn get(&mut self, key: &str) -> Option<String> {
        let keys: Column = [Some(key)].into_iter().collect();
        let values = self.tables.lock().expect("nobody panicked").get(0, &[self.group], keys.view()).expect("a group");
        values.iter().next().flatten().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    fn put(&mut self, key: &str, value: Option<&str>) {
        let old = self.get(key);
        self.undo.push((key.to_owned(), old));
        let keys: Column = [Some(key)].into_iter().collect();
        let values: Column = [value].into_iter().collect();
        let mut tables = self.tables.lock().expect("nobody panicked");
        tables.put(0, &[self.group], keys.view(), values.view()).expect("within limits");
    }

    fn all(&mut self) -> Vec<(String, String)> {
        let range = TableRange { start: b"", end: b"", backwards: false };
        let (keys, values) =
            self.tables.lock().expect("nobody panicked").range(0, self.group, range, 100).expect("a group");
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        keys.iter().map(text).zip(values.iter().map(text)).collect()
    }
}

/// A call on its way.
struct Calling<'a> {
    work: &'a Work<'a>,
    done: Done,
    tables: SharedTables,
    group: u32,
    key: String,
    state: Option<String>,
    /// Timers that may fire in the call, each with its place in `due` if it is one of those.
    queue: BTreeMap<(Domain, i64, u64), Option<u32>>,
    /// When each of them is due.
    times: BTreeMap<(Domain, u64), i64>,
    /// What becomes of timers that were set or deleted.
    changes: BTreeMap<(Domain, u64), Option<i64>>,
    rejected: BTreeSet<u32>,
    trapped: bool,
    endless: bool,
}

impl Calling<'_> {
    fn event(&mut self, event: Event<'_>, source: u32, earliest: i64) {
        let mut entries = GroupEntries { tables: &self.tables, group: self.group, undo: Vec::new() };
        let mut state = self.state.clone();
        let deeds = on(&self.key, event, &mut state, &mut entries);
        match deeds.rejected {
            None => self.trapped = true,
            Some(true) => {
                for (key, old) in std::mem::take(&mut entries.undo).into_iter().rev() {
                    entries.put(&key, old.as_deref());
                }
                self.rejected.insert(source);
            }
            Some(false) => {
                self.state = state;
                for value in deeds.emitted {
                    let emitted = &mut self.done.emitted;
                    emitted.source_rows.push(source);
                    emitted.values.push(Some(value.as_bytes()));
                    emitted.keys.lengths.push(AS_SOURCE);
                    emitted.outputs.push(u16::from(value.contains(" w")));
                }
                for (domain, id, time) in deeds.timers {
                    let time = time.map(|time| if domain == Domain::Event { time.max(earliest) } else { time });
                    if let Some(old) = self.times.remove(&(domain, id)) {
                        self.queue.remove(&(domain, old, id));
                    }
                    if let Some(time) = time {
                        self.queue.insert((domain, time, id), None);
                        self.times.insert((domain, id), time);
                    }
                    self.changes.insert((domain, id), time);
                }
            }
        }
    }

    fn fire(&mut self, domain: Domain, until: i64) {
        while let Some((&(of, time, id), &due)) = self.queue.range((domain, i64::MIN, 0)..).next()
            && of == domain
            && time <= until
        {
            self.queue.remove(&(of, time, id));
            self.times.remove(&(of, id));
            let rows = self.work.rows.len() as u32;
            let source = match due {
                Some(due) => rows + due,
                None => {
                    self.changes.insert((domain, id), None);
                    let fired = &mut self.done.fired;
                    fired.groups.push(self.group);
                    fired.ids.push(id);
                    fired.times.push(time);
                    fired.domains.push(domain as u8);
                    rows + self.work.due.groups.len() as u32 + fired.ids.len() as u32 - 1
                }
            };
            self.event(Event::Timer(domain, id, time), source, i64::MIN);
        }
    }

    fn fire_due(&mut self, domain: Domain, leave: bool) {
        if leave {
            let due: Vec<_> = self.queue.iter().filter(|((of, ..), due)| *of == domain && due.is_some()).collect();
            let due: Vec<_> = due.into_iter().map(|(&(_, time, id), &due)| (time, id, due)).collect();
            for (time, id, due) in due {
                if self.queue.remove(&(domain, time, id)).is_some() {
                    self.times.remove(&(domain, id));
                    let source = self.work.rows.len() as u32 + due.unwrap_or_default();
                    self.event(Event::Timer(domain, id, time), source, i64::MIN);
                    if self.endless && self.key == "a" {
                        self.changes.insert((domain, id), Some(time));
                    }
                }
            }
            return;
        }
        while let Some(until) =
            self.queue.iter().filter(|((of, ..), due)| *of == domain && due.is_some()).map(|(k, _)| k.1).max()
        {
            self.fire(domain, until);
        }
    }
}

impl Plugin for Tracker {
    fn description(&self) -> &Description {
        &self.description
    }
}

impl Stateful for Tracker {}

impl Processor for Tracker {
    fn process<'a>(&'a self, work: Work<'a>) -> Call<'a, Done> {
        let tables = work.tables.clone().expect("the manifest grants them");
        let mut calling = Calling {
            work: &work,
            done: Done::default(),
            tables,
            group: 0,
            key: String::new(),
            state: None,
            queue: BTreeMap::new(),
            times: BTreeMap::new(),
            changes: BTreeMap::new(),
            rejected: BTreeSet::new(),
            trapped: false,
            endless: self.endless,
        };
        let mut values = work.rows.values.iter();
        let mut row = 0;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for ((group, &rows), (key, state)) in (0..).zip(work.group_rows).zip(work.keys.iter().zip(work.state.iter())) {
            (calling.group, calling.key) = (group, text(key.unwrap_or_default()));
            calling.state = state.map(text);
            let before = calling.state.clone();
            calling.queue.clear();
            calling.times.clear();
            calling.changes.clear();
            for (place, _) in work.due.groups.iter().enumerate().filter(|(_, of)| **of == group) {
                let domain = if work.due.domains[place] == 0 { Domain::Event } else { Domain::Processing };
                let (time, id) = (work.due.times[place], work.due.ids[place]);
                calling.queue.insert((domain, time, id), Some(place as u32));
                calling.times.insert((domain, id), time);
            }
            calling.fire_due(Domain::Processing, self.leaves);
            for value in values.by_ref().take(rows as usize) {
                let watermark = work.row_watermarks.get(row as usize).copied().unwrap_or(work.watermark);
                calling.fire(Domain::Event, watermark);
                let input = work.inputs.get(row as usize).copied().unwrap_or(0);
                let text = text(value.unwrap_or_default());
                calling.event(Event::Row(&text, input), row, watermark.saturating_add(1));
                row += 1;
            }
            calling.fire_due(Domain::Event, self.leaves);
            let changed = calling.state != before;
            if changed {
                calling.done.state.push(calling.state.as_deref().map(str::as_bytes));
            } else {
                calling.done.state.lengths.push(AS_SOURCE);
            }
            for (&(domain, id), &time) in &calling.changes {
                let changes = &mut calling.done.timers;
                changes.timers.groups.push(group);
                changes.timers.ids.push(id);
                changes.timers.times.push(time.unwrap_or_default());
                changes.timers.domains.push(domain as u8);
                changes.sets.push(u8::from(time.is_some()));
            }
        }
        let Calling { mut done, rejected, trapped, .. } = calling;
        if trapped {
            return answer(Err(failure(true)));
        }
        for row in rejected {
            done.rejected.rows.push(row);
            done.rejected.codes.push(Some(b"rejected"));
            done.rejected.reasons.push(Some(b"it says so"));
        }
        answer(Ok(done))
    }
}

//! Guests whose rows come round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::guests::{answer, description};
use crate::plugin::{
    AS_SOURCE, Answer, Call, Description, Domain, Done, Guest, Metric, Plugin, Processor, Stateful, Transformer, Work,
    World,
};
use crate::record::BatchRef;

/// What a guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of a row `TIME KEY N` it gives the row, and by its second output one of the number before, down to 0.
    Countdown,
    /// The same, saying of each row that it is of round 1.
    Forging,
    /// Of a row `A B` it gives `edge B` for A and `edge A` for B.
    Link,
    /// The least name of all that a key is connected with, as far as it is known: by its first output whenever that
    /// changes, and by its second to all neighbours.
    Unite,
    /// It sets a timer for each row that it has not made itself, which gives a row `rung` by the second output.
    Ring,
}

#[derive(Debug)]
struct Going {
    description: Description,
    kind: Kind,
}

/// The guest of a plugin's name.
pub(super) fn going(name: &str) -> Guest {
    let (kind, world) = match name {
        "countdown" => (Kind::Countdown, World::Transform),
        "forging" => (Kind::Forging, World::Transform),
        "link" => (Kind::Link, World::Transform),
        "unite" => (Kind::Unite, World::Process),
        _ => (Kind::Ring, World::Process),
    };
    let going = Arc::new(Going { description: description(world, &["rows", "again"]), kind });
    if world == World::Process { Guest::Process(going) } else { Guest::Transform(going) }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

impl Going {
    fn count_down(&self, out: &mut Answer, row: u32, value: &str) {
        let words: Vec<&str> = value.split(' ').collect();
        let (time, key, left): (i64, _, u32) =
            (words[0].parse().expect("a time"), words[1], words[2].parse().expect("a number"));
        for (output, left) in [(0, Some(left)), (1, left.checked_sub(1))] {
            let Some(left) = left else { continue };
            out.emitted.source_rows.push(row);
            out.emitted.outputs.push(output);
            out.emitted.timestamps.push(time);
            out.emitted.keys.push(Some(key.as_bytes()));
            out.emitted.values.push(Some(format!("{time} {key} {left}").as_bytes()));
            if self.kind == Kind::Forging {
                out.emitted.headers.push_row([(&b"millstream.round"[..], Some(&b"1"[..]))]);
            }
        }
    }
}

/// A key of the graph: the least name that it knows of, and its neighbours.
struct Node {
    least: String,
    neighbours: BTreeSet<String>,
}

impl Node {
    /// Takes a row. What it says to whom: to the outside (`None`), and to neighbours.
    fn take(&mut self, is_new: bool, row: &str) -> Vec<(Option<String>, String)> {
        let (what, name) = row.split_once(' ').expect("two words");
        let mut says = Vec::new();
        let before = self.least.clone();
        if what == "least" && name < before.as_str() {
            self.least = name.to_owned();
        }
        if is_new || self.least != before {
            says.push((None, self.least.clone()));
        }
        if self.least != before {
            says.extend(self.neighbours.iter().map(|to| (Some(to.clone()), format!("least {}", self.least))));
        }
        if what == "edge" && self.neighbours.insert(name.to_owned()) {
            says.push((Some(name.to_owned()), format!("least {}", self.least)));
        }
        says
    }
}

fn emit(done: &mut Done, source: u32, key: Option<&str>, value: &str, output: u16) {
    done.emitted.source_rows.push(source);
    done.emitted.outputs.push(output);
    match key {
        Some(key) => done.emitted.keys.push(Some(key.as_bytes())),
        None => done.emitted.keys.lengths.push(AS_SOURCE),
    }
    done.emitted.values.push(Some(value.as_bytes()));
}

fn unite(work: &Work<'_>) -> Done {
    let mut done = Done::default();
    let mut rows = (0..).zip(work.rows.values.iter());
    for ((&count, key), state) in work.group_rows.iter().zip(work.keys.iter()).zip(work.state.iter()) {
        let (key, known) = (text(key), state.map(|state| text(Some(state))));
        let mut is_new = known.is_none();
        let known = known.unwrap_or_else(|| key.clone());
        let mut words = known.split(' ').map(str::to_owned);
        let mut node = Node { least: words.next().expect("a name"), neighbours: words.collect() };
        for (row, value) in rows.by_ref().take(count as usize) {
            for (to, value) in node.take(std::mem::take(&mut is_new), &text(value)) {
                emit(&mut done, row, to.as_deref(), &value, u16::from(to.is_some()));
            }
        }
        let words: Vec<String> = [node.least].into_iter().chain(node.neighbours).collect();
        done.state.push(Some(words.join(" ").as_bytes()));
    }
    done
}

fn ring(work: &Work<'_>) -> Done {
    let mut done = Done::default();
    let mut rows = (0..).zip(work.rows.values.iter());
    for (group, &count) in (0..).zip(work.group_rows) {
        for (row, value) in rows.by_ref().take(count as usize) {
            emit(&mut done, row, None, &text(value), 0);
            if value != Some(&b"rung"[..]) {
                let timers = &mut done.timers;
                timers.timers.groups.push(group);
                let time = work.rows.timestamps[row as usize];
                timers.timers.ids.push(time.cast_unsigned());
                timers.timers.times.push(time + 10);
                timers.timers.domains.push(Domain::Event as u8);
                timers.sets.push(1);
            }
        }
        done.state.lengths.push(AS_SOURCE);
    }
    for timer in 0..work.due.groups.len() as u32 {
        emit(&mut done, work.rows.len() as u32 + timer, None, "rung", 1);
    }
    done
}

impl Plugin for Going {
    fn description(&self) -> &Description {
        &self.description
    }

    fn metrics(&self) -> BTreeMap<String, Metric> {
        BTreeMap::new()
    }
}

impl Transformer for Going {
    fn transform<'a>(&'a self, rows: BatchRef<'a>) -> Call<'a, Answer> {
        let mut out = Answer::default();
        for (row, value) in (0..).zip(rows.values.iter()) {
            let value = text(value);
            if self.kind != Kind::Link {
                self.count_down(&mut out, row, &value);
                continue;
            }
            let (one, other) = value.split_once(' ').expect("two names");
            for (key, neighbour) in [(one, other), (other, one)] {
                out.emitted.source_rows.push(row);
                out.emitted.keys.push(Some(key.as_bytes()));
                out.emitted.values.push(Some(format!("edge {neighbour}").as_bytes()));
            }
        }
        answer(Ok(out))
    }
}

impl Stateful for Going {}

impl Processor for Going {
    fn process<'a>(&'a self, work: Work<'a>) -> Call<'a, Done> {
        answer(Ok(if self.kind == Kind::Unite { unite(&work) } else { ring(&work) }))
    }
}

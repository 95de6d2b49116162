//! Keyed steps against a model written for clarity: each key's rows and timers by the contract's order, results in one
//! order whatever the cuts, restarts and failures.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::harness::Driver;
use super::tracker::{Entries, Event, on};
use crate::plugin::Domain;

const TRACKING: &str = r#"
name = "p"
[source]
topics = ["in"]
[watermark]
disorder = "5ms"
[[steps]]
name = "parse"
plugin = "parse"
[[steps]]
name = "track"
plugin = "track"
grants = ["table"]
outputs = { side = "side" }
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;

/// A key of the model.
#[derive(Debug, Default)]
struct Key {
    state: Option<String>,
    timers: BTreeMap<u64, i64>,
    entries: BTreeMap<String, String>,
}

impl Entries for BTreeMap<String, String> {
    fn get(&mut self, key: &str) -> Option<String> {
        BTreeMap::get(self, key).cloned()
    }

    fn put(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.insert(key.to_owned(), value.to_owned()),
            None => self.remove(key),
        };
    }

    fn all(&mut self) -> Vec<(String, String)> {
        self.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// Rows one after the other; before each, all timers that its watermark has reached.
#[derive(Debug, Default)]
struct Model {
    keys: BTreeMap<String, Key>,
    out: Vec<String>,
    side: Vec<String>,
    /// Codes of dead letters, with the row or `KEY ID TIME` of the timer.
    dead: Vec<(String, String)>,
}

impl Model {
    fn event(&mut self, key: &str, event: Event<'_>, earliest: i64) {
        let what = self.keys.entry(key.to_owned()).or_default();
        let (mut state, mut entries) = (what.state.clone(), what.entries.clone());
        let deeds = on(key, event, &mut state, &mut entries);
        let letter = match event {
            Event::Row(text, _) => text.to_owned(),
            Event::Timer(_, id, time) => format!("{key} {id} {time}"),
        };
        match deeds.rejected {
            None => self.dead.push(("trap_unreachable".to_owned(), letter)),
            Some(true) => self.dead.push(("rejected".to_owned(), letter)),
            Some(false) => {
                (what.state, what.entries) = (state, entries);
                for (_, id, time) in deeds.timers {
                    match time {
                        Some(time) => what.timers.insert(id, time.max(earliest)),
                        None => what.timers.remove(&id),
                    };
                }
                for value in deeds.emitted {
                    if value.contains(" w") { self.side.push(value) } else { self.out.push(value) }
                }
            }
        }
    }

    /// Fires what a watermark has reached, in the order of time over all keys. What is set for a time that has passed comes
    /// right after what set it.
    fn advance(&mut self, watermark: i64) {
        let mut come_to: BTreeMap<String, i64> = BTreeMap::new();
        loop {
            let first = |(key, what): (&String, &Key)| {
                let (time, id) = what.timers.iter().map(|(&id, &time)| (time, id)).min()?;
                let order = time.max(come_to.get(key).copied().unwrap_or(i64::MIN));
                (time <= watermark).then(|| (order, key.clone(), time, id))
            };
            let Some((order, key, time, id)) = self.keys.iter().filter_map(first).min() else { return };
            self.keys.get_mut(&key).expect("it has a timer").timers.remove(&id);
            self.event(&key, Event::Timer(Domain::Event, id, time), i64::MIN);
            come_to.insert(key, order);
        }
    }
}

fn expected(rows: &[String]) -> Model {
    let (mut model, mut newest) = (Model::default(), None);
    for row in rows {
        let mut words = row.split(' ');
        let time: i64 = words.next().and_then(|word| word.parse().ok()).expect("a time");
        let key = words.next().unwrap_or_default().to_owned();
        let watermark = newest.map_or(i64::MIN, |newest: i64| newest - 6);
        model.advance(watermark);
        model.event(&key, Event::Row(row, 0), watermark.saturating_add(1));
        newest = newest.max(Some(time));
    }
    model.advance(newest.map_or(i64::MIN, |newest| newest - 6));
    model
}

fn dead(driver: &Driver) -> Vec<(String, String)> {
    let letters = driver.dead_letters().into_iter().zip(driver.pairs("dead"));
    letters
        .map(|(letter, (key, value))| match letter.get("timer-id") {
            Some(id) => (letter["code"].clone(), format!("{key} {id} {}", letter["timer-time"])),
            None => (letter["code"].clone(), value),
        })
        .collect()
}

fn check(driver: &Driver, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(driver.values("out"), model.out.as_slice());
    prop_assert_eq!(driver.values("side"), model.side.as_slice());
    prop_assert_eq!(dead(driver), model.dead.as_slice());
    Ok(())
}

fn action() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => (0_u64..26, -40_i64..150).prop_map(|(id, time)| format!("s{id}@{time}")),
        3 => (0_u64..26).prop_map(|id| format!("d{id}")),
        2 => ("[xyz]", "[0-9]").prop_map(|(key, value)| format!("w{key}@{value}")),
        1 => "[xyz]".prop_map(|key| format!("x{key}")),
        1 => "[xyz]".prop_map(|key| format!("g{key}")),
        1 => Just("b".to_owned()),
        1 => Just("t".to_owned()),
        1 => Just("c".to_owned()),
        1 => Just("q".to_owned()),
    ]
}

fn row() -> impl Strategy<Value = String> {
    let time = prop_oneof![8 => -20_i64..100, 1 => 100_i64..130];
    (time, "[abcd]", proptest::collection::vec(action(), 0..3))
        .prop_map(|(time, key, actions)| format!("{time} {key} {}", actions.join(" ")).trim_end().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn results_and_their_order_do_not_depend_on_cuts_or_restarts(
        rows in proptest::collection::vec(row(), 0..50),
        steps in proptest::collection::vec((0_usize..12, any::<bool>()), 0..20),
    ) {
        let model = expected(&rows);
        let inputs = [rows];
        let mut whole = Driver::new(TRACKING, &inputs);
        whole.finish().expect("nothing fails the host");
        check(&whole, &model)?;
        let mut cut = Driver::new(TRACKING, &inputs);
        for (take, crash) in steps {
            cut.step(&[take]).expect("nothing fails the host");
            if crash {
                cut = cut.crash(TRACKING);
            }
        }
        cut.finish().expect("nothing fails the host");
        check(&cut, &model)?;
        let mut singly = Driver::new(TRACKING, &inputs);
        for _ in 0..inputs[0].len() {
            singly.step(&[1]).expect("nothing fails the host");
            singly = singly.crash(TRACKING);
        }
        singly.finish().expect("nothing fails the host");
        check(&singly, &model)?;
        let left = model.keys.values().filter(|key| {
            key.state.is_some() || !key.timers.is_empty() || !key.entries.is_empty()
        });
        prop_assert_eq!(cut.machine.open_groups(), left.count() as u64);
    }
}

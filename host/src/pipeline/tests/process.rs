//! Keyed steps against a model written for clarity: each key's rows and timers by the contract's order, results in one
//! order whatever the cuts, restarts and failures.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::harness::{Driver, THRESHOLDS};
use super::tracker::{Entries, Event, on};
use crate::plugin::Domain;

pub(super) const TRACKING: &str = r#"
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

    /// Fires what a watermark has reached, in the order of time over all keys. What is set for a time that has transformed comes
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

/// What a row does, with times from the row's own on.
fn action() -> impl Strategy<Value = (String, Option<i64>)> {
    let plain = |text: String| (text, None);
    prop_oneof![
        14 => (prop_oneof![0_u64..10, 0_u64..26], -20_i64..80).prop_map(|(id, time)| (format!("s{id}"), Some(time))),
        2 => (0_u64..26).prop_map(move |id| plain(format!("d{id}"))),
        2 => ("[xyz]", "[0-9]").prop_map(move |(key, value)| plain(format!("w{key}@{value}"))),
        1 => "[xyz]".prop_map(move |key| plain(format!("x{key}"))),
        1 => "[xyz]".prop_map(move |key| plain(format!("g{key}"))),
        3 => prop_oneof![Just("b"), Just("t"), Just("c"), Just("q")].prop_map(move |what| plain(what.to_owned())),
    ]
}

/// Rows of which most are a little later than the one before.
fn rows() -> impl Strategy<Value = Vec<String>> {
    let step = prop_oneof![8 => -8_i64..12, 2 => 30_i64..90];
    let row = (step, "[abcd]", proptest::collection::vec(action(), 0..4));
    proptest::collection::vec(row, 0..40).prop_map(|rows| {
        let mut time = -30;
        let line = |(step, key, actions): (i64, String, Vec<(String, Option<i64>)>)| {
            time += step;
            let text = |(what, after): &(String, Option<i64>)| match after {
                Some(after) => format!(" {what}@{}", time + after),
                None => format!(" {what}"),
            };
            format!("{time} {key}") + &actions.iter().map(text).collect::<String>()
        };
        rows.into_iter().map(line).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn results_and_their_order_do_not_depend_on_cuts_or_restarts(
        rows in rows(),
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

fn text(rows: &[&str]) -> Vec<String> {
    rows.iter().map(|row| (*row).to_owned()).collect()
}

fn finished(manifest: &str, rows: Vec<String>) -> Driver {
    let mut driver = Driver::new(manifest, &[rows]);
    driver.finish().expect("nothing fails the host");
    driver
}

/// `KEY ID TIME` of the timers that fired, in order.
fn fired(driver: &Driver) -> Vec<String> {
    let timer = |value: String| {
        let words: Vec<&str> = value.split(' ').collect();
        (words[2] == "timer").then(|| format!("{} {} {}", words[0], words[4], words[5]))
    };
    driver.values("out").into_iter().filter_map(timer).collect()
}

#[test]
fn timers_fire_in_the_order_of_time_over_all_keys_whoever_fires_what_timers_set() {
    let rows = text(&["0 a s4@50", "0 b s1@40", "0 c s2@43", "1 d s3@50 s1@90", "200 e", "201 e"]);
    let leaving = TRACKING.replace("plugin = \"track\"", "plugin = \"track-leaving\"");
    for manifest in [TRACKING, &leaving] {
        let driver = finished(manifest, rows.clone());
        assert_eq!(fired(&driver), ["b 1 40", "c 2 43", "a 4 50", "a 5 20", "c 3 50", "d 3 50"], "{manifest}");
        check(&driver, &expected(&rows)).expect("as the model says");
    }
}

#[test]
fn a_timer_for_the_past_fires_when_the_watermark_moves_on() {
    let mut driver = Driver::new(TRACKING, &[text(&["1000 z", "1100 k s401@400", "1100 k", "1101 z"])]);
    driver.step(&[3]).expect("the host is well");
    assert_eq!(fired(&driver), ["k 401 995"], "as soon as it is past 994, which was known when it was set");
    driver.finish().expect("the host is well");
    assert_eq!(fired(&driver).len(), 1);
}

#[test]
fn many_rows_of_many_keys_are_as_the_model_says() {
    let mut rows: Vec<String> = (0..30_000_i64)
        .map(|n| match n % 7 {
            0 => format!("{} k{} s1@{} wx@1", n / 10, n * 7919 % 300, n / 10 + 40),
            1 => format!("{} k{} s7@{}", n / 10 - 3, n * 7919 % 300, n / 10),
            _ => format!("{} k{}", n / 10, n * 7919 % 300),
        })
        .collect();
    rows[17_000] = "1700 k5 t".to_owned();
    rows[25_001] = "2500 k5 s6@2400".to_owned();
    let model = expected(&rows);
    let driver = finished(TRACKING, rows);
    check(&driver, &model).expect("as the model says");
    assert_eq!(driver.dead_letters().len(), 2);
    assert!(fired(&driver).len() > 4000);
}

#[test]
fn timers_of_very_many_keys_fire_over_several_commits_and_restarts() {
    let keys = 2500;
    let mut rows: Vec<String> = (0..keys).map(|key| format!("1 {key:06} s9@{}", 5 + key % 2)).collect();
    rows.push("99 end".to_owned());
    let mut driver = Driver::new(TRACKING, &[rows]);
    driver.step(&[usize::MAX]).expect("the host is well");
    assert_eq!((fired(&driver).len(), driver.machine.is_due(0)), (THRESHOLDS.closing_groups, true));
    let mut driver = driver.crash(TRACKING);
    assert!(driver.machine.is_due(0), "what is left fires without new records");
    driver.finish().expect("the host is well");
    let of =
        |parity| (0..keys).filter(move |key| key % 2 == parity).map(move |key| format!("{key:06} 9 {}", 5 + parity));
    assert!(fired(&driver) == of(0).chain(of(1)).collect::<Vec<_>>(), "every timer once, by time and key");
}

#[test]
fn a_jump_over_very_many_timers_inside_a_batch_fires_them_over_several_commits() {
    let keys = 5000;
    let mut rows: Vec<String> = (0..keys).map(|key| format!("1 {key:06} s9@{}", 5 + key % 2)).collect();
    rows.extend(["99 jump".to_owned(), "99 000007".to_owned(), "99 000008".to_owned()]);
    let mut driver = Driver::new(TRACKING, &[rows]);
    driver.step(&[keys]).expect("the host is well");
    let (mut counts, mut had) = (Vec::new(), 0);
    while driver.machine.is_due(0) || driver.positions()[0] < keys as u64 + 3 {
        driver.step(&[usize::MAX]).expect("the host is well");
        let now = fired(&driver).len();
        counts.push(now - had);
        had = now;
    }
    assert_eq!(counts, [1024, 1024, 1024, 1024, 5000 - 4 * 1024, 0]);
    assert!(driver.cuts > 0);
    let of =
        |parity| (0..keys).filter(move |key| key % 2 == parity).map(move |key| format!("{key:06} 9 {}", 5 + parity));
    assert!(fired(&driver) == of(0).chain(of(1)).collect::<Vec<_>>(), "every timer once, by time and key");
    let last = driver.values("out").split_off(10_001);
    let row = |key: &str| last.iter().position(|value| value.contains(&format!("row 0 99 {key}")));
    assert_eq!((last.len(), row("000007"), row("000008")), (2, Some(0), Some(1)), "rows behind the jump come last");
}

#[test]
fn timers_without_end_become_dead_letters_and_other_keys_go_on() {
    let manifest = TRACKING.replace("\"track\"\ngrants", "\"track-endless\"\ngrants");
    let driver = finished(&manifest, text(&["0 a s1@50 s9@55", "0 b s17@51", "90 c", "91 c"]));
    let letters = driver.dead_letters();
    let codes: Vec<_> = letters.iter().map(|letter| (letter["code"].as_str(), letter["timer-id"].as_str())).collect();
    assert_eq!(codes, [("limit_timer_rounds", "1"), ("limit_timer_rounds", "9")], "all of the key that was due");
    assert!(letters[0]["reason"].contains("more than 1000 times without time moving on"), "{letters:?}");
    let b: Vec<_> = fired(&driver).into_iter().filter(|timer| timer.starts_with('b')).collect();
    assert_eq!(b, ["b 17 51"]);
}

#[test]
fn a_row_that_sets_too_many_timers_is_a_dead_letter_and_the_key_is_as_before() {
    let driver = finished(
        TRACKING,
        text(&["0 a s1@50", "1 a f10001", "2 a f10000", "2 b s1@9223372036854775807", "90 a", "91 c"]),
    );
    let letters = driver.dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["code"], "limit_key_timers");
    assert_eq!(letters[0]["reason"], "10001 timers of one key, the limit is 10000");
    let count = |value: &String| value.split(' ').nth(1).map(str::to_owned);
    let of_a = driver.values("out").iter().filter(|value| value.starts_with('a')).filter_map(count).collect::<Vec<_>>();
    assert_eq!(of_a, ["1", "2", "3"], "the first row, the third, and the one after it; timer 1 was moved");
}

#[test]
fn times_at_the_ends_of_i64_fire_when_their_time_has_come() {
    let (first, last) = (i64::MIN, i64::MAX);
    let mut driver = Driver::new(TRACKING, &[text(&[&format!("0 a s9@{first} s1@{last}"), "7 a", "8 a"])]);
    driver.finish().expect("the host is well");
    assert_eq!(fired(&driver), [format!("a 9 {}", first + 1)], "the least time is no time");
    assert_eq!(driver.machine.open_groups(), 1);
    let mut driver = driver.crash(TRACKING);
    driver.finish().expect("the host is well");
    assert_eq!(fired(&driver).len(), 1);
}

#[test]
fn processing_time_timers_fire_by_a_clock_that_jumps_and_goes_back() {
    let mut driver = Driver::new(TRACKING, &[text(&["0 a p1@50 p9@60", "1 a", "2 a", "3 b p5@120"])]);
    driver.clock = 40;
    driver.step(&[1]).expect("the host is well");
    assert_eq!(driver.machine.next_clock(), Some(50));
    assert!(!driver.machine.is_due(49) && driver.machine.is_due(50));
    driver.clock = 20;
    driver.step(&[1]).expect("the host is well");
    assert!(fired(&driver).is_empty(), "no time has gone by since the clock went back");
    driver.clock = 75;
    let mut driver = driver.crash(TRACKING);
    driver.step(&[1]).expect("the host is well");
    let expected = ["a 1 50", "a 1 60", "a 9 60", "a 1 70"];
    assert_eq!(fired(&driver), expected, "what a timer sets for a time that has come fires in the same micro-batch");
    let row = driver.values("out").iter().position(|value| value.contains("row 0 2 a"));
    let timers = driver.values("out").iter().position(|value| value.contains("timer Processing 1 50"));
    assert!(timers < row, "they fire before rows");
    driver.clock = 10;
    driver.step(&[1]).expect("the host is well");
    assert_eq!(driver.machine.next_clock(), Some(20), "five milliseconds take ten while the clock is ahead");
    assert!(!driver.machine.is_due(19) && driver.machine.is_due(20));
    driver.clock = 90;
    driver.step(&[]).expect("the host is well");
    assert_eq!(fired(&driver)[4..], ["a 1 80", "a 1 90", "a 1 100", "a 1 110"]);
    driver.clock = 140;
    driver.step(&[]).expect("the host is well");
    assert_eq!(fired(&driver)[8..], ["a 1 120", "b 5 120", "a 1 130", "a 1 140"]);
    assert_eq!(driver.machine.next_clock(), Some(150), "the machine's clock has caught up");
}

#[test]
fn rows_say_by_which_input_they_came() {
    let manifest = TRACKING.replace("topics = [\"in\"]", "topics = [\"in\", \"other\"]");
    let mut driver = Driver::new(&manifest, &[text(&["1 a", "30 a"]), text(&["2 a", "40 b"])]);
    driver.finish().expect("the host is well");
    let seen: Vec<String> = driver
        .values("out")
        .iter()
        .map(|value| value.split(' ').skip(3).take(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(seen, ["0 1 a", "1 2 a", "0 30 a", "1 40 b"]);
}

#[test]
fn results_are_rows_of_the_next_step_at_their_places() {
    let second = "[[steps]]\nname = \"again\"\nplugin = \"count\"\nwindow = { tumbling = \"10ms\" }\n[output]";
    let manifest = TRACKING.replace("[output]", second);
    let rows = text(&["1 a s1@12", "2 b s1@25", "3 a", "40 a", "41 b s1@43", "90 c", "200 c"]);
    let mut whole = Driver::new(&manifest, std::slice::from_ref(&rows));
    whole.finish().expect("the host is well");
    assert_eq!(whole.values("out"), ["a 0 2", "b 0 1", "a 10 1", "b 20 1", "a 40 1", "b 40 2", "c 90 1"]);
    assert_eq!(whole.machine.usage_mut().late, 0);
    let mut cut = Driver::new(&manifest, std::slice::from_ref(&rows));
    for _ in &rows {
        cut.step(&[1]).expect("the host is well");
        cut = cut.crash(&manifest);
    }
    cut.finish().expect("the host is well");
    assert_eq!(cut.values("out"), whole.values("out"));
}

//! Timers that emit more than is good for one call, one commit, or memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::guests::{answer, description, failure};
use super::harness::{self, Driver};
use crate::pipeline::engine::machine::Machine;
use crate::plugin::{
    AS_SOURCE, Call, Description, Done, Emitted, Failure, Guest, Plugin, Processor, Stateful, Work, World,
};

const WIDE: &str = r#"
name = "p"
[source]
topics = ["in"]
[watermark]
disorder = "0ms"
[[steps]]
name = "parse"
plugin = "parse"
[[steps]]
name = "wide"
plugin = "wide"
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;

/// Bytes of each value that is emitted.
const VALUE_BYTES: usize = 500;

/// Rows `TIME KEY COUNT` are emitted, and each sets a timer for 10 ms later that emits so many values.
#[derive(Debug)]
pub(super) struct Wide {
    description: Description,
    /// How many values a timer emits before it goes on; all of them if 0.
    part: u64,
    /// How many a call may emit.
    most: usize,
    /// Whether timers go on without emitting anything.
    idle: bool,
}

/// One that is so wide.
pub(super) fn wide(name: &str) -> Guest {
    let (part, most, idle) = match name {
        "wide" => (100, usize::MAX, false),
        "wide-at-once" => (0, usize::MAX, false),
        "wide-limited" => (0, 400, false),
        "wide-idle" => (0, usize::MAX, true),
        other => panic!("no guest {other}"),
    };
    Guest::Process(Arc::new(Wide { description: description(World::Process, &["rows"]), part, most, idle }))
}

/// What is left to emit of each timer, by its time.
type Left = BTreeMap<i64, (u64, u64)>;

fn read(state: Option<&[u8]>) -> Left {
    let text = String::from_utf8(state.unwrap_or_default().to_vec()).expect("our own");
    let number = |word: &str| word.parse::<i64>().expect("our own");
    text.split_whitespace()
        .map(|timer| {
            let numbers: Vec<i64> = timer.split(':').map(number).collect();
            (numbers[0], (numbers[1] as u64, numbers[2] as u64))
        })
        .collect()
}

fn written(left: &Left) -> Option<String> {
    let texts: Vec<String> = left.iter().map(|(time, (done, count))| format!("{time}:{done}:{count}")).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

impl Wide {
    /// Emits the next part of a timer; whether there is more.
    fn part(&self, key: &str, time: i64, source: u32, left: &mut Left, emitted: &mut Emitted) -> bool {
        if self.idle {
            return true;
        }
        let Some((done, count)) = left.get_mut(&time) else { return false };
        let until = if self.part == 0 { *count } else { (*done + self.part).min(*count) };
        for number in *done..until {
            emitted.source_rows.push(source);
            emitted.keys.lengths.push(AS_SOURCE);
            let value = format!("{key} {time} {number}");
            emitted.values.push(Some(format!("{value:VALUE_BYTES$}").as_bytes()));
        }
        *done = until;
        let more = until < *count;
        if !more {
            left.remove(&time);
        }
        more
    }

    fn work(&self, work: &Work<'_>) -> Result<Done, Failure> {
        let mut done = Done::default();
        let mut values = work.rows.values.iter();
        let rows = work.rows.len() as u32;
        let mut row = 0_u32;
        for ((group, &own), (key, state)) in (0..).zip(work.group_rows).zip(work.keys.iter().zip(work.state.iter())) {
            let key = String::from_utf8_lossy(key.unwrap_or_default()).into_owned();
            let mut left = read(state);
            let mut set: BTreeMap<i64, bool> = BTreeMap::new();
            let mut due: Vec<(i64, u32)> = (0..)
                .zip(&work.due.groups)
                .filter(|(_, of)| **of == group)
                .map(|(place, _)| (work.due.times[place as usize], rows + place))
                .collect();
            due.reverse();
            for value in values.by_ref().take(own as usize) {
                let watermark = work.row_watermarks.get(row as usize).copied().unwrap_or(work.watermark);
                while let Some((time, source)) = due.pop_if(|(time, _)| *time <= watermark) {
                    // A row comes after it: it has to emit all.
                    while self.part(&key, time, source, &mut left, &mut done.emitted) {}
                }
                let text = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
                let words: Vec<&str> = text.split(' ').collect();
                let time = (words[0].parse::<i64>().expect("a time") + 10).max(watermark.saturating_add(1));
                left.insert(time, (0, words[2].parse().expect("a count")));
                set.insert(time, true);
                done.emitted.source_rows.push(row);
                done.emitted.keys.lengths.push(AS_SOURCE);
                done.emitted.values.push(Some(text.as_bytes()));
                row += 1;
            }
            while let Some((time, source)) = due.pop() {
                if self.part(&key, time, source, &mut left, &mut done.emitted) {
                    set.insert(time, true);
                    set.extend(due.iter().map(|&(time, _)| (time, true)));
                    done.going_on.push(group);
                    break;
                }
            }
            done.state.push(written(&left).as_deref().map(str::as_bytes));
            for (time, _) in set {
                done.timers.timers.groups.push(group);
                done.timers.timers.ids.push(time as u64);
                done.timers.timers.times.push(time);
                done.timers.timers.domains.push(0);
                done.timers.sets.push(1);
            }
        }
        // In pieces, as the sandbox gives it.
        if done.emitted.source_rows.len() > self.most {
            return Err(Failure { code: "limit_output_bytes", ..failure(true) });
        }
        let whole = std::mem::take(&mut done.emitted);
        done.early.push(whole);
        Ok(done)
    }
}

impl Plugin for Wide {
    fn description(&self) -> &Description {
        &self.description
    }
}

impl Stateful for Wide {}

impl Processor for Wide {
    fn process<'a>(&'a self, work: Work<'a>) -> Call<'a, Done> {
        answer(self.work(&work))
    }
}

/// Keys with narrow and wide timers, then one row behind all of them.
fn rows() -> Vec<String> {
    let mut rows = vec!["0 b 3".to_owned(), "1 a 2".to_owned(), "2 w 5000".to_owned(), "3 a 4".to_owned()];
    rows.extend((0..20).map(|key| format!("5 k{key:02} {key}")));
    rows.extend(["6 v 2500", "6 b 1", "40 z 0", "41 y 0"].map(str::to_owned));
    rows
}

/// What it is to be: rows in their order, and timers in the order of time and key, each before the first row that finds
/// it due.
fn expected(rows: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let mut timers: BTreeMap<(i64, String), u64> = BTreeMap::new();
    let mut watermark = i64::MIN;
    let fire = |out: &mut Vec<String>, timers: &mut BTreeMap<(i64, String), u64>, until: i64| {
        while let Some(first) = timers.first_entry()
            && first.key().0 <= until
        {
            let ((time, key), count) = first.remove_entry();
            out.extend((0..count).map(|number| format!("{key} {time} {number}")));
        }
    };
    for row in rows {
        fire(&mut out, &mut timers, watermark);
        out.push(row.clone());
        let words: Vec<&str> = row.split(' ').collect();
        let time: i64 = words[0].parse().expect("a time");
        timers.insert((time + 10, words[1].to_owned()), words[2].parse().expect("a count"));
        // The watermark is a millisecond behind what it does not expect any more.
        watermark = watermark.max(time - 1);
    }
    fire(&mut out, &mut timers, watermark);
    out
}

fn out(driver: &Driver) -> Vec<String> {
    driver.values("out").iter().map(|value| value.trim_end().to_owned()).collect()
}

fn driver(guest: &str, rows: &[String]) -> Driver {
    Driver::new(&manifest(guest), &[rows.to_vec()])
}

fn manifest(guest: &str) -> String {
    WIDE.replace("plugin = \"wide\"", &format!("plugin = \"{guest}\""))
}

#[test]
fn a_timer_goes_on_over_commits_and_what_is_later_waits() {
    let rows = rows();
    let mut whole = driver("wide-at-once", &rows);
    whole.finish().expect("the host is well");
    assert_eq!(out(&whole), expected(&rows));
    for take in [1, 3, usize::MAX] {
        let mut driver = driver("wide", &rows);
        let (mut commits, mut before) = (0, 0);
        while driver.step(&[take]).is_ok() {
            let after = out(&driver).len();
            // The rows of one micro-batch, and what a commit may give beside them, as far as it comes in parts.
            let most = driver.plan.thresholds.closing_groups * 1024 / VALUE_BYTES + 100;
            assert!(take == usize::MAX || after - before <= most, "{} results in one commit", after - before);
            (commits, before) = (commits + 1, after);
            driver = driver.crash(&manifest("wide"));
            if after == expected(&rows).len() || commits > 200 {
                break;
            }
        }
        assert_eq!(out(&driver), expected(&rows), "take {take}, {commits} commits");
        assert!(driver.dead_letters().is_empty());
    }
}

#[test]
fn calls_that_emit_too_much_are_made_again_with_fewer_keys() {
    let rows: Vec<String> =
        (0..50).map(|key| format!("5 k{key:02} {}", 300 + key)).chain(["40 z 0".to_owned()]).collect();
    let mut limited = driver("wide-limited", &rows);
    limited.finish().expect("the host is well");
    assert_eq!(out(&limited), expected(&rows));
    assert!(limited.dead_letters().is_empty());
    assert!(limited.machine.usage_mut().failed_calls > 0);
}

#[test]
fn a_timer_that_goes_on_without_emitting_is_an_endless_loop() {
    let mut idle = driver("wide-idle", &["0 a 1".to_owned(), "1 b 1".to_owned(), "40 z 0".to_owned()]);
    idle.finish().expect("the host is well");
    assert_eq!(out(&idle), ["0 a 1", "1 b 1", "40 z 0"]);
    let codes: Vec<String> = idle.dead_letters().iter().map(|letter| letter["code"].clone()).collect();
    assert_eq!(codes, ["limit_timer_rounds"; 2]);
}

#[test]
fn what_rows_of_one_chunk_set_off_is_bounded_and_named() {
    // Both windows open and close between rows of one micro-batch.
    let rows = ["0 a 50", "1 b 30", "40 z 0", "41 y 0"].map(str::to_owned);
    let mut driver = driver("wide-at-once", &rows);
    let plan = harness::plan(&driver.log, &manifest("wide-at-once").parse().expect("it is good")).expect("it is good");
    let mut plan = Arc::into_inner(plan).expect("nobody else has it");
    plan.chunk_output_bytes = 40 * (VALUE_BYTES + 40);
    driver.plan = Arc::new(plan);
    driver.machine = Machine::new(Arc::clone(&driver.plan));
    driver.finish().expect("the host is well");
    let letters = driver.dead_letters();
    let codes: Vec<&str> = letters.iter().map(|letter| letter["code"].as_str()).collect();
    assert_eq!(codes, ["limit_chunk_output"]);
    assert!(letters[0]["reason"].contains("the limit is 21600"), "{letters:?}");
    assert_eq!(out(&driver).iter().filter(|value| value.starts_with("b 11")).count(), 30, "its neighbour is whole");
}

//! The table of `host/docs/changes.md`, cell by cell: what the table says is what is tested, so neither can drift.
//!
//! A pipeline of each kind of step takes rows, is changed, is started again, and takes more rows. What comes out is
//! compared with what would have come out without the change.

use super::guests::{count, parse};
use super::sift::sift;
use super::tracker::tracker;
use crate::error::Coded;
use crate::ids::{Digest, StepName, TopicName, TopicPartition};
use crate::pipeline::driver::{Crash, Driver};
use crate::pipeline::engine::plan::Loaded;
use crate::pipeline::spec::StepSpec;
use crate::pipeline::{Error, Take};
use crate::plugin::Grants;
use crate::record::Batch;
use crate::time::Mark;

mod cases;

use cases::{CASES, Case};

/// The columns of the table: what kind of step is looked at.
const KINDS: [&str; 4] = ["transform", "`tumbling`", "other windows", "`process`"];

/// A pipeline whose step `work` is of a kind; `window` is that of the other windows.
fn manifest(kind: usize, window: &str) -> String {
    let more = match kind {
        0 => String::new(),
        1 => "window = { tumbling = \"10ms\" }\nlate = \"late\"\n".to_owned(),
        2 => format!("window = {{ {window} }}\nlate = \"late\"\n"),
        _ => "grants = [\"table\"]\n".to_owned(),
    };
    format!(
        r#"name = "p"
[source]
topics = ["in", "more"]
headers = true
[watermark]
disorder = "5ms"
[[tables]]
name = "users"
topic = "users"
[[steps]]
name = "parse"
plugin = "parse"
lookup = ["users"]
outputs = {{ side = "side" }}
[[steps]]
name = "pass"
plugin = "pass"
[[steps]]
name = "work"
plugin = "work"
config = {{}}
{more}[output]
topic = "out"
[dead-letters]
topic = "dead"
"#
    )
}

/// The guests of a pipeline, of which those of `work` have a newer version or not.
fn load(kind: usize, newer: bool) -> impl Fn(&StepSpec, Grants) -> Result<Loaded, Error> {
    move |step: &StepSpec, _| {
        let name = step.plugin.name.as_str();
        let guest = match (name, kind) {
            ("parse", _) => parse(),
            ("pass", _) | (_, 0) => sift(),
            (_, 1 | 2) => count(),
            _ => tracker(),
        };
        let version = if newer { format!("{name} again") } else { name.to_owned() };
        Ok(Loaded { digest: Digest::of(version.as_bytes()), guest })
    }
}

fn name(topic: &str) -> TopicName {
    topic.parse().expect("a name")
}

fn feed(driver: &mut Driver, values: &[&str]) {
    for value in values {
        let mut rows = Batch::default();
        rows.push(0, Some(b"k"), Some(value.as_bytes()));
        driver.feed(&TopicPartition { topic: name("in"), partition: 0 }, rows.view()).expect("the topic is there");
        driver.run(&Take::Arrived).expect("the host is well");
    }
}

fn started(case: &Case, kind: usize) -> Driver {
    let mut driver = Driver::new(&given(case, kind), |_| 1, load(kind, false)).expect("the manifest is good");
    feed(&mut driver, case.before);
    // The other source says what time it is; it has no rows.
    let at = TopicPartition { topic: name("more"), partition: 0 };
    let newest = driver.status().expect("a status").inputs[0].newest.unwrap_or_default();
    driver.mark(&at, Mark::Watermark(newest - 6)).expect("it is a source");
    driver.run(&Take::Arrived).expect("the host is well");
    driver
}

/// Takes what comes after the change, and lets time go on.
fn finish(driver: &mut Driver, after: &[&str]) {
    for at in driver.inputs().to_vec().iter().filter(|at| at.topic.as_str() != "in" && is_source(at)) {
        driver.mark(at, Mark::Watermark(80)).expect("it is a source");
    }
    feed(driver, after);
    driver.set_clock(1000);
    for at in driver.inputs().to_vec().iter().filter(|at| is_source(at)) {
        driver.mark(at, Mark::Watermark(90)).expect("it is a source");
    }
    driver.run(&Take::Arrived).expect("the host is well");
}

fn is_source(at: &TopicPartition) -> bool {
    ["in", "more", "third"].contains(&at.topic.as_str())
}

/// The results, wherever the output is.
fn results(driver: &Driver) -> Vec<String> {
    let mut values = Vec::new();
    for topic in ["out", "out-2"] {
        let Ok(partitions) = driver.read(&name(topic)) else { continue };
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        partitions.iter().for_each(|batch| values.extend(batch.values.iter().map(text)));
    }
    values
}

/// The manifest that a case begins with.
fn given(case: &Case, kind: usize) -> String {
    case.given.iter().fold(manifest(kind, case.window), |text, (from, to)| text.replace(from, to))
}

/// The manifest with the edits of a case, if any applies.
fn edited(case: &Case, kind: usize) -> Option<String> {
    let before = given(case, kind);
    let after = case.edits.iter().fold(before.clone(), |text, (from, to)| text.replace(from, to));
    (after != before || case.newer || !case.drop.is_empty()).then_some(after)
}

fn change(driver: &mut Driver, case: &Case, kind: usize, manifest: &str) -> Result<(), Error> {
    let drop: Vec<StepName> = case.drop.iter().map(|step| step.parse().expect("a name")).collect();
    driver.change_dropping(manifest, &drop, |_| 1, load(kind, case.newer))?;
    driver.crash(Crash::Idle, &Take::Arrived).map(|_| ())
}

/// Checks a cell: what it says is what happens.
fn check(case: &Case, kind: usize, cell: &str) {
    let what = format!("{} of {}: {cell}", case.name, KINDS[kind]);
    let Some(after) = edited(case, kind) else {
        assert_eq!(cell, "-", "{what}: this manifest has no such thing");
        return;
    };
    let mut unchanged = started(case, kind);
    let at_change = results(&unchanged);
    finish(&mut unchanged, case.after);
    let unchanged = results(&unchanged);
    let mut changed = started(case, kind);
    let outcome = change(&mut changed, case, kind, &after);
    if let Some(code) = cell.strip_prefix("refused ") {
        let error = outcome.expect_err(&what);
        assert_eq!(format!("`{}`", error.code()), code, "{what}: {error}");
        finish(&mut changed, case.after);
        assert_eq!(results(&changed), unchanged, "{what}: the pipeline goes on as it was");
        return;
    }
    outcome.unwrap_or_else(|error| panic!("{what}: {error}"));
    finish(&mut changed, case.after);
    let results = results(&changed);
    match cell {
        "kept" => assert_eq!(results, unchanged, "{what}"),
        "anew" => {
            let mut fresh = Driver::new(&after, |_| 1, load(kind, case.newer)).expect("the manifest is good");
            finish(&mut fresh, case.after);
            assert_eq!(results, [at_change, self::results(&fresh)].concat(), "{what}");
            assert_ne!(results, unchanged, "{what}: nothing would be seen of it");
        }
        "new" | "at once" => {
            assert_eq!(results, case.outcome, "{what}");
            assert_ne!(results, unchanged, "{what}: nothing would be seen of it");
        }
        other => panic!("{what}: a cell cannot say `{other}`"),
    }
}

/// The rows of the table: what changes, and a cell for each kind.
fn table() -> Vec<(String, Vec<String>)> {
    let page = std::path::Path::new(env!("MILLSTREAM_WORKSPACE")).join("host/docs/changes.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let lines = page.lines().skip_while(|line| !line.starts_with("| change |"));
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut rows = lines.take_while(|line| line.starts_with('|')).map(cells);
    assert_eq!(rows.next().expect("a head")[1..], KINDS);
    rows.skip(1).map(|mut cells| (cells.remove(0), cells)).collect()
}

#[test]
fn each_cell_of_the_table_of_changes_says_what_happens() {
    let table = table();
    let (listed, tested): (Vec<_>, Vec<_>) =
        (table.iter().map(|(change, _)| change.as_str()).collect(), CASES.iter().map(|case| case.name).collect());
    assert_eq!(listed, tested, "the table and the tests have the same rows in the same order");
    for ((change, cells), case) in table.iter().zip(CASES) {
        assert_eq!(cells.len(), KINDS.len(), "{change}");
        cells.iter().enumerate().for_each(|(kind, cell)| check(case, kind, cell));
    }
}

#[test]
fn a_refusal_names_the_step_the_reason_and_the_ways_on() {
    let case = CASES.iter().find(|case| case.name == "step renamed").expect("it is there");
    let after = edited(case, 1).expect("it applies");
    let error = change(&mut started(case, 1), case, 1, &after).expect_err("it has state").to_string();
    for part in ["step `work`", "no such step", "`was = \"work\"`", "`--drop-state work`"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn state_of_a_step_that_does_not_run_cannot_be_left_behind() {
    let case = CASES.first().expect("there are some");
    let mut driver = started(case, 1);
    let steps = ["wrok".parse().expect("a name")];
    let refused = driver.change_dropping(&manifest(1, case.window), &steps, |_| 1, load(1, false));
    assert_eq!(refused.expect_err("a typing error").code(), "step_not_found");
}

/// A step that gives a result for each row.
const TALLY: &str = "[[steps]]\nname = \"tally\"\nplugin = \"tally\"\nwindow = { global = true, early-rows = 1 }\n";

#[test]
fn a_step_with_state_that_is_inserted_begins_with_nothing_and_the_others_keep_theirs() {
    let case = CASES.first().expect("there are some");
    let mut driver = started(case, 1);
    let before = manifest(1, case.window);
    let after = before.replace("[output]", &format!("{TALLY}[output]"));
    driver.change(&after, |_| 1, load(1, false)).expect("it has no state yet");
    finish(&mut driver, &["3 a"]);
    let start = i64::MIN;
    assert_eq!(results(&driver), [format!("a {start} 1"), format!("b {start} 1")], "the results of `work` are tallied");
}

#[test]
fn steps_with_state_change_places_with_what_they_have() {
    let case = CASES.first().expect("there are some");
    let before = manifest(1, case.window).replace("[output]", &format!("{TALLY}[output]"));
    let after =
        manifest(1, case.window).replace("[[steps]]\nname = \"work\"", &format!("{TALLY}[[steps]]\nname = \"work\""));
    let mut driver = Driver::new(&before, |_| 1, load(1, false)).expect("the manifest is good");
    feed(&mut driver, case.before);
    driver.change(&after, |_| 1, load(1, false)).expect("state is by name");
    finish(&mut driver, &["3 a"]);
    assert_eq!(results(&driver), ["a 0 2", "b 0 1"]);
}

#[test]
fn a_table_that_comes_back_is_read_from_its_beginning() {
    let case = CASES.iter().find(|case| case.name == "table removed").expect("it is there");
    let mut driver = started(case, 1);
    let users = TopicPartition { topic: name("users"), partition: 0 };
    let mut rows = Batch::default();
    rows.push(0, Some(b"a"), Some(b"somebody"));
    driver.feed(&users, rows.view()).expect("the topic is there");
    driver.run(&Take::Arrived).expect("the host is well");
    let bytes = driver.status().expect("a status").state_bytes;
    let without = edited(case, 1).expect("it applies");
    driver.change(&without, |_| 1, load(1, false)).expect("a table can go");
    assert!(driver.status().expect("a status").state_bytes < bytes);
    driver.change(&manifest(1, case.window), |_| 1, load(1, false)).expect("a table can come back");
    driver.run(&Take::Arrived).expect("the host is well");
    assert_eq!(driver.status().expect("a status").state_bytes, bytes);
}

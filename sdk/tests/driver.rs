//! The driver of pipelines, with plugins of each world that are compiled in.
#![cfg(feature = "driver")]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::{Crash, Input, Setup, TestDriver};
use millstream_sdk::{Error, Migrate};

/// Splits `key number`; panics on `panic`, and counts and logs what it sees.
#[transform(outputs(rows = "Rows.", odd = "Rows with an odd number."))]
fn split(line: &str) -> Result<Row> {
    metrics::counter("lines").add(1);
    assert!(line != "panic", "it was told to");
    let Some((key, number)) = line.split_once(' ') else { reject!("one-word", "`{line}` is one word") };
    log::info!("{key}");
    Ok(Row::text(number).key(key))
}

#[derive(Debug)]
struct Count;

/// Counts rows.
#[aggregate]
impl Aggregate for Count {
    type Config = NoConfig;
    type Input<'a> = ();
    type Accumulator = u64;
    type Output = String;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Count)
    }

    fn add(&self, count: &mut u64, (): ()) -> Result<()> {
        *count += 1;
        Ok(())
    }

    fn merge(&self, earlier: &mut u64, later: u64) {
        *earlier += later;
    }

    fn finish(&self, window: &Window<'_>, count: &u64) -> Result<String> {
        Ok(format!("{} {} {count}", window.key_text().unwrap_or_default(), window.start))
    }
}

#[config]
struct Limited {
    /// The most a count may be.
    most: u64,
}

#[derive(Debug)]
struct Capped(u64);

/// Counts rows up to a limit.
#[aggregate]
impl Aggregate for Capped {
    type Config = Limited;
    type Input<'a> = ();
    type Accumulator = u64;
    type Output = String;

    fn new(config: Limited) -> Result<Self> {
        Ok(Capped(config.most))
    }

    fn add(&self, count: &mut u64, (): ()) -> Result<()> {
        *count = (*count + 1).min(self.0);
        Ok(())
    }

    fn merge(&self, earlier: &mut u64, later: u64) {
        *earlier = (*earlier + later).min(self.0);
    }

    fn finish(&self, _: &Window<'_>, count: &u64) -> Result<String> {
        Ok(format!("at most {count}"))
    }
}

const MANIFEST: &str = r#"
name = "p"
[source]
topics = ["in"]
[watermark]
disorder = "5ms"
[[steps]]
name = "split"
plugin = "split"
[[steps]]
name = "count"
plugin = "count"
window = { tumbling = "10ms" }
late = "late"
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;

fn setup() -> Setup {
    TestDriver::of(MANIFEST).plugin::<Split>("split").plugin::<Count>("count")
}

fn row(text: &str, time: i64) -> Input {
    Input::value(text).at(time)
}

fn started(setup: &Setup) -> TestDriver {
    setup.start().unwrap_or_else(|refused| panic!("{refused}"))
}

#[test]
fn a_panic_is_a_dead_letter_and_its_neighbours_go_on() {
    let mut driver = started(&setup());
    driver.feed("in", [row("a 1", 1), row("panic", 2), row("b 1", 3), row("word", 3)]);
    driver.end();
    assert_eq!(driver.values("out"), ["a 0 1", "b 0 1"]);
    let letters = driver.dead_letters();
    assert_eq!(letters.iter().map(|letter| letter.code.as_str()).collect::<Vec<_>>(), ["trap_unreachable", "one-word"]);
    assert_eq!(
        (letters[0].reason.as_str(), letters[0].provenance["offset"].as_str()),
        ("panicked: it was told to", "1")
    );
    assert_eq!((letters[1].step.as_str(), letters[1].row.value_text()), ("split", "word".to_owned()));
    assert_eq!(driver.status().usage.dead_letters, 2);
}

#[test]
fn what_plugins_say_is_kept() {
    let mut driver = started(&setup());
    driver.feed("in", [row("a 1", 1), row("b 1", 3)]);
    assert_eq!(format!("{:?}", driver.metrics("split")), r#"{"lines": Counter(2)}"#);
    assert_eq!(
        driver.logs(),
        [("split".to_owned(), log::INFO, "a".to_owned()), ("split".to_owned(), log::INFO, "b".to_owned())]
    );
}

#[test]
fn a_crash_loses_what_is_not_committed_and_nothing_else() {
    for (crash, read) in [(Crash::Idle, 1), (Crash::BeforeCommit, 1), (Crash::AfterCommit, 3)] {
        let mut driver = started(&setup());
        driver.feed("in", [row("a 1", 1)]);
        driver.queue("in", [row("a 1", 2), row("a 1", 30)]);
        assert_eq!(driver.crash(crash), crash != Crash::Idle);
        assert_eq!(driver.status().usage.records_in, read, "{crash:?}");
        driver.run();
        assert_eq!(driver.values("out"), ["a 0 2"], "{crash:?}");
    }
}

#[test]
fn event_time_is_moved_by_hand_exactly() {
    let mut driver = started(&setup().partitions("in", 2));
    driver.feed_to("in", 0, [row("a 1", 1)]);
    driver.advance_event_time("in", 9);
    assert_eq!((driver.watermark(), driver.read("out").len()), (Some(8), 0));
    driver.feed_to("in", 1, [row("a 1", 9)]);
    driver.advance_event_time("in", 10);
    assert_eq!((driver.watermark(), driver.values("out")), (Some(9), vec!["a 0 2".to_owned()]));
    driver.feed_to("in", 1, [row("b 1", 9)]);
    assert_eq!(driver.late("count")[0].key_text(), "b");
}

#[test]
fn an_upgrade_keeps_state_and_a_checkpoint_brings_it_back() {
    let mut driver = started(&setup());
    driver.feed("in", (0..5).map(|n| row("a 1", n)));
    let before = driver.checkpoint();
    let capped = MANIFEST.replace("plugin = \"count\"", "plugin = \"count\"\nconfig = { most = 6 }");
    let capped = TestDriver::of(&capped).plugin::<Split>("split").plugin::<Capped>("count");
    driver.upgrade(&capped).expect("the state fits");
    driver.feed("in", (0..5).map(|n| row("a 1", n)));
    driver.end();
    assert_eq!(driver.values("out"), ["at most 6"]);

    let mut other = started(&setup());
    other.restore(before.without_positions()).expect("the state fits");
    other.feed("in", [row("a 1", 5)]);
    other.end();
    assert_eq!(other.values("out"), ["a 0 6"]);
}

/// Counts in another unit than [`Count`].
#[derive(Debug)]
struct Tenths;

/// Counts tenths of rows.
#[aggregate(migrate)]
impl Aggregate for Tenths {
    type Config = NoConfig;
    type Input<'a> = ();
    type Accumulator = u64;
    type Output = String;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Tenths)
    }

    fn add(&self, tenths: &mut u64, (): ()) -> Result<()> {
        *tenths += 10;
        Ok(())
    }

    fn merge(&self, earlier: &mut u64, later: u64) {
        *earlier += later;
    }

    fn finish(&self, _: &Window<'_>, tenths: &u64) -> Result<String> {
        Ok(format!("{tenths} tenths"))
    }
}

impl Migrate for Tenths {
    type Old = u64;
    type New = u64;

    fn migrate(&self, _: &str, count: u64) -> Result<Option<u64>> {
        if count == 13 {
            return Err(Error::new("unlucky", "no version takes this over"));
        }
        Ok(Some(count * 10))
    }
}

#[test]
fn an_upgrade_migrates_state_or_changes_nothing() {
    let tenths = TestDriver::of(MANIFEST).plugin::<Split>("split").plugin::<Tenths>("count");
    let mut driver = started(&setup());
    driver.feed("in", (0..3).map(|n| row("a 1", n)));
    driver.upgrade(&tenths).expect("it takes the state over");
    driver.crash(Crash::Idle);
    driver.upgrade(&tenths).expect("it is its own state");
    driver.feed("in", [row("a 1", 4)]);
    driver.end();
    assert_eq!(driver.values("out"), ["40 tenths"]);

    let mut driver = started(&setup());
    driver.feed("in", (0..13).map(|_| row("a 1", 1)));
    let refused = driver.upgrade(&tenths).expect_err("the plugin refuses");
    assert!(refused.code == "migration_refused" && refused.message.contains("no version takes this over"), "{refused}");
    driver.end();
    assert_eq!(driver.values("out"), ["a 0 13"]);
}

#[test]
fn what_cannot_be_deployed_is_refused_with_a_reason() {
    let refused = |setup: Setup| setup.start().expect_err("it cannot be deployed").to_string();
    let lacks = refused(TestDriver::of(MANIFEST).plugin::<Split>("split"));
    assert!(lacks.contains("step `count` runs the plugin `count`, which the test does not name"), "{lacks}");
    let config = refused(setup().plugin::<Capped>("count"));
    assert!(config.starts_with("init_refused: step `count`: ") && config.contains("missing field `most`"), "{config}");
    let world = refused(setup().plugin::<Split>("count"));
    assert!(world.starts_with("wrong_world: step `count`"), "{world}");
    let manifest = refused(TestDriver::of("name = 3"));
    assert!(manifest.starts_with("invalid_manifest: manifest, line 1, column 8"), "{manifest}");
    let mut driver = started(&setup());
    let wider = MANIFEST.replace("10ms", "20ms");
    driver.feed("in", [row("a 1", 1)]);
    let wider = TestDriver::of(&wider).plugin::<Split>("split").plugin::<Count>("count");
    assert_eq!(driver.upgrade(&wider).expect_err("the state is another's").code, "state_conflict");
}

#[test]
#[should_panic(expected = "the pipeline has no topic `inn`; it has `dead`, `in`, `late`, `out`")]
fn an_unknown_topic_is_named() {
    started(&setup()).feed("inn", ["a 1"]);
}

#[derive(Debug, Default, State)]
struct Seen {
    rows: Value<u64>,
}

#[config]
struct Quiet {
    /// How long a key is quiet before it is told.
    after_ms: i64,
}

const QUIET: u64 = 1;
const NOTED: Table<u64, String> = Table::new(0);

#[derive(Debug)]
struct Watch(i64);

/// Tells of keys that are quiet for a while, with their names from a reference table.
#[process]
impl Process for Watch {
    type Config = Quiet;
    type Input<'a> = Text<'a>;
    type State = Seen;

    fn new(config: Quiet) -> Result<Self> {
        Ok(Self(config.after_ms))
    }

    fn on_row(&self, ctx: &mut Context<'_>, seen: &mut Seen, Text(text): Text<'_>) -> Result<()> {
        *seen.rows.or_default() += 1;
        let rows = *seen.rows.or_default();
        NOTED.put(ctx, &rows, &text.to_owned());
        let due = ctx.time() + self.0;
        ctx.timers().set(QUIET, due);
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, seen: &mut Seen, _: Timer) -> Result<()> {
        let rows = seen.rows.take().unwrap_or_default();
        let last = NOTED.get(ctx, &rows)?.unwrap_or_default();
        let key = ctx.key_text().unwrap_or_default().into_owned();
        let name = ctx.lookup("names").get_text(key.as_bytes())?.unwrap_or(key);
        ctx.emit(format!("{name}: {rows}, last {last}"))
    }
}

fn watching() -> Setup {
    TestDriver::of(
        r#"
        name = "watching"
        [source]
        topics = ["in"]
        [watermark]
        disorder = "0s"
        [[tables]]
        name = "names"
        topic = "names-by-key"
        [[steps]]
        name = "watch"
        plugin = "watch"
        config = { after_ms = 100 }
        grants = ["table"]
        lookup = ["names"]
        [output]
        topic = "out"
        [dead-letters]
        topic = "dead"
        "#,
    )
    .plugin::<Watch>("watch")
}

#[test]
fn keyed_plugins_have_state_timers_tables_and_reference_tables() {
    let mut driver = started(&watching());
    driver.feed("names-by-key", [Input::value("Ada").key("a")]);
    driver.feed("in", [row("x", 1).key("a"), row("y", 50).key("a"), row("z", 60).key("b")]);
    assert_eq!((driver.status().open_groups, driver.read("out").len()), (2, 0));
    driver.advance_event_time("in", 151);
    assert_eq!(driver.values("out"), ["Ada: 2, last y"]);
    driver.end();
    assert_eq!(driver.values("out"), ["b: 1, last z"]);
}

#[test]
fn what_is_not_granted_is_not_there() {
    let manifest = watching().manifest().replace("grants = [\"table\"]", "");
    let mut driver = started(&TestDriver::of(&manifest).plugin::<Watch>("watch"));
    driver.feed("in", [row("x", 1).key("a")]);
    driver.end();
    let letter = &driver.dead_letters()[0];
    assert!(letter.reason.contains("the step grants no tables"), "{letter:?}");
}

#[test]
fn state_timers_and_tables_do_not_depend_on_cuts_or_crashes() {
    watching().check_cuts(|driver| {
        driver.feed("names-by-key", [("a", "Ada"), ("b", "Bob")].map(|(key, name)| Input::value(name).key(key)));
        let rows = |from: i64| {
            (from..from + 40)
                .map(|n| row(&n.to_string(), n * 20 + n % 7 * 30).key(["a", "b", "c", "d", "e", "f"][n as usize % 6]))
        };
        driver.feed("in", rows(0));
        driver.feed("in", rows(60));
        driver.end();
        assert!(driver.all("out").len() > 3);
    });
}

/// Numbers rows as they come in a batch: wrong, because batches are cut anywhere.
#[derive(Debug)]
struct Numbered;

/// Numbers rows.
#[transform]
impl Transform for Numbered {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Numbered)
    }

    fn record(&self, _: Text<'_>, _: &mut millstream_sdk::Out<'_, '_>) -> Result<()> {
        Ok(())
    }

    fn batch(&self, batch: &millstream_sdk::Batch, answer: &mut millstream_sdk::Answer<'_>) {
        for record in batch.records() {
            answer.row(record.index, |out| out.emit(record.index.to_string()));
        }
    }
}

#[test]
#[should_panic(expected = "topic `out` depends on how batches are cut: with 1 records each (left)")]
fn a_plugin_that_sees_where_batches_are_cut_is_found() {
    let manifest = MANIFEST.split("[[steps]]").next().unwrap_or_default().to_owned()
        + "[[steps]]\nname = \"n\"\nplugin = \"n\"\n[output]\ntopic = \"out\"\n[dead-letters]\ntopic = \"dead\"\n";
    TestDriver::of(&manifest).plugin::<Numbered>("n").check_cuts(|driver| driver.feed("in", ["a", "b"]));
}

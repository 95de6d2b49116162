//! What keyed plugins can do besides, seen as an author sees it.

use millstream_sdk::prelude::*;
use millstream_sdk::{Domain, Migrate, Raw};
use testing::{Input, keyed};

#[derive(Debug)]
struct Echo;

/// Says where it stands.
#[process(outputs(rows = "What rows say.", late = "Rows that came too late."))]
impl Process for Echo {
    type Config = NoConfig;
    type Input<'a> = Record<'a>;
    type State = ();

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn on_row(&self, ctx: &mut Context<'_>, _: &mut (), record: Record<'_>) -> Result<()> {
        if ctx.is_late() {
            return ctx.emit(Row::same().to("late"));
        }
        let text: &str = record.read()?;
        let key = ctx.key_text().unwrap_or_default();
        let (input, time, watermark, clock) = (ctx.input(), ctx.time(), ctx.watermark(), ctx.processing_time());
        let user = ctx.lookup("users").get_text(text)?;
        ctx.emit(Row::text(format!("{key} {text} by {input} at {time}, {watermark:?}, {clock}: {user:?}")))?;
        ctx.out().pass_to(0);
        Ok(())
    }
}

#[test]
fn a_row_sees_where_it_stands_and_leaves_by_named_outputs() {
    testing::lookup("users", [("ada", "Ada Lovelace")]);
    let mut run = keyed(&Echo);
    run.row(Input::value("ada").key("k").at(5));
    run.clock(9);
    run.watermark(5);
    run.row_by(1, Input::value("bob").key("k").at(6).header("h", "1"));
    run.row(Input::value("eve").key("k").at(5));
    run.row("no key");
    let out = run.end();
    let values: Vec<_> = out.output("rows").map(|row| row.value_text()).collect();
    assert_eq!(
        values,
        [r#"k ada by 0 at 5, None, 0: Some("Ada Lovelace")"#, "ada", "k bob by 1 at 6, Some(5), 9: None", "bob"]
    );
    assert_eq!(out.output("late").map(|row| (row.source, row.value_text())).collect::<Vec<_>>().len(), 2);
    assert_eq!(out.rows[3].headers, [("h".to_owned(), Some(b"1".to_vec()))]);
    assert_eq!((<Echo as Process>::READS.keys, <Echo as Process>::READS.headers), (false, true));
}

/// A plugin that does with each timer what the text of the last row says.
#[derive(Debug)]
struct Wild;

/// Misbehaves with its timers.
#[process]
impl Process for Wild {
    type Config = NoConfig;
    type Input<'a> = &'a str;
    type State = Value<String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn on_row(&self, ctx: &mut Context<'_>, state: &mut Value<String>, text: &str) -> Result<()> {
        state.set(text.to_owned());
        let time = ctx.time();
        ctx.timers().set(1, time + 1);
        ctx.timers().at_processing(2);
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, state: &mut Value<String>, timer: Timer) -> Result<()> {
        let text = state.take().unwrap_or_default();
        match text.as_str() {
            "flood" => {
                state.set(text);
                ctx.timers().set(1, timer.time);
                Ok(())
            }
            "pass" => ctx.emit(Row::same()),
            "processing" if timer.domain == Domain::ProcessingTime => ctx.emit("processed"),
            "processing" => reject!("too-early", "the clock comes later"),
            other => ctx.emit(other.to_owned()),
        }
    }
}

#[test]
#[should_panic(expected = "timers go on falling due: each one that fires sets another one for a time that has come")]
fn timers_without_end_are_found() {
    let mut run = keyed(&Wild);
    run.row(Input::value("flood").key("k").at(0));
    run.watermark(1);
}

#[test]
fn a_timer_that_fails_is_rejected_and_changes_nothing() {
    let mut run = keyed(&Wild);
    run.row(Input::value("pass").key("k").at(0));
    run.row(Input::value("processing").key("l").at(0));
    run.watermark(1);
    assert_eq!(run.rejected().iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["no-value", "too-early"]);
    assert_eq!(run.state("k").and_then(|state| state.get().cloned()), Some("pass".to_owned()));
    assert_eq!(run.timers("l"), [Timer { time: 2, id: None, domain: Domain::ProcessingTime }]);
    run.clock(2);
    let out = run.end();
    let rows: Vec<_> =
        out.rows.iter().map(|row| (row.source, row.key_text(), row.value_text(), row.timestamp)).collect();
    assert_eq!(rows, [(testing::FROM_TIMER, "l".to_owned(), "processed".to_owned(), 2)]);
    assert_eq!(out.codes(), ["no-value", "too-early", "no-value"]);
}

#[derive(Debug, Default, State)]
struct Counted {
    count: Value<u64>,
    names: Map<String, u64>,
}

#[derive(Debug)]
struct Counter;

/// Counts names.
#[process(migrate, outputs(counts = "Counts."))]
impl Process for Counter {
    type Config = NoConfig;
    type Input<'a> = &'a str;
    type State = Counted;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn on_row(&self, ctx: &mut Context<'_>, counted: &mut Counted, name: &str) -> Result<()> {
        *counted.count.or_default() += 1;
        *counted.names.or_default(name.to_owned()) += 1;
        ctx.emit(Json(counted.names.get(name)))
    }
}

impl Migrate for Counter {
    type Old = Value<u32>;
    type New = Counted;

    fn migrate(&self, written_by: &str, old: Value<u32>) -> Result<Option<Counted>> {
        let Some(&count) = old.get() else { reject!("nothing", "{written_by} kept nothing") };
        let mut new = self.state();
        if count > 0 {
            new.count.set(count.into());
        }
        Ok(Some(new))
    }
}

/// State of a version before: the header of format 1, a value.
const OLD: [u8; 6] = [0x10, 1, 3, 0, 0, 0];

#[test]
fn state_of_another_version_is_migrated() {
    let new = testing::migrate_state(&Counter, "sha256:1", &OLD).expect("it can be read").expect("it is kept");
    assert_eq!(new, [0x10, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0]);
    let nothing = testing::migrate_state(&Counter, "sha256:1", &[0x10, 1, 0, 0, 0, 0]);
    assert_eq!(nothing, Ok(None), "empty state is dropped");
    assert_eq!(
        testing::migrate_state(&Counter, "sha256:1", &[0x10, 0]),
        Err("nothing: sha256:1 kept nothing".to_owned())
    );
    let error = testing::migrate_state(&Counter, "sha256:1", &OLD[..4]).expect_err("it is cut off");
    assert!(error.contains("a state of 4 bytes is no `millstream_sdk::state::value::Value<u32>`"), "{error}");
    let error = testing::migrate_state(&Counter, "sha256:1", &[0x20]).expect_err("of the future");
    assert!(error.contains("begins with 0x20: this plugin reads format 1"), "{error}");
}

#[derive(Debug)]
struct Bytes;

/// Sums up bytes.
#[aggregate(migrate)]
impl Aggregate for Bytes {
    type Config = NoConfig;
    type Input<'a> = &'a [u8];
    type Accumulator = u64;
    type Output = String;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn add(&self, sum: &mut u64, value: &[u8]) -> Result<()> {
        *sum += value.len() as u64;
        Ok(())
    }

    fn merge(&self, earlier: &mut u64, later: u64) {
        *earlier += later;
    }

    fn finish(&self, _: &Window<'_>, sum: &u64) -> Result<String> {
        Ok(sum.to_string())
    }
}

impl Migrate for Bytes {
    type Old = Raw;
    type New = u64;

    fn migrate(&self, _: &str, Raw(old): Raw) -> Result<Option<u64>> {
        let text = String::from_utf8(old)?;
        Ok(Some(text.parse()?))
    }
}

#[test]
fn accumulators_in_any_form_are_migrated() {
    assert_eq!(testing::migrate_accumulator(&Bytes, "sha256:1", b"258"), Ok(Some(258_u64.to_le_bytes().to_vec())));
    let error = testing::migrate_accumulator(&Bytes, "sha256:1", b"x").expect_err("no number");
    assert_eq!(error, "failed: invalid digit found in string");
}

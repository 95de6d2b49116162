//! Joins with tables.

use proptest::prelude::*;

use super::{END, Results, Seen, late_rows, left_by, rows, run, seen, written};
use crate::library::join::{AsOfJoin, Latest, LatestJoin, Versions};
use crate::prelude::*;
use testing::{Bounds, Input, Outcome, keyed};

#[derive(Debug)]
struct AsOf(AsOfJoin);

/// Joins rows of input 0 with a table at input 1.
#[process(outputs(joined = "Rows.", late = "Rows that came too late."))]
impl Process for AsOf {
    type Config = NoConfig;
    type Input<'a> = Option<Text<'a>>;
    type State = Versions<String, String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(AsOf(AsOfJoin::new()))
    }

    fn state(&self) -> Self::State {
        self.0.state()
    }

    fn on_row(&self, ctx: &mut Context<'_>, versions: &mut Self::State, row: Option<Text<'_>>) -> Result<()> {
        let row = row.map(|Text(row)| row.to_owned());
        let arrival = match ctx.input() {
            0 => self.0.stream_row(ctx, versions, row.unwrap_or_default(), emit)?,
            _ => self.0.table_row(ctx, versions, row),
        };
        if arrival.is_late() {
            let value = ctx.watermark().map_or_else(String::new, |_| "late".to_owned());
            ctx.emit(Row::text(value).to("late"))?;
        }
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, versions: &mut Self::State, timer: Timer) -> Result<()> {
        assert!(self.0.on_timer(ctx, versions, timer, emit)?, "there are no other timers");
        Ok(())
    }
}

fn emit(ctx: &mut Context<'_>, time: i64, row: &String, table: Option<&String>) -> Result<()> {
    ctx.emit(Row::text(written(Some(row), table)).at(time))
}

/// What is joined by definition, and what is late.
fn model(rows: &[Seen], retention: i64, max_age: Option<i64>, waits: bool) -> (Results, Results) {
    let age = max_age.unwrap_or(END);
    let mut taken: Vec<&Seen> = Vec::new();
    let mut late: Vec<&Seen> = Vec::new();
    for row in rows.iter().filter(|row| row.input == 1) {
        let horizon = row.watermark - retention;
        let newer = taken.iter().any(|other| other.key == row.key && other.time > row.time && other.time <= horizon);
        let kept = if newer || row.time + age < horizon { &mut late } else { &mut taken };
        kept.push(row);
    }
    let mut joined = Vec::new();
    for row in rows.iter().filter(|row| row.input == 0) {
        if row.time < row.watermark - retention {
            late.push(row);
            continue;
        }
        // The row after which nothing is seen any more: the first one at whose place the watermark has reached the time.
        let mut after =
            rows.iter().skip(row.number).filter(|other| other.key == row.key && other.watermark >= row.time);
        let until = match after.next() {
            _ if !waits => row.number,
            Some(other) => other.number,
            None => rows.len(),
        };
        let before =
            taken.iter().filter(|table| table.number < until && table.key == row.key && table.time <= row.time);
        // Of equal times, the last one.
        let newest = before.max_by_key(|table| table.time).filter(|table| table.value && table.time >= row.time - age);
        let value = if row.value { row.number.to_string() } else { String::new() };
        joined.push((row.key, row.time, written(Some(value), newest.map(|table| table.number))));
    }
    joined.sort();
    let late = late_rows(late.into_iter()).into_iter().map(|(key, time, _)| (key, time, "late".to_owned()));
    let mut late: Vec<_> = late.collect();
    late.sort();
    (joined, late)
}

proptest! {
    #[test]
    fn each_row_gets_the_newest_that_is_not_after_it(
        rows in rows(),
        retention in 0..20_i64,
        max_age in prop::option::of(0..40_i64),
        waits in any::<bool>(),
    ) {
        let mut join = AsOfJoin::new().retention(retention.unsigned_abs());
        if let Some(age) = max_age {
            join = join.max_age(age.unsigned_abs());
        }
        if !waits {
            join = join.at_once();
        }
        let outcome = run(&AsOf(join), &rows);
        let (joined, late) = model(&seen(&rows), retention, max_age, waits);
        prop_assert_eq!(left_by(&outcome, "joined"), joined);
        prop_assert_eq!(left_by(&outcome, "late"), late);
    }

    #[test]
    fn results_do_not_depend_on_how_many_come_in_one_part(rows in rows(), full_bytes in 1..100_usize, chain in 1..4_usize) {
        let join = AsOf(AsOfJoin::new());
        let bounds = Bounds { full_bytes, chain, ..Bounds::DEFAULT };
        let by_key = |mut outcome: Outcome| {
            outcome.rows.sort_by(|one, other| one.key.cmp(&other.key));
            outcome.rows
        };
        prop_assert_eq!(by_key(bounds.within(|| run(&join, &rows))), by_key(run(&join, &rows)));
    }
}

/// Joins rows of input 0 with a table; a row `bad` cannot be written.
#[derive(Debug)]
struct Picky(AsOfJoin);

/// Joins rows.
#[process]
impl Process for Picky {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = Versions<String, String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Picky(AsOfJoin::new()))
    }

    fn on_row(&self, ctx: &mut Context<'_>, versions: &mut Self::State, Text(row): Text<'_>) -> Result<()> {
        assert!(!self.0.stream_row(ctx, versions, row.to_owned(), picky)?.is_late(), "no row is late");
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, versions: &mut Self::State, timer: Timer) -> Result<()> {
        self.0.on_timer(ctx, versions, timer, picky).map(drop)
    }
}

fn picky(ctx: &mut Context<'_>, _: i64, row: &String, _: Option<&String>) -> Result<()> {
    if row == "bad" {
        reject!("bad", "it cannot be written");
    }
    ctx.emit(row.as_str())
}

#[test]
fn rows_that_fail_take_no_later_ones_with_them() {
    let join = testing::plugin::<Picky>("{}").expect("there is nothing to configure");
    let mut run = keyed(&join);
    run.row(row("bad", 10));
    run.row(row("waits", 30));
    run.watermark(20);
    assert_eq!(run.rejected().len(), 1);
    run.row(row("good", 40));
    run.watermark(50);
    assert_eq!(run.keys(), 0, "nothing of them is left");
    assert_eq!(run.end().values(), ["waits", "good"]);
}

fn row(value: &str, time: i64) -> Input {
    Input::value(value).key("k").at(time)
}

#[test]
fn a_waiting_row_sees_table_rows_that_come_after_it() {
    let join = AsOf(AsOfJoin::new());
    let mut run = keyed(&join);
    run.row_by(1, row("old", 10));
    run.row_by(0, row("a", 50));
    run.row_by(1, row("new", 40));
    run.row_by(1, row("newer", 60));
    assert!(run.rows().is_empty());
    run.watermark(50);
    assert_eq!(run.end().values(), ["a new"]);
}

#[test]
fn what_nobody_can_ask_for_is_forgotten() {
    let join = AsOf(AsOfJoin::new().retention(10));
    let mut run = keyed(&join);
    (0..100).for_each(|time| {
        run.watermark(time);
        run.row_by(1, row("v", time));
    });
    assert_eq!(run.state("k").expect("the newest stay").sizes(), (11, 0));
    run.end();

    let join = AsOf(AsOfJoin::new().max_age(20));
    let mut run = keyed(&join);
    run.row_by(1, row("v", 0));
    run.row_by(0, row("a", 20));
    run.watermark(20);
    run.row_by(0, row("b", 20));
    assert_eq!(run.keys(), 1);
    run.watermark(21);
    assert_eq!(run.keys(), 0);
    assert_eq!(run.end().values(), ["a v", "b v"]);
}

#[derive(Debug)]
struct Now(LatestJoin);

/// Joins rows of input 0 with a table at input 1.
#[process(outputs(joined = "Rows.", late = "Rows that came too late."))]
impl Process for Now {
    type Config = NoConfig;
    type Input<'a> = Option<Text<'a>>;
    type State = Latest<String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Now(LatestJoin::new()))
    }

    fn state(&self) -> Self::State {
        self.0.state()
    }

    fn on_row(&self, ctx: &mut Context<'_>, latest: &mut Self::State, row: Option<Text<'_>>) -> Result<()> {
        if ctx.input() == 0 {
            return ctx.emit(written(row.map(|Text(row)| row.to_owned()), self.0.newest(latest)));
        }
        let arrival = self.0.table_row(ctx, latest, row.map(|Text(row)| row.to_owned()));
        ctx.emit(arrival.is_late().then(|| Row::text("late").to("late")))
    }
}

proptest! {
    #[test]
    fn the_latest_is_the_newest_of_those_that_have_come(
        rows in rows(),
        by_arrival in any::<bool>(),
    ) {
        let join = LatestJoin::new();
        let outcome = run(&Now(if by_arrival { join.by_arrival() } else { join }), &rows);
        let mut joined = Vec::new();
        let seen = seen(&rows);
        for row in seen.iter().filter(|row| row.input == 0) {
            let mut before = seen.iter().take(row.number).filter(|table| table.input == 1 && table.key == row.key);
            let newest = if by_arrival { before.next_back() } else { before.max_by_key(|table| table.time) };
            let value = row.value.then(|| row.number.to_string());
            let newest = newest.filter(|table| table.value).map(|table| table.number);
            joined.push((row.key, row.time, written(value, newest)));
        }
        joined.sort();
        prop_assert_eq!(left_by(&outcome, "joined"), joined);
    }
}

#[test]
fn the_latest_is_forgotten_after_its_time() {
    let join = Now(LatestJoin::new().ttl(Ttl::processing_time(100)));
    let mut run = keyed(&join);
    run.row_by(1, row("v", 0));
    run.row_by(1, Input::null().key("gone").at(0));
    run.clock(99);
    run.row_by(0, row("a", 0));
    run.clock(100);
    run.row_by(0, row("b", 0));
    assert_eq!(run.keys(), 0);
    assert_eq!(run.end().values(), ["a v", "b -"]);
}

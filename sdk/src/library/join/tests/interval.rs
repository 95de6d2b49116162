//! Interval joins.

use proptest::prelude::*;

use super::{Results, Seen, late_rows, left_by, rows, run, seen, written};
use crate::library::join::{IntervalJoin, IntervalRows, Joined, Kind};
use crate::prelude::*;
use testing::{Bounds, Input, Outcome, keyed};

#[derive(Debug)]
struct Join(IntervalJoin);

/// Joins rows.
#[process(outputs(joined = "Pairs.", late = "Rows that came too late."))]
impl Process for Join {
    type Config = NoConfig;
    type Input<'a> = Option<Text<'a>>;
    type State = IntervalRows<String, String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Join(IntervalJoin::new(Kind::Inner, -10..=10)?))
    }

    fn on_row(&self, ctx: &mut Context<'_>, rows: &mut Self::State, row: Option<Text<'_>>) -> Result<()> {
        let row = row.map_or_else(String::new, |Text(row)| row.to_owned());
        let arrival = match ctx.input() {
            0 => self.0.left(ctx, rows, row, emit)?,
            _ => self.0.right(ctx, rows, row, emit)?,
        };
        ctx.emit(arrival.is_late().then(|| Row::same().to("late")))
    }

    fn on_timer(&self, ctx: &mut Context<'_>, rows: &mut Self::State, timer: Timer) -> Result<()> {
        assert!(self.0.on_timer(ctx, rows, timer, emit)?, "there are no other timers");
        Ok(())
    }
}

fn emit(ctx: &mut Context<'_>, joined: Joined<'_, String, String>) -> Result<()> {
    ctx.emit(Row::text(written(joined.left, joined.right)).at(joined.time))
}

/// What is joined by definition, and what is late.
fn model(rows: &[Seen], kind: Kind, lower: i64, upper: i64) -> (Results, Results) {
    let (taken, late): (Vec<&Seen>, Vec<&Seen>) = rows.iter().partition(|row| row.time >= row.watermark);
    // A row is there until the watermark reaches the last time of a partner, and through the watermark at which it came.
    let there = |first: &Seen, second: &Seen| {
        let reach = if first.input == 0 { upper } else { -lower };
        second.watermark < (first.time + reach.max(0)).max(first.watermark + 1)
    };
    let mut joined = Vec::new();
    let mut paired = vec![false; rows.len()];
    for left in taken.iter().filter(|row| row.input == 0) {
        for right in taken.iter().filter(|row| row.input == 1 && row.key == left.key) {
            let (first, second) = if left.number < right.number { (left, right) } else { (right, left) };
            if (lower..=upper).contains(&(right.time - left.time)) && there(first, second) {
                paired[left.number] = true;
                paired[right.number] = true;
                let value = written(Some(left.number), Some(right.number));
                joined.push((left.key, left.time.max(right.time), value));
            }
        }
    }
    for row in taken.iter().filter(|row| !paired[row.number]) {
        let value = match row.input {
            0 if kind.keeps_left() => written(Some(row.number), None::<usize>),
            1 if kind.keeps_right() => written(None::<usize>, Some(row.number)),
            _ => continue,
        };
        joined.push((row.key, row.time, value));
    }
    joined.sort();
    (joined, late_rows(late.into_iter()))
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Inner, Kind::Left, Kind::Right, Kind::Full])
}

proptest! {
    #[test]
    fn every_pair_within_the_bounds_is_there_once(
        rows in rows(),
        kind in kinds(),
        lower in -25..25_i64,
        width in 0..30_i64,
    ) {
        let rows: Vec<_> = rows.into_iter().map(|row| super::Sent { value: true, ..row }).collect();
        let join = IntervalJoin::new(kind, lower..=lower + width).expect("the bounds are in order");
        let outcome = run(&Join(join), &rows);
        prop_assert_eq!(&in_pages(|| run(&Join(join), &rows)).rows, &outcome.rows);
        let (joined, late) = model(&seen(&rows), kind, lower, lower + width);
        prop_assert_eq!(left_by(&outcome, "joined"), joined);
        prop_assert_eq!(left_by(&outcome, "late"), late);
    }

    /// Where rows leave in steps, they stay longer than they have to, which only rows at the watermark itself can see.
    #[test]
    fn wide_bounds_give_the_same_pairs(rows in rows(), kind in kinds()) {
        // Above the watermark: those at it may find a partner that had to go in narrow bounds.
        let wide = |row: super::Sent| super::Sent { time: row.time * 1_000 + 1, moved: row.moved, value: true, ..row };
        let rows: Vec<_> = rows.into_iter().map(wide).collect();
        let join = IntervalJoin::new(kind, -2_000..=3_000).expect("the bounds are in order");
        let outcome = run(&Join(join), &rows);
        prop_assert_eq!(&in_pages(|| run(&Join(join), &rows)).rows, &outcome.rows);
        let (joined, late) = model(&seen(&rows), kind, -2_000, 3_000);
        prop_assert_eq!(left_by(&outcome, "joined"), joined);
        prop_assert_eq!(left_by(&outcome, "late"), late);
    }

    #[test]
    fn results_do_not_depend_on_how_many_come_in_one_part(
        rows in rows(),
        kind in kinds(),
        full_bytes in 1..100_usize,
        chain in 1..4_usize,
    ) {
        let join = Join(IntervalJoin::new(kind, -5..=5).expect("the bounds are in order"));
        let bounds = Bounds { full_bytes, chain, ..Bounds::DEFAULT };
        let by_key = |mut outcome: Outcome| {
            outcome.rows.sort_by(|one, other| one.key.cmp(&other.key));
            outcome.rows
        };
        prop_assert_eq!(by_key(bounds.within(|| run(&join, &rows))), by_key(run(&join, &rows)));
    }
}

/// Runs with all but the smallest states in pages of a few bytes, which stay in memory for one row.
fn in_pages<R>(run: impl FnOnce() -> R) -> R {
    let bounds = testing::StateBounds { inline_bytes: 8, page_bytes: 16, resident_bytes: 0 };
    testing::with_state_bounds(bounds, run)
}

fn row(key: &str, value: i64, time: i64) -> Input {
    Input::value(value.to_string()).key(key).at(time)
}

#[test]
fn rows_are_kept_as_long_as_partners_can_come() {
    let join = Join(IntervalJoin::new(Kind::Inner, -10..=0).expect("the bounds are in order"));
    let mut run = keyed(&join);
    for input in [0, 1] {
        (1..=5).for_each(|time| run.row_by(input, row("k", 0, time * 10)));
    }
    let kept = |run: &testing::Keyed<'_, Join>| {
        let state = run.state("k").unwrap_or_default();
        let left: Vec<i64> = state.left().map(|(time, _)| time).collect();
        (left, state.right().map(|(time, _)| time).collect::<Vec<i64>>())
    };
    run.watermark(10);
    assert_eq!(kept(&run), (vec![20, 30, 40, 50], vec![10, 20, 30, 40, 50]));
    run.watermark(40);
    assert_eq!(kept(&run), (vec![50], vec![40, 50]));
    run.watermark(60);
    assert_eq!(kept(&run), (vec![], vec![]));
    assert_eq!(run.keys(), 0);
    run.end();
}

#[test]
fn rows_without_a_partner_come_when_none_can_come_any_more() {
    let join = Join(IntervalJoin::new(Kind::Left, -50..=50).expect("the bounds are in order"));
    let mut run = keyed(&join);
    run.row_by(0, row("x", 1, 1));
    run.row_by(0, row("y", 2, 2));
    run.row_by(0, row("x", 3, 3));
    run.row_by(1, row("y", 4, 3));
    run.watermark(50);
    assert_eq!(run.rows().len(), 1);
    run.watermark(51);
    assert_eq!(run.rows().len(), 2);
    run.watermark(199);
    let out = run.end();
    let rows: Vec<_> = out.rows.iter().map(|row| (row.key_text(), row.value_text(), row.timestamp)).collect();
    let row = |key: &str, value: &str, time| (key.to_owned(), value.to_owned(), time);
    assert_eq!(rows, [row("y", "2 4", 3), row("x", "1 -", 1), row("x", "3 -", 3)]);
}

#[test]
fn a_row_at_the_watermark_is_not_late_and_one_below_is() {
    let join = Join(IntervalJoin::new(Kind::Inner, -10..=10).expect("the bounds are in order"));
    let mut run = keyed(&join);
    run.watermark(30);
    run.row_by(0, row("k", 1, 30));
    run.row_by(1, row("k", 2, 30));
    run.row_by(1, row("k", 3, 29));
    let out = run.end();
    let outputs: Vec<_> = out.rows.iter().map(|row| (row.output, row.value_text())).collect();
    assert_eq!(outputs, [("joined", "1 2".to_owned()), ("late", "3".to_owned())]);
}

#[test]
fn the_ends_of_time_are_times_like_any_other() {
    let join = Join(IntervalJoin::new(Kind::Full, -10..=10).expect("the bounds are in order"));
    let mut run = keyed(&join);
    for time in [i64::MIN, i64::MIN + 10, i64::MAX - 10, i64::MAX] {
        run.row_by(0, row("k", 1, time));
    }
    for time in [i64::MIN + 1, i64::MAX - 1] {
        run.row_by(1, row("k", 2, time));
    }
    run.watermark(i64::MAX);
    assert_eq!(run.keys(), 0);
    assert_eq!(run.end().values(), ["1 2"; 4]);
}

#[test]
fn rows_in_pages_go_as_well() {
    in_pages(|| {
        let join = Join(IntervalJoin::new(Kind::Full, -10..=0).expect("the bounds are in order"));
        let mut run = keyed(&join);
        for input in [0, 1] {
            (1..=5).for_each(|time| run.row_by(input, row("k", 0, time * 10)));
        }
        assert!(run.state_pages() > 3, "{} pages", run.state_pages());
        run.watermark(60);
        assert_eq!((run.keys(), run.state_pages()), (0, 0));
        run.end();
    });
}

/// 4,000 rows of each side and 16,000 pairs: some 400 KB of one key, of which 16 KiB may ride in the column of a side.
#[test]
fn sixteen_thousand_pairs_of_one_key_are_all_there() {
    let join = Join(IntervalJoin::new(Kind::Inner, 0..=3).expect("the bounds are in order"));
    let mut run = keyed(&join);
    for time in 0..4_000 {
        run.row_by(1, row("k", time, time));
        run.row_by(0, Input::value(format!("{time:0>40}")).key("k").at(time));
    }
    assert!(run.state_pages() > 50, "{} pages", run.state_pages());
    for time in 4_000..4_003 {
        run.row_by(1, row("k", time, time));
    }
    run.watermark(5_000);
    assert_eq!((run.keys(), run.state_pages()), (0, 0));
    let out = run.end();
    assert_eq!((out.output("joined").count(), out.output("late").count()), (16_000, 0));
    assert!(out.rejected.is_empty(), "{:?}", out.codes());
}

#[test]
fn a_row_whose_results_cannot_be_emitted_was_never_there() {
    let plugin = Join(IntervalJoin::new(Kind::Inner, 0..=5).expect("the bounds are in order"));
    let mut run = keyed(&plugin);
    run.row_by(0, row("k", 1, 10));
    run.row_by(1, Input::value(b"\xff".as_slice()).key("k").at(10));
    assert_eq!(run.state("k").expect("there is a row").right().count(), 0);
    assert_eq!(run.end().codes(), ["invalid-utf8"]);
}

#[test]
fn bounds_are_in_order_and_there() {
    let code = |join: Result<IntervalJoin>| join.map_err(|error| error.code().to_owned());
    assert_eq!(IntervalJoin::new(Kind::Inner, 0..10), IntervalJoin::new(Kind::Inner, 0..=9));
    assert_eq!(code(IntervalJoin::new(Kind::Inner, 5..5)), Err("bad-interval".to_owned()));
    assert_eq!(code(IntervalJoin::new(Kind::Inner, 5..)), Err("bad-interval".to_owned()));
    assert_eq!(code(IntervalJoin::new(Kind::Inner, i64::MIN..=0)), Err("bad-interval".to_owned()));
}

/// Joins rows; a timer has fuel for eight of them.
#[derive(Debug)]
struct Short(IntervalJoin);

/// Joins rows.
#[process]
impl Process for Short {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = IntervalRows<String, String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Short(IntervalJoin::new(Kind::Full, 0..=3)?))
    }

    fn on_row(&self, ctx: &mut Context<'_>, rows: &mut Self::State, Text(row): Text<'_>) -> Result<()> {
        match ctx.input() {
            0 => self.0.left(ctx, rows, row.to_owned(), emit).map(drop),
            _ => self.0.right(ctx, rows, row.to_owned(), emit).map(drop),
        }
    }

    fn on_timer(&self, ctx: &mut Context<'_>, rows: &mut Self::State, timer: Timer) -> Result<()> {
        let mut given = 0;
        let fuelled = |ctx: &mut Context<'_>, joined: Joined<'_, String, String>| {
            given += 1;
            if given > 8 {
                reject!("out-of-fuel", "the timer emits {given} rows in one part");
            }
            emit(ctx, joined)
        };
        self.0.on_timer(ctx, rows, timer, fuelled).map(drop)
    }
}

#[test]
fn a_timer_with_more_rows_than_it_has_fuel_for_loses_none() {
    let join = testing::plugin::<Short>("{}").expect("there is nothing to configure");
    let out = Bounds { full_bytes: 64, ..Bounds::DEFAULT }.within(|| {
        let mut run = keyed(&join);
        // Rows of one time, whose places have to stay while parts of them have been given.
        (0..200).for_each(|value| run.row_by(0, row("k", value, 100)));
        (200..400).for_each(|value| run.row_by(1, row("k", value, 0)));
        run.watermark(1_000);
        assert_eq!(run.keys(), 0, "nothing of them is left");
        run.end()
    });
    assert!(out.rejected.is_empty(), "{:?}", out.codes());
    let (mut seen, lefts) = (out.values(), (0..200).map(|value| format!("{value} -")));
    let mut all: Vec<String> = lefts.chain((200..400).map(|value| format!("- {value}"))).collect();
    seen.sort();
    all.sort();
    assert_eq!(seen, all);
}

/// Joins rows; a row `bad` without a partner cannot be written.
#[derive(Debug)]
struct Picky(IntervalJoin);

/// Joins rows.
#[process]
impl Process for Picky {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = IntervalRows<String, String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Picky(IntervalJoin::new(Kind::Left, 0..=10)?))
    }

    fn on_row(&self, ctx: &mut Context<'_>, rows: &mut Self::State, Text(row): Text<'_>) -> Result<()> {
        assert!(!self.0.left(ctx, rows, row.to_owned(), picky)?.is_late(), "no row is late");
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, rows: &mut Self::State, timer: Timer) -> Result<()> {
        self.0.on_timer(ctx, rows, timer, picky).map(drop)
    }
}

fn picky(ctx: &mut Context<'_>, joined: Joined<'_, String, String>) -> Result<()> {
    match joined.left.map(String::as_str) {
        Some("bad") => reject!("bad", "it cannot be written"),
        row => ctx.emit(row.map(Row::text)),
    }
}

#[test]
fn rows_that_fail_take_no_later_ones_with_them() {
    let join = testing::plugin::<Picky>("{}").expect("there is nothing to configure");
    let mut run = keyed(&join);
    let row = |value: &str, time| Input::value(value).key("k").at(time);
    run.row(row("bad", 10));
    run.row(row("waits", 30));
    run.watermark(25);
    assert_eq!(run.rejected().len(), 1);
    run.row(row("good", 40));
    run.watermark(60);
    assert_eq!(run.keys(), 0, "nothing of them is left");
    assert_eq!(run.end().values(), ["waits", "good"]);
}

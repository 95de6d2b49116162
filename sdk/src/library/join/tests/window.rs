//! Window joins.

use proptest::prelude::*;

use super::{Results, Seen, late_rows, left_by, rows, run, seen, written};
use crate::library::join::{Joined, Kind, WindowJoin, WindowRows};
use crate::prelude::*;
use testing::{Bounds, Input, Outcome, keyed};

#[derive(Debug)]
struct Join(WindowJoin);

/// Joins rows.
#[process(outputs(joined = "Pairs.", late = "Rows that came too late."))]
impl Process for Join {
    type Config = NoConfig;
    type Input<'a> = Option<Text<'a>>;
    type State = WindowRows<String, String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Join(WindowJoin::tumbling(Kind::Inner, 100)?))
    }

    fn on_row(&self, ctx: &mut Context<'_>, rows: &mut Self::State, row: Option<Text<'_>>) -> Result<()> {
        let row = row.map_or_else(String::new, |Text(row)| row.to_owned());
        let arrival = match ctx.input() {
            0 => self.0.left(ctx, rows, row),
            _ => self.0.right(ctx, rows, row),
        };
        ctx.emit(arrival.is_late().then(|| Row::same().to("late")))
    }

    fn on_timer(&self, ctx: &mut Context<'_>, rows: &mut Self::State, timer: Timer) -> Result<()> {
        let emit = |ctx: &mut Context<'_>, window: &Window<'_>, joined: Joined<'_, String, String>| {
            assert!(joined.time == window.end - 1 || window.end == i64::MAX);
            ctx.emit(Row::text(written(joined.left, joined.right)).at(joined.time))
        };
        assert!(self.0.on_timer(ctx, rows, timer, emit)?, "there are no other timers");
        Ok(())
    }
}

/// What is joined by definition, and what is late.
fn model(rows: &[Seen], kind: Kind, size: i64, step: i64, offset: i64) -> (Results, Results) {
    let mut joined = Vec::new();
    let mut taken = vec![false; rows.len()];
    let starts = (-1_000..1_000).filter(|start| (start - offset).rem_euclid(step) == 0);
    for (start, key) in starts.flat_map(|start| [(start, 0), (start, 1)]) {
        let last = start + size - 1;
        let inside = |input: u16| -> Vec<&Seen> {
            let inside = |row: &&Seen| row.key == key && row.input == input && (start..=last).contains(&row.time);
            rows.iter().filter(inside).filter(|row| row.watermark < last).collect()
        };
        let (left, right) = (inside(0), inside(1));
        left.iter().chain(&right).for_each(|row| taken[row.number] = true);
        for row in &left {
            joined.extend(right.iter().map(|right| (key, last, written(Some(row.number), Some(right.number)))));
            if right.is_empty() && kind.keeps_left() {
                joined.push((key, last, written(Some(row.number), None::<usize>)));
            }
        }
        if left.is_empty() && kind.keeps_right() {
            joined.extend(right.iter().map(|row| (key, last, written(None::<usize>, Some(row.number)))));
        }
    }
    joined.sort();
    (joined, late_rows(rows.iter().filter(|row| !taken[row.number])))
}

proptest! {
    #[test]
    fn every_pair_of_a_window_is_there_once(
        rows in rows(),
        kind in prop::sample::select(vec![Kind::Inner, Kind::Left, Kind::Right, Kind::Full]),
        step in 1..30_i64,
        more in 0..40_i64,
        offset in -20..20_i64,
    ) {
        let rows: Vec<_> = rows.into_iter().map(|row| super::Sent { value: true, ..row }).collect();
        let join = WindowJoin::hopping(kind, step + more, step).expect("the windows are fine").offset(offset);
        let outcome = run(&Join(join), &rows);
        let (joined, late) = model(&seen(&rows), kind, step + more, step, offset);
        prop_assert_eq!(left_by(&outcome, "joined"), joined);
        prop_assert_eq!(left_by(&outcome, "late"), late);
    }

    #[test]
    fn results_do_not_depend_on_how_many_come_in_one_part(
        rows in rows(),
        kind in prop::sample::select(vec![Kind::Inner, Kind::Left, Kind::Right, Kind::Full]),
        step in 1..30_i64,
        more in 0..40_i64,
        full_bytes in 1..300_usize,
        piece_rows in 1..5_usize,
    ) {
        let join = Join(WindowJoin::hopping(kind, step + more, step).expect("the windows are fine"));
        let bounds = Bounds { full_bytes, piece_rows, ..Bounds::DEFAULT };
        // Natively, only what one key gives has an order.
        let by_key = |mut outcome: Outcome| {
            outcome.rows.sort_by(|one, other| one.key.cmp(&other.key));
            outcome.rows
        };
        prop_assert_eq!(by_key(bounds.within(|| run(&join, &rows))), by_key(run(&join, &rows)));
    }
}

fn row(key: &str, value: i64, time: i64) -> Input {
    Input::value(value.to_string()).key(key).at(time)
}

#[test]
fn a_window_is_complete_at_its_last_millisecond() {
    let join = Join(WindowJoin::tumbling(Kind::Inner, 100).expect("the windows are fine"));
    let mut run = keyed(&join);
    run.row_by(0, row("k", 1, 10));
    run.row_by(0, row("k", 2, 99));
    run.row_by(1, row("k", 3, 50));
    run.row_by(1, row("k", 4, 100));
    run.row_by(1, row("z", 5, 20));
    run.watermark(98);
    assert!(run.rows().is_empty());
    run.watermark(99);
    run.row_by(0, row("k", 6, 99));
    run.watermark(199);
    assert_eq!(run.keys(), 0);
    let out = run.end();
    assert_eq!(out.values(), ["1 3", "2 3", "6"]);
    assert_eq!(
        out.rows.iter().map(|row| (row.output, row.timestamp)).collect::<Vec<_>>(),
        [("joined", 99), ("joined", 99), ("late", 99)]
    );
}

#[test]
fn the_ends_of_time_are_times_like_any_other() {
    let join = Join(WindowJoin::hopping(Kind::Full, 10, 3).expect("the windows are fine"));
    let mut run = keyed(&join);
    for time in [i64::MIN, i64::MAX] {
        run.row_by(0, row("k", 1, time));
        run.row_by(1, row("k", 2, time));
    }
    run.watermark(i64::MAX);
    assert_eq!(run.keys(), 0);
    let values = run.end().values();
    assert!(values.len() >= 2 && values.iter().all(|value| value == "1 2"), "{values:?}");
}

#[test]
fn windows_without_end_or_number_are_refused() {
    for (size, step) in [(0, 1), (10, 0), (10, 11), (-5, -5), (86_400_000, 1)] {
        let code = WindowJoin::hopping(Kind::Inner, size, step).map_err(|error| error.code().to_owned());
        assert_eq!(code, Err("bad-window".to_owned()), "{size} {step}");
    }
}

/// Joins rows; a pair with the left row `bad` cannot be written.
#[derive(Debug)]
struct Picky(WindowJoin);

/// Joins rows.
#[process]
impl Process for Picky {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = WindowRows<String, String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Picky(WindowJoin::tumbling(Kind::Inner, 100)?))
    }

    fn on_row(&self, ctx: &mut Context<'_>, rows: &mut Self::State, Text(row): Text<'_>) -> Result<()> {
        let arrival = match ctx.input() {
            0 => self.0.left(ctx, rows, row.to_owned()),
            _ => self.0.right(ctx, rows, row.to_owned()),
        };
        assert!(!arrival.is_late(), "no row is late");
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, rows: &mut Self::State, timer: Timer) -> Result<()> {
        let emit = |ctx: &mut Context<'_>, _: &Window<'_>, joined: Joined<'_, String, String>| {
            if joined.left.is_some_and(|left| left == "bad") {
                reject!("bad", "it cannot be written");
            }
            ctx.emit(written(joined.left, joined.right))
        };
        self.0.on_timer(ctx, rows, timer, emit).map(drop)
    }
}

#[test]
fn a_window_that_fails_takes_no_later_one_with_it() {
    let join = testing::plugin::<Picky>("{}").expect("there is nothing to configure");
    let mut run = keyed(&join);
    run.row_by(0, Input::value("bad").key("k").at(10));
    run.row_by(1, Input::value("x").key("k").at(20));
    run.watermark(150);
    assert_eq!((run.rejected().len(), run.keys()), (1, 1), "the window is a dead letter, and its rows are there");
    run.row_by(0, Input::value("good").key("k").at(160));
    run.row_by(1, Input::value("y").key("k").at(170));
    run.watermark(250);
    assert_eq!(run.keys(), 0, "nothing of it is left");
    assert_eq!(run.end().values(), ["good y"]);
}

//! Dedupe against its definition.

use proptest::prelude::*;

use super::*;
use crate::prelude::*;
use testing::{Input, keyed};

#[derive(Debug)]
struct Once(Dedupe);

/// Passes each value once.
#[process(outputs(first = "Rows.", unknown = "Rows of which too little is known.", again = "Rows that came again."))]
impl Process for Once {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = Seen<String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Once(Dedupe::processing_time(100)))
    }

    fn state(&self) -> Seen<String> {
        self.0.state()
    }

    fn on_row(&self, ctx: &mut Context<'_>, seen: &mut Seen<String>, Text(value): Text<'_>) -> Result<()> {
        let output = match self.0.see(ctx, seen, value.to_owned()) {
            Sight::New => "first",
            Sight::Unknown => "unknown",
            Sight::Again => "again",
        };
        ctx.emit(Row::same().to(output))
    }
}

fn outputs(run: testing::Keyed<'_, Once>) -> Vec<&'static str> {
    run.end().rows.iter().map(|row| row.output).collect()
}

#[test]
fn a_name_written_at_a_time_is_forgotten_after_exactly_its_time_to_live() {
    let once = Once(Dedupe::processing_time(100));
    let mut run = keyed(&once);
    for clock in [0, 99, 100] {
        run.clock(clock);
        run.row("x");
    }
    assert_eq!(outputs(run), ["first", "again", "first"]);
}

#[test]
fn a_name_that_is_refreshed_lives_on() {
    let once = Once(Dedupe::processing_time(100).refreshed());
    let mut run = keyed(&once);
    for clock in [0, 60, 120, 280] {
        run.clock(clock);
        run.row("x");
    }
    assert_eq!(outputs(run), ["first", "again", "again", "first"]);
}

#[test]
fn in_event_time_the_watermark_decides() {
    let once = Once(Dedupe::event_time(1_000));
    let mut run = keyed(&once);
    let row = |time| Input::value("x").at(time);
    run.row(row(100));
    run.row(row(900));
    run.watermark(1_099);
    run.row(row(1_000));
    run.watermark(1_100);
    run.row(row(1_200));
    run.row(row(1_150));
    run.watermark(2_200);
    assert_eq!(run.keys(), 0);
    run.row(row(1_201));
    run.row(row(1_200));
    assert_eq!(outputs(run), ["first", "again", "again", "first", "again", "first", "again"]);
}

/// Whether a row comes again is a question of the time between it and the row that counts, wherever the watermark stands.
#[test]
fn in_event_time_it_is_the_rows_times_that_count() {
    let once = Once(Dedupe::event_time(1_000));
    let mut run = keyed(&once);
    let row = |time| Input::value("x").at(time);
    for time in [0, 1_000, 1_001, 3_000, 6_000, 0, 2_500, 5_000, 4_500, 7_001] {
        run.row(row(time));
    }
    let expected = ["first", "again", "first", "first", "first", "again", "again", "again", "first", "first"];
    assert_eq!(outputs(run), expected);
}

#[test]
fn a_refreshed_name_goes_on_from_the_row_that_came_last() {
    let once = Once(Dedupe::event_time(1_000).refreshed());
    let mut run = keyed(&once);
    for time in [0, 900, 1_800, 1_700, 2_800, 3_801] {
        run.row(Input::value("x").at(time));
    }
    run.watermark(4_801);
    assert_eq!(run.keys(), 0);
    assert_eq!(outputs(run), ["first", "again", "again", "again", "again", "first"]);
}

#[test]
fn a_row_from_before_the_time_that_is_known_is_told_apart() {
    let once = Once(Dedupe::event_time(1_000));
    let mut run = keyed(&once);
    run.watermark(1_500);
    run.row(Input::value("x").at(500));
    run.row(Input::value("y").at(501));
    assert_eq!(outputs(run), ["unknown", "first"]);
}

proptest! {
    #[test]
    fn of_each_name_the_first_row_passes(
        rows in prop::collection::vec((0..3_u8, 0..3_u8, 0..60_i64, 0..15_i64), 0..40),
        ttl in 1..60_u64,
    ) {
        let mut watermark = 0;
        let once = Once(Dedupe::event_time(ttl));
        let mut run = keyed(&once);
        let mut expected = Vec::new();
        let mut known: Vec<(u8, u8, i64)> = Vec::new();
        for &(key, name, ahead, moved) in &rows {
            watermark += moved;
            let time = watermark + ahead - 20;
            // What the watermark has forgotten can only be met by rows that are late.
            let reach = ttl as i64;
            known.retain(|&(_, _, at)| at + reach > watermark);
            let again =
                known.iter().any(|&(of, known, at)| (of, known) == (key, name) && (at - time).abs() <= reach);
            let end = time + reach;
            if !again {
                known.push((key, name, time));
            }
            let output = if again { "again" } else if end <= watermark { "unknown" } else { "first" };
            expected.push(output);
            run.watermark(watermark);
            run.row(Input::value([b'a' + name]).key([key]).at(time));
        }
        run.watermark(1_000);
        prop_assert_eq!(run.keys(), 0);
        prop_assert_eq!(outputs(run), expected);
    }
}

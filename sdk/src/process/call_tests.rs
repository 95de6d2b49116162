//! Tests of a call as the host sees it: in columns.

use super::*;
use crate::bounds::Bounds;
use crate::config::NoConfig;
use crate::process::{Context, Timer};
use crate::state::Value;

#[derive(Debug)]
struct Ticker;

impl Process for Ticker {
    const SUMMARY: &'static str = "Sets timer 1 three after each row and counts.";
    type Config = NoConfig;
    type Input<'a> = ();
    type State = Value<u8>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn on_row(&self, ctx: &mut Context<'_>, count: &mut Value<u8>, (): ()) -> Result<()> {
        *count.or_default() += 1;
        let time = ctx.time() + 3;
        ctx.timers().set(1, time);
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, count: &mut Value<u8>, timer: Timer) -> Result<()> {
        ctx.emit(format!("{}:{}", timer.time, count.take().unwrap_or_default()))?;
        if timer.is(8) || timer.is(9) {
            ctx.timers().set(2, timer.time + 100);
            crate::reject!("told-to", "timers 8 and 9 always fail");
        }
        Ok(())
    }
}

fn rows(times: &[i64]) -> Batch {
    Batch { timestamps: times.to_vec(), ..Batch::default() }
}

fn column(cells: &[Option<&[u8]>]) -> Column {
    cells.iter().copied().collect()
}

#[test]
fn sources_are_rows_then_due_timers_then_fired_ones() {
    let work = Work {
        group_rows: vec![2, 1, 0],
        rows: rows(&[10, 20, 30]),
        row_watermarks: vec![5, 15, 15],
        keys: column(&[Some(b"a"), None, Some(b"c")]),
        state: column(&[None, Some(&[0x10, 1, 7]), Some(&[0x10, 1, 9])]),
        // Not in the order of the groups, and one that its own group's first row replaces.
        due: DueTimers { groups: vec![2, 1, 2], ids: vec![1, 1, 2], times: vec![8, 16, 9], domains: vec![0; 3] },
        watermark: 16,
        ..Work::default()
    };
    let done = process(&Ticker, &work);
    // Row 0 sets 13, which row 1 finds due; the due timer of the second group is set again; those of the third fire.
    assert_eq!(done.fired, DueTimers { groups: vec![0], ids: vec![1], times: vec![13], domains: vec![0] });
    assert_eq!(done.rows.source_rows, [6, 3, 5]);
    assert_eq!(done.rows.values, column(&[Some(b"13:1"), Some(b"8:9"), Some(b"9:0")]));
    assert_eq!((done.rows.timestamps, done.rows.keys), (vec![], Column::default()), "as the host knows them");
    assert_eq!(done.state, column(&[Some(&[0x10, 1, 1]), Some(&[0x10, 1, 8]), None]));
    let changes = done.timers;
    assert_eq!((changes.groups, changes.ids), (vec![0, 1], vec![1, 1]));
    assert_eq!((changes.times, changes.domains, changes.sets), (vec![23, 33], vec![0, 0], vec![1, 1]));
}

#[test]
fn what_has_not_changed_is_not_sent_back() {
    let work = Work {
        group_rows: vec![0, 0],
        keys: column(&[Some(b"a"), Some(b"b")]),
        state: column(&[None, Some(&[0x10, 1, 9])]),
        ..Work::default()
    };
    let done = process(&Ticker, &work);
    assert_eq!(done, Done { state: Column { lengths: vec![-2, -2], bytes: vec![] }, ..Done::default() });
}

#[test]
fn rows_without_watermarks_of_their_own_have_that_of_the_call() {
    let work = Work {
        group_rows: vec![2],
        rows: rows(&[1, 2]),
        keys: column(&[Some(b"a")]),
        state: column(&[None]),
        watermark: 100,
        ..Work::default()
    };
    // Both set the timer for a time that has passed: it waits for the watermark to move on.
    let done = process(&Ticker, &work);
    assert_eq!((done.timers.times, done.timers.sets, done.fired.ids), (vec![101], vec![1], vec![]));
}

#[test]
#[should_panic(expected = "the key `a` has a state of 2 bytes is no")]
fn state_that_is_none_fails_the_call() {
    let work = Work {
        group_rows: vec![0],
        keys: column(&[Some(b"a")]),
        state: column(&[Some(&[0x10, 1])]),
        ..Work::default()
    };
    process(&Ticker, &work);
}

#[test]
fn a_failed_timer_is_rejected_by_its_number_and_undone() {
    let work = Work {
        group_rows: vec![2],
        rows: rows(&[1, 20]),
        row_watermarks: vec![0, 10],
        keys: column(&[Some(b"a")]),
        state: column(&[Some(&[0x10, 1, 7])]),
        // The second one comes between the rows, after the timer for 4 that the first row sets.
        due: DueTimers { groups: vec![0; 2], ids: vec![9, 8], times: vec![0, 9], domains: vec![0; 2] },
        watermark: 10,
        ..Work::default()
    };
    let done = process(&Ticker, &work);
    assert_eq!((done.rejected.rows, done.fired.times), (vec![2, 3], vec![4]));
    assert_eq!(done.rejected.codes, column(&[Some(b"told-to".as_slice()); 2]));
    assert_eq!(done.rejected.reasons, column(&[Some(b"timers 8 and 9 always fail".as_slice()); 2]));
    assert_eq!(done.rows.source_rows, [4], "of the failed ones nothing is emitted");
    assert_eq!(done.rows.values, column(&[Some(b"4:8")]), "the first failed one has not taken the count");
    assert_eq!(done.state, column(&[Some(&[0x10, 1, 1])]), "nor has the second");
    assert_eq!((done.timers.ids, done.timers.times), (vec![1], vec![23]), "what they set is not set");
}

#[test]
fn ends_of_time_are_times_like_others() {
    for time in [i64::MIN, i64::MAX] {
        let work = Work {
            group_rows: vec![1],
            rows: rows(&[time.saturating_sub(3)]),
            keys: column(&[Some(b"a")]),
            state: column(&[None]),
            due: DueTimers { groups: vec![0], ids: vec![7], times: vec![time], domains: vec![0] },
            watermark: time,
            ..Work::default()
        };
        let done = process(&Ticker, &work);
        // At the end of time, the timer that the row sets is due as well; the least of all times stands for no watermark.
        let sources = if time == i64::MAX { vec![1, 2] } else { vec![1] };
        assert_eq!((done.rows.source_rows, done.rejected.rows), (sources, vec![]));
    }
}

/// Emits a number more each time that its timer fires, up to three; timer 1 sets timer 1 for a millisecond later.
#[derive(Debug)]
struct Teller;

impl Process for Teller {
    const SUMMARY: &'static str = "Tells a number at a time.";
    type Config = NoConfig;
    type Input<'a> = ();
    type State = Value<u8>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn on_row(&self, ctx: &mut Context<'_>, _: &mut Value<u8>, (): ()) -> Result<()> {
        ctx.emit("row")?;
        ctx.go_on()
    }

    fn on_timer(&self, ctx: &mut Context<'_>, told: &mut Value<u8>, timer: Timer) -> Result<()> {
        if timer.is(1) {
            ctx.timers().set(1, timer.time + 1);
            return Ok(());
        }
        let number = told.or_default();
        *number += 1;
        ctx.emit(number.to_string())?;
        if *number < 3 { ctx.go_on() } else { Ok(()) }
    }
}

fn timers_of_one_group(timers: &[(u64, i64)]) -> DueTimers {
    DueTimers {
        groups: vec![0; timers.len()],
        ids: timers.iter().map(|(id, _)| *id).collect(),
        times: timers.iter().map(|(_, time)| *time).collect(),
        domains: vec![0; timers.len()],
    }
}

#[test]
fn a_timer_that_goes_on_ends_the_call_and_comes_first_in_the_next_one() {
    let mut work = Work {
        group_rows: vec![0],
        keys: column(&[Some(b"a")]),
        state: column(&[None]),
        due: timers_of_one_group(&[(5, 10), (6, 10), (7, 20)]),
        watermark: 30,
        ..Work::default()
    };
    let done = process(&Teller, &work);
    assert_eq!((done.going_on, done.rows.values), (vec![0], column(&[Some(b"1")])));
    // The timer itself and those that wait for it are set again as they were.
    let TimerChanges { ids, times, sets, .. } = done.timers;
    assert_eq!((ids, times, sets), (vec![5, 6, 7], vec![10, 10, 20], vec![1; 3]));
    work.state = done.state;
    let done = process(&Teller, &work);
    assert_eq!((done.going_on, done.rows.values), (vec![0], column(&[Some(b"2")])));
    work.state = done.state;
    // The third one is the last of timer 5; timer 6 then has nothing to go on with.
    let done = process(&Teller, &work);
    assert_eq!(done.rows.values, column(&[Some(b"3"), Some(b"4"), Some(b"5")]));
    assert_eq!((done.going_on, done.timers.ids), (vec![], vec![]));
}

#[test]
fn before_a_row_a_timer_goes_on_in_the_call() {
    let work = Work {
        group_rows: vec![1],
        rows: rows(&[20]),
        row_watermarks: vec![15],
        keys: column(&[Some(b"a")]),
        state: column(&[None]),
        due: timers_of_one_group(&[(5, 10)]),
        watermark: 15,
        ..Work::default()
    };
    let done = process(&Teller, &work);
    assert_eq!(done.rows.source_rows, [1, 2, 3], "the due timer, and twice as one that was set in the call");
    assert_eq!((done.fired.times, done.going_on), (vec![10, 10], vec![]));
    assert_eq!((done.rejected.rows, done.rejected.codes), (vec![0], column(&[Some(b"not-a-timer")])));
}

#[test]
fn a_chain_of_timers_is_one_call_up_to_the_watermark() {
    let work = Work {
        group_rows: vec![0],
        keys: column(&[Some(b"a")]),
        state: column(&[None]),
        due: timers_of_one_group(&[(1, 10)]),
        watermark: 50,
        ..Work::default()
    };
    let done = process(&Teller, &work);
    assert_eq!(done.fired.times, (11..=50).collect::<Vec<_>>());
    assert_eq!((done.timers.times, done.timers.sets), (vec![51], vec![1]));
    let short = Bounds { chain: 7, ..Bounds::DEFAULT };
    let done = short.within(|| process(&Teller, &work));
    assert_eq!(done.fired.times, (11..=17).collect::<Vec<_>>());
    assert_eq!((done.timers.times, done.going_on), (vec![18], vec![]));
}

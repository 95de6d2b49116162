//! Tests of a call as the host sees it: in columns.

use super::*;
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
    // Row 0 sets 13, which row 1 finds due; the due timer of the second group is set anew; those of the third fire.
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
        assert_eq!((done.rows.source_rows, done.rejected.rows), (vec![1], vec![]));
    }
}

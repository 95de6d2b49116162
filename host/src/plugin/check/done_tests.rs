//! Lies about rows, state and timers of keys, each found.

use super::*;
use crate::plugin::bindings::{ColumnResult, RejectsResult, RowsResult};
use crate::plugin::emission::ROW_BYTES;
use crate::plugin::limits::CallLimits;
use crate::record::{Column, NULL};

const GIVEN: Given = Given { groups: 2, due: 1 };

fn shape(limits: &CallLimits) -> CallShape<'_> {
    CallShape { rows: 3, units: 6, outputs: 2, values_as_source: true, limits }
}

/// Given three rows, two groups and one due timer: rows of the timer that fired in the call, of the first row, and of
/// the due timer, in this order; the second row is rejected.
fn sound() -> DoneResult {
    DoneResult {
        rows: RowsResult {
            source_rows: vec![4, 0, 3],
            key_lengths: vec![AS_SOURCE, AS_SOURCE, 1],
            keys: b"k".to_vec(),
            value_lengths: vec![2, AS_SOURCE, NULL],
            values: b"vv".to_vec(),
            ..RowsResult::default()
        },
        rejected: RejectsResult {
            rows: vec![1],
            code_lengths: vec![3],
            codes: b"bad".to_vec(),
            reason_lengths: vec![0],
            reasons: vec![],
        },
        state: ColumnResult { lengths: vec![AS_SOURCE, 3], bytes: b"sss".to_vec() },
        timers: TimerChangesResult {
            groups: vec![1, 0],
            ids: vec![7, 8],
            times: vec![i64::MIN, i64::MAX],
            domains: vec![1, 0],
            sets: vec![0, 1],
        },
        fired: TimersResult { groups: vec![1], ids: vec![9], times: vec![5], domains: vec![0] },
    }
}

fn code_of(lie: impl FnOnce(&mut DoneResult)) -> &'static str {
    let limits = CallLimits {
        state_bytes: 3,
        output_bytes: 7 * ROW_BYTES,
        timers_base: 3,
        timers_per_row: 0,
        fired_base: 2,
        fired_per_row: 0,
        ..CallLimits::default()
    };
    let mut done = sound();
    lie(&mut done);
    shape(&limits).done(GIVEN, done, Emission::default()).err().map_or("sound", |trap| trap.code())
}

#[test]
fn a_sound_answer_comes_through_as_it_is() {
    let limits = CallLimits::default();
    let done = shape(&limits).done(GIVEN, sound(), Emission::default()).unwrap();
    assert_eq!(done.emitted.source_rows, [4, 0, 3]);
    assert_eq!(done.emitted.values, Column { lengths: vec![2, AS_SOURCE, NULL], bytes: b"vv".to_vec() });
    assert_eq!(done.rejected.rows, [1]);
    assert_eq!(done.state, Column { lengths: vec![AS_SOURCE, 3], bytes: b"sss".to_vec() });
    assert_eq!((done.timers.timers.times, done.timers.sets), (vec![i64::MIN, i64::MAX], vec![0, 1]));
    assert_eq!((done.fired.groups, done.fired.ids), (vec![1], vec![9]));
    assert_eq!(code_of(|_| ()), "sound");
    assert_eq!(code_of(|d| d.state = ColumnResult { lengths: vec![NULL, 0], bytes: vec![] }), "sound");
}

#[test]
fn an_answer_without_rows_and_timers_is_sound() {
    let state = ColumnResult { lengths: vec![AS_SOURCE; 2], bytes: vec![] };
    let done = shape(&CallLimits::default())
        .done(GIVEN, DoneResult { state, ..DoneResult::default() }, Emission::default())
        .unwrap();
    assert!(done.emitted.source_rows.is_empty() && done.timers.sets.is_empty());
}

#[test]
fn rows_of_nothing_are_found() {
    assert_eq!(code_of(|d| d.rows.source_rows[0] = 5), "invalid_answer");
    assert_eq!(code_of(|d| d.rows.source_rows[2] = u32::MAX), "invalid_answer");
    // Without the fired timer there is one source less.
    assert_eq!(code_of(|d| d.fired = TimersResult::default()), "invalid_answer");
    assert_eq!(code_of(|d| d.rows.outputs = vec![0, 2, 0]), "invalid_answer");
    let rows = |count: usize| {
        move |d: &mut DoneResult| {
            d.rows = RowsResult { source_rows: vec![0; count], ..RowsResult::default() };
        }
    };
    assert_eq!(code_of(rows(7)), "sound");
    assert_eq!(code_of(rows(8)), "limit_output_bytes");
}

#[test]
fn a_timer_has_no_value() {
    let no_value = |d: &mut DoneResult| (d.rows.value_lengths[0], d.rows.values) = (AS_SOURCE, vec![]);
    assert_eq!(code_of(no_value), "invalid_answer");
    let no_values = |d: &mut DoneResult| (d.rows.value_lengths, d.rows.values) = (vec![], vec![]);
    assert_eq!(code_of(no_values), "invalid_answer");
    let rows_only = |d: &mut DoneResult| {
        no_values(d);
        d.rows.source_rows = vec![2, 0, 2];
    };
    assert_eq!(code_of(rows_only), "sound");
}

#[test]
fn rejected_rows_are_rows_and_are_not_emitted() {
    assert_eq!(code_of(|d| d.rejected.rows = vec![3]), "invalid_answer");
    assert_eq!(code_of(|d| d.rejected.rows = vec![5]), "invalid_answer");
    assert_eq!(code_of(|d| d.rejected.rows = vec![0]), "invalid_answer");
    assert_eq!(code_of(|d| d.rejected.rows = vec![2]), "sound");
    assert_eq!(code_of(|d| d.rejected.reason_lengths.clear()), "invalid_answer");
}

#[test]
fn state_is_one_value_a_group_within_its_limits() {
    assert_eq!(code_of(|d| d.state.lengths.truncate(1)), "invalid_answer");
    assert_eq!(code_of(|d| d.state.lengths.push(0)), "invalid_answer");
    assert_eq!(code_of(|d| d.state.lengths[0] = -3), "invalid_answer");
    assert_eq!(code_of(|d| d.state.lengths[1] = 2), "invalid_answer");
    let four = |d: &mut DoneResult| (d.state.lengths[1], d.state.bytes) = (4, vec![0; 4]);
    assert_eq!(code_of(four), "limit_state_bytes");
    assert_eq!(code_of(|d| d.state.bytes = vec![0; 7 * ROW_BYTES + 1]), "limit_output_bytes");
}

#[test]
fn timers_that_make_no_sense_are_found() {
    assert_eq!(code_of(|d| d.timers.groups[0] = 2), "invalid_answer");
    assert_eq!(code_of(|d| d.timers.ids.truncate(1)), "invalid_answer");
    assert_eq!(code_of(|d| d.timers.times.truncate(1)), "invalid_answer");
    assert_eq!(code_of(|d| d.timers.domains.truncate(1)), "invalid_answer");
    assert_eq!(code_of(|d| d.timers.sets.truncate(1)), "invalid_answer");
    assert_eq!(code_of(|d| d.timers.domains[1] = 2), "invalid_answer");
    assert_eq!(code_of(|d| d.timers.sets[0] = 2), "invalid_answer");
    assert_eq!(code_of(|d| d.fired.groups[0] = 2), "invalid_answer");
    assert_eq!(code_of(|d| d.fired.ids.clear()), "invalid_answer");
    assert_eq!(code_of(|d| d.fired.times.clear()), "invalid_answer");
    assert_eq!(code_of(|d| d.fired.domains = vec![255]), "invalid_answer");
}

#[test]
fn floods_of_timers_are_found() {
    let set = |d: &mut DoneResult| d.timers.groups = vec![0; 4];
    assert_eq!(code_of(set), "limit_timers");
    let fired = |d: &mut DoneResult| d.fired.groups = vec![0; 3];
    assert_eq!(code_of(fired), "limit_timers");
}

#[test]
fn timers_are_rejected_by_the_numbers_by_which_they_emit() {
    let silent = |number: u32| {
        move |d: &mut DoneResult| {
            d.rejected.rows = vec![number];
            d.rows = RowsResult::default();
        }
    };
    assert_eq!(code_of(silent(3)), "sound", "the due one");
    assert_eq!(code_of(silent(4)), "sound", "the one that was set and fired in the call");
    assert_eq!(code_of(silent(5)), "invalid_answer");
}

#[test]
fn pieces_and_groups_that_go_on_are_checked_like_the_rest() {
    let code_of = |piece: RowsResult, going_on: Vec<u32>| {
        let limits = CallLimits::default();
        let emission = Emission { pieces: vec![piece], going_on, ..Emission::default() };
        shape(&limits).done(GIVEN, sound(), emission).map(|done| done.going_on).map_err(|trap| trap.code())
    };
    let of = |source: u32, value: i32| RowsResult {
        source_rows: vec![source],
        value_lengths: vec![value],
        ..RowsResult::default()
    };
    assert_eq!(code_of(of(4, 0), vec![1, 0]), Ok(vec![1, 0]));
    assert_eq!(code_of(of(4, AS_SOURCE), vec![]), Err("invalid_answer"), "a timer has no value");
    assert_eq!(code_of(of(5, 0), vec![]), Err("invalid_answer"), "there is no such source");
    assert_eq!(code_of(of(1, 0), vec![]), Err("invalid_answer"), "row 1 is rejected");
    assert_eq!(code_of(of(0, 0), vec![2]), Err("invalid_answer"), "there is no group 2");
}

//! Lies a guest may tell, each found.

use super::*;
use crate::plugin::emission::ROW_BYTES;

fn shape(limits: &CallLimits) -> CallShape<'_> {
    CallShape { rows: 3, units: 3, outputs: 2, values_as_source: true, limits }
}

/// Rows 0 and 2 of three, changed a little; row 1 is rejected.
fn sound() -> AnswerResult {
    AnswerResult {
        rows: RowsResult {
            source_rows: vec![0, 2],
            outputs: vec![1, 0],
            timestamps: vec![],
            key_lengths: vec![AS_SOURCE, 2],
            keys: b"kk".to_vec(),
            value_lengths: vec![NULL, AS_SOURCE],
            values: vec![],
            headers: HeadersResult {
                counts: vec![0, 1],
                name_lengths: vec![1],
                names: b"h".to_vec(),
                value_lengths: vec![NULL],
                values: vec![],
            },
        },
        rejected: RejectsResult {
            rows: vec![1],
            code_lengths: vec![3],
            codes: b"bad".to_vec(),
            reason_lengths: vec![0],
            reasons: vec![],
        },
    }
}

fn code_of(lie: impl FnOnce(&mut AnswerResult)) -> &'static str {
    let limits = CallLimits {
        key_bytes: 4,
        value_bytes: 5,
        // Two rows with a header each take 32 bytes a row, 16 for the headers' columns, and keys, values and names.
        output_bytes: 2 * ROW_BYTES + 16 + 12,
        ..CallLimits::default()
    };
    let mut answer = sound();
    lie(&mut answer);
    shape(&limits).answer(answer, Emission::default()).err().map_or("sound", |trap| trap.code.as_str())
}

#[test]
fn a_sound_answer_comes_through_as_it_is() {
    let limits = CallLimits::default();
    let answer = shape(&limits).answer(sound(), Emission::default()).unwrap();
    assert_eq!(answer.emitted.source_rows, [0, 2]);
    assert_eq!(answer.emitted.keys, Column { lengths: vec![AS_SOURCE, 2], bytes: b"kk".to_vec() });
    assert_eq!(answer.rejected.codes.bytes, b"bad");
    assert!(shape(&limits).answer(AnswerResult::default(), Emission::default()).is_ok());
    assert_eq!(code_of(|_| ()), "sound");
}

#[test]
fn rows_that_do_not_exist_or_are_out_of_order_are_found() {
    assert_eq!(code_of(|a| a.rows.source_rows = vec![0, 3]), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.source_rows = vec![2, 0]), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.outputs = vec![0, 2]), "invalid_answer");
    assert_eq!(code_of(|a| a.rejected.rows = vec![3]), "invalid_answer");
    assert_eq!(code_of(|a| a.rejected.rows = vec![2]), "invalid_answer");
}

#[test]
fn columns_of_the_wrong_length_are_found() {
    assert_eq!(code_of(|a| a.rows.outputs = vec![0]), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.timestamps = vec![1]), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.key_lengths = vec![2]), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.value_lengths = vec![NULL; 3]), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.headers.counts = vec![1]), "invalid_answer");
    assert_eq!(code_of(|a| a.rejected.codes.clear()), "invalid_answer");
    assert_eq!(code_of(|a| a.rejected.reason_lengths.clear()), "invalid_answer");
}

#[test]
fn lengths_that_do_not_belong_to_their_bytes_are_found() {
    assert_eq!(code_of(|a| a.rows.key_lengths[1] = 1), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.key_lengths[1] = i32::MIN), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.key_lengths = vec![]), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.value_lengths = vec![i32::MAX, i32::MAX]), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.headers.counts.clear()), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.headers.name_lengths[0] = NULL), "invalid_answer");
    assert_eq!(code_of(|a| a.rows.headers.names = vec![0xff]), "invalid_answer");
}

#[test]
fn answers_over_their_limits_are_found() {
    assert_eq!(code_of(|a| a.rows.source_rows = vec![0; 3]), "limit_output_bytes");
    assert_eq!(code_of(|a| a.rows.values = vec![0; 13]), "limit_output_bytes");
    let five = |a: &mut AnswerResult| (a.rows.key_lengths[1], a.rows.keys) = (5, vec![0; 5]);
    assert_eq!(code_of(five), "limit_key_bytes");
    let six = |a: &mut AnswerResult| (a.rows.value_lengths[0], a.rows.values) = (6, vec![0; 6]);
    assert_eq!(code_of(six), "limit_value_bytes");
    assert_eq!(code_of(|a| a.rows.headers.counts[0] = 65), "limit_headers");
}

#[test]
fn pieces_are_one_answer() {
    let limits = CallLimits { output_bytes: 4 * ROW_BYTES, ..CallLimits::default() };
    let piece = |source_rows: &[u32]| RowsResult { source_rows: source_rows.to_vec(), ..RowsResult::default() };
    let answer = |early: &[&[u32]], rows: &[u32]| {
        let emission = Emission { pieces: early.iter().map(|rows| piece(rows)).collect(), ..Emission::default() };
        let answer = AnswerResult { rows: piece(rows), rejected: sound().rejected };
        shape(&limits).answer(answer, emission).map_err(|trap| trap.code())
    };
    let sound = answer(&[&[0, 0], &[]], &[0, 2]).unwrap();
    let sources: Vec<&[u32]> = sound.pieces().map(|piece| piece.source_rows.as_slice()).collect();
    assert_eq!(sources, [&[0, 0][..], &[], &[0, 2]]);
    assert_eq!(answer(&[&[2], &[]], &[0]), Err("invalid_answer"), "out of order");
    assert_eq!(answer(&[&[0, 1]], &[2]), Err("invalid_answer"), "row 1 is rejected");
    assert_eq!(answer(&[&[3]], &[]), Err("invalid_answer"), "there is no row 3");
    assert_eq!(answer(&[&[0, 0, 0]], &[2, 2]), Err("limit_output_bytes"), "all together are too large");
    let going_on = Emission { going_on: vec![0], ..Emission::default() };
    assert!(shape(&limits).answer(AnswerResult::default(), going_on).is_err());
}

#[test]
fn a_window_has_no_value_of_its_own() {
    let limits = CallLimits::default();
    let finish = CallShape { values_as_source: false, ..shape(&limits) };
    let mut answer = AnswerResult::default();
    answer.rows.source_rows = vec![0];
    assert!(finish.answer(answer, Emission::default()).is_err());
    let mut answer = AnswerResult::default();
    (answer.rows.source_rows, answer.rows.value_lengths) = (vec![0], vec![AS_SOURCE]);
    assert!(finish.answer(answer, Emission::default()).is_err());
    let mut answer = AnswerResult::default();
    (answer.rows.source_rows, answer.rows.value_lengths, answer.rows.values) = (vec![0], vec![1], vec![7]);
    assert!(finish.answer(answer, Emission::default()).is_ok());
}

#[test]
fn reasons_are_made_text_and_cut() {
    let limits = CallLimits { reason_bytes: 4, ..CallLimits::default() };
    let mut answer = sound();
    (answer.rejected.reason_lengths, answer.rejected.reasons) = (vec![7], b"a\xffbcdef".to_vec());
    let rejected = shape(&limits).answer(answer, Emission::default()).unwrap().rejected;
    assert_eq!(rejected.reasons, Column { lengths: vec![4], bytes: "a\u{fffd}".as_bytes().to_vec() });
}

#[test]
fn each_group_gets_one_accumulator() {
    let limits = CallLimits::default();
    let folded = |lengths: &[i32], bytes: &[u8]| {
        let groups = ColumnResult { lengths: lengths.to_vec(), bytes: bytes.to_vec() };
        shape(&limits).folded(2, FoldedResult { groups, ..FoldedResult::default() })
    };
    assert_eq!(folded(&[1, NULL], b"x").unwrap().groups.bytes, b"x");
    assert!(folded(&[1], b"x").is_err());
    assert!(folded(&[1, AS_SOURCE], b"x").is_err());
    assert!(folded(&[1, 1], b"x").is_err());
}

#[test]
fn merging_gives_each_pair_one_accumulator() {
    let limits = CallLimits { value_bytes: 3, ..CallLimits::default() };
    let merged = |lengths: &[i32], bytes: &[u8]| {
        let merged = ColumnResult { lengths: lengths.to_vec(), bytes: bytes.to_vec() };
        shape(&limits).merged(2, merged).map_err(|trap| trap.code())
    };
    assert_eq!(merged(&[1, 0], b"x").unwrap(), Column { lengths: vec![1, 0], bytes: b"x".to_vec() });
    assert_eq!(merged(&[1], b"x"), Err("invalid_answer"));
    assert_eq!(merged(&[1, NULL], b"x"), Err("invalid_answer"));
    assert_eq!(merged(&[1, 1], b"x"), Err("invalid_answer"));
    assert_eq!(merged(&[4, 0], b"xxxx"), Err("limit_value_bytes"));
}

#[test]
fn migrated_state_has_the_limits_of_its_world_and_a_refusal_is_cut() {
    let limits =
        CallLimits { value_bytes: 1, state_bytes: 2, reason_bytes: 4, output_bytes: 5, ..CallLimits::default() };
    let migrated = |world, lengths: &[i32]| {
        let bytes = vec![7; crate::record::total(lengths)];
        let column = ColumnResult { lengths: lengths.to_vec(), bytes };
        shape(&limits).migrated(world, 2, Ok(column)).map(Result::unwrap).map_err(|trap| trap.code())
    };
    assert_eq!(migrated(World::Process, &[2, NULL]).unwrap().lengths, [2, NULL]);
    assert_eq!(migrated(World::Process, &[3, 0]), Err("limit_state_bytes"));
    assert_eq!(migrated(World::Process, &[3, 3]), Err("limit_output_bytes"));
    assert_eq!(migrated(World::Aggregate, &[2, NULL]), Err("limit_value_bytes"));
    assert_eq!(migrated(World::Process, &[1, AS_SOURCE]), Err("invalid_answer"));
    assert_eq!(migrated(World::Process, &[1]), Err("invalid_answer"));
    let refused = shape(&limits).migrated(World::Process, 2, Err("aaaé".to_owned()));
    assert_eq!(refused.unwrap(), Err("aaa".to_owned()));
}

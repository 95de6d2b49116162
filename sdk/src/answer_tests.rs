//! Tests of the answer's columns: what stays empty, what is filled up, what is taken back.

use super::*;
use crate::columns::{NULL, SAME};
use crate::describe::ONE_OUTPUT;

fn batch(rows: usize) -> Batch {
    Batch { timestamps: (0..rows as i64).map(|row| row * 10).collect(), ..Batch::default() }
}

fn header<'a>(name: &'a str, value: &'a str) -> Header<'a> {
    Header { name: name.as_bytes(), value: Some(value.as_bytes()) }
}

#[test]
fn a_filter_answers_with_source_rows_alone() {
    let batch = batch(3);
    let mut answer = Answer::new(&batch, ONE_OUTPUT);
    answer.pass(0);
    answer.row(2, |out| {
        out.pass();
        Ok(())
    });
    let Parts { rows, rejected, .. } = answer.into_parts();
    assert_eq!(rows, Rows { source_rows: vec![0, 2], ..Rows::default() });
    assert_eq!(rejected, Rejects::default());
}

#[test]
fn columns_fill_up_when_a_row_differs() {
    let batch = batch(4);
    let mut answer = Answer::new(&batch, ONE_OUTPUT);
    answer.pass(0);
    answer.row(1, |out| {
        out.row().value(Some(b"new")).timestamp(99).output(3);
        Ok(())
    });
    answer.row(2, |out| {
        out.row().key(None);
        out.row().key_with(|key| key.extend_from_slice(b"k"));
        Ok(())
    });
    answer.pass(3);
    let Parts { rows, .. } = answer.into_parts();
    assert_eq!(rows.source_rows, [0, 1, 2, 2, 3]);
    assert_eq!(rows.timestamps, [0, 99, 20, 20, 30]);
    assert_eq!(rows.outputs, [0, 3, 0, 0, 0]);
    assert_eq!(rows.values.lengths, [SAME, 3, SAME, SAME, SAME]);
    assert_eq!(rows.keys.lengths, [SAME, SAME, NULL, 1, SAME]);
    assert_eq!((rows.values.bytes, rows.keys.bytes), (b"new".to_vec(), b"k".to_vec()));
}

#[test]
fn a_difference_in_the_first_row_reaches_the_later_ones() {
    let batch = batch(2);
    let mut answer = Answer::new(&batch, ONE_OUTPUT);
    answer.row(0, |out| {
        out.row().timestamp(-1).key(Some(b"a")).output(1);
        Ok(())
    });
    answer.pass(1);
    let Parts { rows, .. } = answer.into_parts();
    assert_eq!((rows.timestamps, rows.keys.lengths, rows.outputs), (vec![-1, 10], vec![1, SAME], vec![1, 0]));
}

#[test]
fn the_last_write_of_a_cell_counts() {
    let batch = batch(1);
    let mut answer = Answer::new(&batch, ONE_OUTPUT);
    answer.row(0, |out| {
        let mut row = out.row();
        row.value(Some(b"first")).value(Some(b"2nd")).timestamp(1).timestamp(2).output(1).output(0);
        row.headers([header("a", "1")]).headers([header("b", "2")]);
        Ok(())
    });
    let Parts { rows, .. } = answer.into_parts();
    assert_eq!((rows.values.lengths, rows.values.bytes), (vec![3], b"2nd".to_vec()));
    assert_eq!((rows.timestamps, rows.outputs), (vec![2], vec![0]));
    assert_eq!(HeaderSeeker::new(&rows.headers).row(0).collect::<Vec<_>>(), [header("b", "2")]);
}

#[test]
fn a_rejected_row_takes_back_what_it_emitted() {
    let batch = batch(3);
    let mut answer = Answer::new(&batch, ONE_OUTPUT);
    let emit = |out: &mut Out<'_, '_>| {
        out.row().value(Some(b"kept")).key(Some(b"key"));
        Ok(())
    };
    answer.row(0, emit);
    answer.row(1, |out| {
        out.row().value(Some(b"lost")).headers([header("h", "v")]).timestamp(5);
        Err(Error::new("bad", "worse"))
    });
    answer.row(2, emit);
    let Parts { rows, rejected, .. } = answer.into_parts();
    assert_eq!(rows.source_rows, [0, 2]);
    assert_eq!((rows.values.bytes, rows.keys.lengths), (b"keptkept".to_vec(), vec![3, 3]));
    assert_eq!(rows.timestamps, [0, 20]);
    assert_eq!(rows.headers.counts, [0, 0]);
    assert_eq!((rejected.rows, rejected.codes.bytes), (vec![1], b"bad".to_vec()));
    assert_eq!(rejected.reasons.bytes, b"worse");
}

#[test]
fn own_headers_keep_the_neighbours_headers() {
    let mut headers = HeaderColumns::default();
    headers.push([header("source", "0")]);
    headers.push([header("source", "1")]);
    headers.push([header("source", "2")]);
    let batch = Batch { headers, ..batch(3) };
    let mut answer = Answer::new(&batch, ONE_OUTPUT);
    answer.pass(0);
    answer.row(1, |out| {
        out.row().headers([]);
        Ok(())
    });
    answer.pass(2);
    let Parts { rows, .. } = answer.into_parts();
    assert_eq!(rows.headers.counts, [1, 0, 1]);
    assert_eq!(HeaderSeeker::new(&rows.headers).row(0).get("source"), Some(&b"0"[..]));
    assert_eq!(HeaderSeeker::new(&rows.headers).row(2).get("source"), Some(&b"2"[..]));
}

#[test]
fn what_grows_large_goes_out_in_pieces_and_can_be_taken_back() {
    let batch = Batch { timestamps: vec![5, 6, 7], ..Batch::default() };
    let small = Bounds { piece_rows: 3, ..Bounds::DEFAULT };
    let parts = small.within(|| {
        let mut answer = Answer::new(&batch, ONE_OUTPUT);
        answer.row(0, |out| (0..4).try_for_each(|number| out.emit(format!("a{number}"))));
        answer.row(1, |out| {
            (0..9).try_for_each(|number| out.emit(format!("b{number}")))?;
            Err(Error::new("no", "it is taken back"))
        });
        answer.row(2, |out| {
            out.pass();
            out.row().timestamp(9).value(Some(b"c"));
            Ok(())
        });
        answer.into_parts()
    });
    let pieces = || parts.early.iter().chain([&parts.rows]);
    let sources: Vec<&[u32]> = pieces().map(|piece| piece.source_rows.as_slice()).collect();
    assert_eq!(sources, [&[0, 0, 0][..], &[0], &[2, 2]]);
    let values: Vec<Column> = pieces().map(|piece| piece.values.clone()).collect();
    let column = |cells: &[&str]| cells.iter().map(|cell| Some(cell.as_bytes())).collect::<Column>();
    assert_eq!(values[..2], [column(&["a0", "a1", "a2"]), column(&["a3"])]);
    assert_eq!(values[2], Column { lengths: vec![SAME, 1], bytes: b"c".to_vec() });
    assert_eq!((parts.rows.timestamps, parts.rejected.rows), (vec![7, 9], vec![1]));
}

#[test]
fn a_row_without_a_value_is_found_in_any_piece() {
    let batch = Batch { timestamps: vec![5, 6], ..Batch::default() };
    let small = Bounds { piece_rows: 2, ..Bounds::DEFAULT };
    small.within(|| {
        let mut answer = Answer::new(&batch, ONE_OUTPUT);
        answer.out(0).pass();
        let lacks = |answer: &mut Answer<'_>, source| answer.out(source).lacks_value();
        assert!(lacks(&mut answer, 0) && !lacks(&mut answer, 1));
        for _ in 0..5 {
            answer.out(0).row().value(Some(b"v"));
        }
        assert!(lacks(&mut answer, 0), "its first row is gone out, and had none");
        for _ in 0..5 {
            answer.out(1).row().value(Some(b"v"));
        }
        assert!(!lacks(&mut answer, 1));
    });
}

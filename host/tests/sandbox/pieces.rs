//! Rows that are handed over while a call runs.

use millstream::plugin::{CallLimits, Done, Emitted, Failure, Grants, Processor as _, Transformer as _};
use serde_json::json;

use crate::guests::{IDENTITY, Transform, owner, rows, sandbox};
use crate::process_guests::{Process, made};

const IMPORTS: &str = r#"
  (import "millstream:plugin/emission@0.1.0" "emit" (func $emit (param i32)))
  (import "millstream:plugin/emission@0.1.0" "keep" (func $keep (param i64)))
  (import "millstream:plugin/emission@0.1.0" "go-on" (func $go_on (param i32)))"#;

/// Three rows to emit, which come from the rows.
const ROWS: &str =
    "(call $keep_state (local.get 0)) (call $count (i32.const 2048) (i32.const 3) (i32.const 0) (i32.const 1))";

async fn process(body: &str, output_bytes: usize) -> Result<(Done, u64), Failure> {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |config| config.limits.call.output_bytes = output_bytes);
    let guest = Process { imports: IMPORTS, ..Process::doing(&format!("{ROWS} {body} (i32.const 2048)")) };
    let image = sandbox.image(&guest.component(), &json!({}), owner(), Grants::default()).await.unwrap();
    let made = made();
    let first = image.process(made.work()).await;
    assert_eq!(image.process(made.work()).await, first, "nothing is left of a call");
    first.map(|called| (called.answer, called.fuel))
}

fn sources(pieces: &[Emitted]) -> Vec<&[u32]> {
    pieces.iter().map(|piece| piece.source_rows.as_slice()).collect()
}

#[tokio::test]
async fn pieces_come_before_the_answer_and_can_be_taken_back() {
    let emit = "(call $emit (i32.const 2048))";
    let body = format!("{emit} {emit} (call $keep (i64.const 4)) (call $go_on (i32.const 1))");
    let (done, fuel) = process(&body, CallLimits::default().output_bytes).await.unwrap();
    assert_eq!(sources(&done.early), [&[0, 1, 2][..], &[0]]);
    assert_eq!(done.emitted.source_rows, [0, 1, 2]);
    assert_eq!(done.going_on, [1]);
    let (_, without) = process("", CallLimits::default().output_bytes).await.unwrap();
    // Three host calls and the bytes of two pieces are paid for, and what was granted for their rows is not used.
    assert!((4 * 500..10_000).contains(&(fuel - without)), "{fuel} and {without}");
}

#[tokio::test]
async fn what_is_handed_over_counts_and_is_refused_at_once() {
    let emit = "(call $emit (i32.const 2048))";
    assert!(process(&format!("{emit} {emit}"), 9 * 32).await.is_ok(), "nine rows");
    let failure = process(&format!("{emit} {emit}"), 9 * 32 - 1).await.unwrap_err();
    assert_eq!((failure.code, failure.guest), ("limit_output_bytes", true));
    // A guest that never stops is stopped when it has given too much, long before its fuel or its host calls.
    let failure = process(&format!("(loop $l {emit} (br $l))"), 1 << 10).await.unwrap_err();
    assert_eq!(failure.code, "limit_output_bytes");
    assert!(failure.message.contains("1056, the limit is 1024"), "{}", failure.message);
    let failure = process(&format!("(loop $l {emit} (call $keep (i64.const 0)) (br $l))"), 1 << 10).await.unwrap_err();
    assert_eq!(failure.code, "limit_host_calls");
    // What was granted for rows is charged with the slice.
    let limits = CallLimits::default();
    assert!(failure.fuel > limits.fuel_base + 7 * limits.fuel_row);
}

#[tokio::test]
async fn lies_about_pieces_are_found() {
    let bytes = CallLimits::default().output_bytes;
    let code = |body: &'static str| async move { process(body, bytes).await.unwrap_err().code };
    assert_eq!(code("(call $go_on (i32.const 2))").await, "invalid_answer");
    // A column without rows, and a row that is none.
    let column = "(i32.store (i32.const 2072) (i32.const 3000)) (i32.store (i32.const 2076) (i32.const 1))
        (call $emit (i32.const 2048))";
    assert_eq!(code(column).await, "invalid_answer");
    let row = "(call $count (i32.const 2048) (i32.const 1) (i32.const 9) (i32.const 0)) (call $emit (i32.const 2048))
        (call $count (i32.const 2048) (i32.const 1) (i32.const 0) (i32.const 0))";
    assert_eq!(code(row).await, "invalid_answer");
}

#[tokio::test]
async fn a_transform_keeps_the_order_of_its_rows_over_all_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    for (answer, expected) in [("(i32.store (i32.const 2052) (i32.const 0))", None), ("", Some("invalid_answer"))] {
        let body = format!("(drop {IDENTITY}) (call $emit (i32.const 2048)) {answer} (i32.const 2048)");
        let guest = Transform { imports: IMPORTS, ..Transform::doing(&body) };
        let image = sandbox.image(&guest.component(), &json!({}), owner(), Grants::default()).await.unwrap();
        match image.transform(rows(2).view()).await {
            Ok(called) => {
                assert_eq!(expected, None);
                assert_eq!(sources(&called.answer.early), [[0, 1]]);
                assert!(called.answer.emitted.source_rows.is_empty());
            }
            Err(failure) => assert_eq!(Some(failure.code), expected),
        }
    }
}

#[tokio::test]
async fn rows_cannot_be_handed_over_before_there_are_any() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let init = "(call $emit (i32.const 2048))";
    let guest =
        Process { imports: IMPORTS, init: init.to_owned(), ..Process::doing(&format!("{ROWS} (i32.const 2048)")) };
    let error = sandbox.image(&guest.component(), &json!({}), owner(), Grants::default()).await.unwrap_err();
    assert!(error.to_string().contains("outside of `transform`, `finish` and `process`"), "{error}");
}

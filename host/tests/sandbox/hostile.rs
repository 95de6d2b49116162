//! Guests that misbehave in a call: each is stopped with its code, and the same sandbox serves an honest one after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millstream::plugin::{Failure, Grants, Sandbox, SandboxConfig, Transformer as _};
use serde_json::json;

use crate::guests::{IDENTITY, Transform, owner, rows, sandbox};
use crate::lines::Captured;

/// Little of everything, so that tests are short.
fn tight(config: &mut SandboxConfig) {
    config.calls = 1;
    config.limits.call.memory_bytes = 4 << 20;
    config.limits.call.transfer_bytes = 1 << 20;
}

/// What an honest guest does after another was stopped.
async fn serves(sandbox: &Sandbox) {
    let image = sandbox.image(&Transform::default().component(), &json!({}), owner(), Grants::default()).await.unwrap();
    assert_eq!(image.transform(rows(5).view()).await.unwrap().answer.emitted.source_rows.len(), 5);
}

async fn failure_with(guest: Transform, change: impl FnOnce(&mut SandboxConfig)) -> Failure {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |config| {
        tight(config);
        change(config);
    });
    let image = sandbox.image(&guest.component(), &json!({}), owner(), Grants::default()).await.unwrap();
    // Twice: a failure leaves nothing behind.
    let first = image.transform(rows(3).view()).await.unwrap_err();
    let second = image.transform(rows(3).view()).await.unwrap_err();
    assert_eq!(first, second);
    serves(&sandbox).await;
    assert!(first.guest);
    let limits = millstream::plugin::CallLimits::default();
    assert!(first.fuel >= limits.fuel_base + 3 * limits.fuel_row, "the whole slice is charged");
    first
}

async fn failure(transform: &str) -> Failure {
    failure_with(Transform::doing(transform), |_| ()).await
}

async fn code_of(transform: &str) -> &'static str {
    failure(transform).await.code
}

#[tokio::test]
async fn a_trap_says_what_and_where() {
    let guest = Transform::doing("(call $give_up) (i32.const 0)").with("(func $give_up unreachable)");
    let failure = failure_with(guest, |_| ()).await;
    assert_eq!(failure.code, "trap_unreachable");
    assert!(failure.backtrace.first().is_some_and(|frame| frame == "give_up"), "{:?}", failure.backtrace);
    assert_eq!(code_of("(i32.load (i32.const -1))").await, "trap_memory");
    assert_eq!(code_of("(i32.div_u (i32.const 1) (i32.const 0))").await, "trap_arithmetic");
}

#[tokio::test]
async fn an_endless_loop_is_stopped_by_fuel() {
    let failure = failure("(loop $l (br $l)) unreachable").await;
    assert_eq!(failure.code, "limit_fuel");
    assert_eq!(failure.message, format!("used all of its {} fuel", failure.fuel));
}

#[tokio::test]
async fn an_endless_loop_is_stopped_by_the_clock() {
    let guest = Transform::doing("(loop $l (br $l)) unreachable");
    let change = |config: &mut SandboxConfig| {
        config.limits.call.ticks = 5;
        config.limits.call.fuel_base = u64::MAX / 2;
    };
    let failure = failure_with(guest, change).await;
    assert_eq!(failure.code, "limit_time");
    assert!(failure.message.contains("5 ms"), "{}", failure.message);
}

/// One thread for everything: only if the guest gives it back can the other task count.
#[tokio::test(flavor = "current_thread")]
async fn an_endless_guest_yields_its_worker() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |config| {
        config.limits.call.ticks = 30;
        config.limits.call.fuel_base = u64::MAX / 2;
    });
    let endless = Transform::doing("(loop $l (br $l)) unreachable").component();
    let image = sandbox.image(&endless, &json!({}), owner(), Grants::default()).await.unwrap();
    let turns = Arc::new(AtomicU64::new(0));
    let counted = turns.clone();
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let failure = image.transform(rows(1).view()).await.unwrap_err();
    assert_eq!(failure.code, "limit_time");
    assert!(turns.load(Ordering::Relaxed) >= 29, "the other task ran at every tick");
    other.abort();
}

#[tokio::test]
async fn a_call_that_is_dropped_frees_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |config| {
        tight(config);
        config.limits.call.fuel_base = u64::MAX / 2;
    });
    let endless = Transform::doing("(loop $l (br $l)) unreachable").component();
    let image = sandbox.image(&endless, &json!({}), owner(), Grants::default()).await.unwrap();
    for _ in 0..3 {
        let batch = rows(1);
        tokio::select! {
            biased;
            _ = image.transform(batch.view()) => panic!("it never ends"),
            () = async { for _ in 0..3 { tokio::task::yield_now().await } } => {}
        }
    }
    serves(&sandbox).await;
}

#[tokio::test]
async fn recursion_ends_at_the_stack() {
    let guest = Transform::doing("(call $deeper (i32.const 0))")
        .with("(func $deeper (param i32) (result i32) (i32.add (i32.const 1) (call $deeper (local.get 0))))");
    let failure = failure_with(guest, |_| ()).await;
    assert_eq!(failure.code, "limit_stack");
    assert!(failure.backtrace.len() <= 10);
}

#[tokio::test]
async fn memory_is_bounded() {
    // Grows page by page until it cannot, then gives up.
    let failure = failure("(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 1))))) unreachable").await;
    assert_eq!(failure.code, "limit_memory");
    assert!(failure.message.contains("the limit is 4194304 bytes"), "{}", failure.message);
    // Asks for ever.
    let asking = "(loop $l (drop (memory.grow (i32.const 100))) (br $l)) unreachable";
    assert_eq!(code_of(asking).await, "limit_memory");
}

#[tokio::test]
async fn a_guest_that_copes_without_more_memory_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), tight);
    let guest = Transform::doing(&format!("(drop (memory.grow (i32.const 1000))) {IDENTITY}"));
    let image = sandbox.image(&guest.component(), &json!({}), owner(), Grants::default()).await.unwrap();
    image.transform(rows(3).view()).await.unwrap();
}

#[tokio::test]
async fn tables_count_as_memory() {
    let grow = "(loop $l (br_if $l (i32.ne (i32.const -1) (table.grow $t (ref.null func) (i32.const 10000)))))";
    let guest = Transform::doing(&format!("{grow} unreachable")).with("(table $t 1 funcref)");
    let change = |config: &mut SandboxConfig| config.limits.call.memory_bytes = 200_000;
    assert_eq!(failure_with(guest, change).await.code, "limit_memory");
}

/// An answer whose list at this place is `length` long and begins at address 0.
fn answering(place: u32, length: i64) -> String {
    let (at, length_at) = (2048 + place * 8, 2052 + place * 8);
    format!(
        "(drop {IDENTITY})
         (i32.store (i32.const {at}) (i32.const 0)) (i32.store (i32.const {length_at}) (i32.const {length}))
         (i32.const 2048)"
    )
}

#[tokio::test]
async fn a_huge_answer_is_not_copied() {
    // 16 lists of the whole memory each: an alias bomb.
    let mut bomb = "(drop (memory.grow (i32.const 50)))".to_owned();
    for place in 0..17 {
        bomb += &format!("(i32.store (i32.const {}) (i32.const 262144))", 2052 + place * 8);
    }
    let failure = failure(&format!("{bomb} (i32.const 2048)")).await;
    assert_eq!(failure.code, "limit_transfer");
    assert!(failure.message.contains("1048576 bytes"), "{}", failure.message);
    assert_eq!(code_of(&answering(6, 0x7fff_ffff)).await, "invalid_abi");
    assert_eq!(code_of(&answering(6, 0xffff_ffff)).await, "invalid_abi");
}

#[tokio::test]
async fn a_lying_answer_is_found() {
    // One byte of values that no row has; a source row that is no row; an output that was not declared.
    assert_eq!(code_of(&answering(6, 1)).await, "invalid_answer");
    let row = "(i32.store (i32.load offset=2048 (i32.const 0)) (i32.const 3))";
    assert_eq!(code_of(&format!("(drop {IDENTITY}) {row} (i32.const 2048)")).await, "invalid_answer");
    let output = "(i32.store (i32.const 3000) (i32.const 0x00020000))
        (i32.store (i32.const 2056) (i32.const 3000)) (i32.store (i32.const 2060) (i32.const 3))";
    assert_eq!(code_of(&format!("(drop {IDENTITY}) {output} (i32.const 2048)")).await, "invalid_answer");
    // Lengths below -2, and a list that is not aligned.
    let lengths = "(i32.store (i32.const 3000) (i32.const -3)) (i32.store (i32.const 2072) (i32.const 3000))
        (i32.store (i32.const 2076) (i32.const 3))";
    assert_eq!(code_of(&format!("(drop {IDENTITY}) {lengths} (i32.const 2048)")).await, "invalid_answer");
    let askew = "(i32.store (i32.const 2048) (i32.const 3001))";
    assert_eq!(code_of(&format!("(drop {IDENTITY}) {askew} (i32.const 2048)")).await, "invalid_abi");
}

#[tokio::test]
async fn more_rows_than_the_limit_are_refused() {
    let guest = Transform::doing(
        "(i32.store (i32.const 2048) (call $alloc (i32.const 80000)))
         (i32.store (i32.const 2052) (i32.const 20000)) (i32.const 2048)",
    );
    let failure = failure_with(guest, |config| config.limits.call.output_bytes = 600_000).await;
    assert_eq!(failure.code, "limit_output_bytes");
    assert!(failure.message.contains("640000, the limit is 600000"), "{}", failure.message);
}

/// A guest that writes the first bytes of memory to its log, so many times.
fn logging(bytes: u32, times: u32) -> Transform {
    Transform {
        imports: r#"(import "millstream:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#,
        transform: format!(
            "(loop $l
               (call $log (i32.const 3) (i32.const 512) (i32.const {bytes}))
               (local.set $i (i32.add (local.get $i) (i32.const 1)))
               (br_if $l (i32.lt_u (local.get $i) (i32.const {times}))))
             {IDENTITY}"
        ),
        ..Transform::default()
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_log_flood_is_cut_off_and_then_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |config| config.limits.call.log_lines_second = 20);
    let flood = sandbox.image(&logging(8, 1000).component(), &json!({}), owner(), Grants::default()).await.unwrap();
    let (captured, guard) = Captured::begin();
    flood.transform(rows(1).view()).await.unwrap();
    assert_eq!(captured.lines(), vec!["INFO plugin: A guest. tenant=default pipeline=pipeline step=step"; 20]);
    drop(guard);
    // Not UTF-8, and longer than a line may be: no fault, no line.
    let long = sandbox.image(&logging(100_000, 1).component(), &json!({}), owner(), Grants::default()).await.unwrap();
    long.transform(rows(1).view()).await.unwrap();
    drop((flood, long));
    assert_eq!(failure_with(logging(8, 10_000), |_| ()).await.code, "limit_host_calls");
}

#[tokio::test]
async fn host_calls_are_charged() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let mut fuel = Vec::new();
    for (bytes, times) in [(0, 100), (0, 200), (8, 200)] {
        let image =
            sandbox.image(&logging(bytes, times).component(), &json!({}), owner(), Grants::default()).await.unwrap();
        fuel.push(image.transform(rows(1).view()).await.unwrap().fuel);
    }
    assert!(fuel[1] - fuel[0] >= 100 * 500, "{fuel:?}");
    assert!(fuel[2] - fuel[1] >= 200 * 8, "{fuel:?}");
}

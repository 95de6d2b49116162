//! Keyed processing, merging and migration: from the arguments to a checked answer.

use millstream::plugin::{
    AS_SOURCE, Aggregator as _, Domain, Grants, Image, Metric, Migrator as _, Plugin as _, Processor as _,
    Stateful as _, World,
};
use millstream::record::{Column, ColumnRef, NULL};
use serde_json::json;

use crate::guests::{self, owner, sandbox};
use crate::process_guests::{ECHO, Made, Process, made};

/// The image of a guest, with nothing granted.
async fn image(guest: &Process) -> std::sync::Arc<Image> {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    sandbox.image(&guest.component(), &json!({}), owner(), Grants::default()).await.unwrap()
}

async fn code_of(process: &str) -> &'static str {
    let image = image(&Process::doing(process)).await;
    let made = made();
    let failure = image.process(made.work()).await.unwrap_err();
    assert!(failure.guest);
    let limits = millstream::plugin::CallLimits::default();
    assert_eq!(failure.fuel, limits.fuel_base + (3 + 2 + 2) * limits.fuel_row, "rows, groups and timers are paid for");
    failure.code
}

#[tokio::test]
async fn what_a_plugin_is_given_comes_back_from_one_that_echoes() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let component = Process::doing(ECHO).component();
    let certificate = sandbox.certify(&component).await.unwrap();
    assert_eq!(certificate.world, World::Process);
    assert!(certificate.snapshot, "{:?}", certificate.no_snapshot);
    assert_eq!(certificate.needs(), []);
    let image = sandbox.image(&component, &json!({}), owner(), Grants::default()).await.unwrap();
    assert!(image.migrator().is_none());
    let made = made();
    let called = image.process(made.work()).await.unwrap();
    let done = called.answer;
    assert_eq!(done.emitted.source_rows, [0, 1, 2]);
    assert_eq!(done.emitted.outputs, made.inputs);
    assert_eq!(done.emitted.timestamps, made.row_watermarks);
    assert_eq!(done.state, made.state);
    assert_eq!(done.timers.timers, made.due);
    assert_eq!(done.timers.sets, [1, 1]);
    assert_eq!(done.timers.timers.domains, [Domain::Event as u8, Domain::Processing as u8]);
    assert!(done.fired.groups.is_empty() && done.rejected.rows.is_empty());
    assert!(called.fuel > 0);
    assert_eq!(image.process(made.work()).await.unwrap().fuel, called.fuel);
}

#[tokio::test]
async fn work_without_rows_or_without_anything_is_work() {
    let image = image(&Process::doing(ECHO)).await;
    let timers_only =
        Made { group_rows: vec![0, 0], rows: guests::rows(0), inputs: vec![], row_watermarks: vec![], ..made() };
    let done = image.process(timers_only.work()).await.unwrap().answer;
    assert_eq!((done.emitted.source_rows.len(), done.timers.sets.len()), (0, 2));
    let nothing = Made {
        group_rows: vec![],
        keys: Column::default(),
        state: Column::default(),
        due: Default::default(),
        ..timers_only
    };
    let done = image.process(nothing.work()).await.unwrap().answer;
    assert_eq!(done, Default::default());
}

#[tokio::test]
async fn clocks_keys_and_the_rows_of_groups_reach_the_plugin() {
    // Event times of two rows are the two clocks; their values are the groups' keys, and the state is null and a number
    // of rows.
    let process = "(call $count (i32.const 2048) (i32.const 2) (i32.const 0) (i32.const 1))
        (i32.store (i32.const 2064) (i32.add (local.get 0) (i32.const 168))) (i32.store (i32.const 2068) (i32.const 2))
        (call $list (i32.const 2088) (i32.add (local.get 0) (i32.const 104)))
        (call $list (i32.const 2096) (i32.add (local.get 0) (i32.const 112)))
        (i64.store (i32.const 3000) (i64.const 0x00000004_ffffffff))
        (i32.store (i32.const 2184) (i32.const 3000)) (i32.store (i32.const 2188) (i32.const 2))
        (call $list (i32.const 2192) (local.get 0)) (i32.store (i32.const 2196) (i32.const 4))
        (i32.const 2048)";
    let done = image(&Process::doing(process)).await.process(made().work()).await.unwrap().answer;
    assert_eq!(done.emitted.timestamps, [700, 800]);
    assert_eq!(done.emitted.values, made().keys);
    assert_eq!(done.state, Column { lengths: vec![NULL, 4], bytes: 2_u32.to_le_bytes().to_vec() });
}

#[tokio::test]
async fn rows_of_timers_and_timers_that_fired_are_told_apart() {
    // One row each of the second due timer and of the timer that fired, with the value "A guest."; no state is touched.
    let process = "(call $count (i32.const 2048) (i32.const 2) (i32.const 5) (i32.const -1))
        (i32.store (i32.const 2048) (i32.const 3000))
        (i64.store (i32.const 3000) (i64.const 0x00000004_00000005))
        (i64.store (i32.const 3008) (i64.const 0x00000000_00000008))
        (i32.store (i32.const 2088) (i32.const 3008)) (i32.store (i32.const 2092) (i32.const 2))
        (i32.store (i32.const 2096) (i32.const 512)) (i32.store (i32.const 2100) (i32.const 8))
        (call $count (i32.const 2184) (i32.const 2) (i32.const -2) (i32.const 0))
        (call $count (i32.const 2240) (i32.const 1) (i32.const 1) (i32.const 0))
        (i32.store (i32.const 2248) (i32.const 3016)) (i32.store (i32.const 2252) (i32.const 1))
        (i32.store (i32.const 2256) (i32.const 3016)) (i32.store (i32.const 2260) (i32.const 1))
        (i32.store (i32.const 2264) (i32.const 3016)) (i32.store (i32.const 2268) (i32.const 1))
        (i32.const 2048)";
    let done = image(&Process::doing(process)).await.process(made().work()).await.unwrap().answer;
    assert_eq!(done.emitted.source_rows, [5, 4]);
    assert_eq!(done.emitted.values, [Some("A guest."), Some("")].into_iter().collect());
    assert_eq!(done.state.lengths, [AS_SOURCE, AS_SOURCE]);
    assert_eq!((done.fired.groups, done.fired.ids), (vec![1], vec![0]));
}

#[tokio::test]
async fn lies_about_rows_state_and_timers_are_found() {
    let lie = |lie: &str| {
        format!("(drop {ECHO}) {lie} (i32.const 2048)")
            .replace("(drop (call $keep_state (local.get 0))", "(call $keep_state (local.get 0)) (drop")
    };
    let number = |at: u32, number: i64| lie(&format!("(i32.store (i32.const {at}) (i32.const {number}))"));
    let in_list =
        |list: u32, number: i64| lie(&format!("(i32.store (i32.load (i32.const {list})) (i32.const {number}))"));
    // The last source that there is: three rows and two timers.
    assert_eq!(code_of(&in_list(2048, 5)).await, "invalid_answer");
    // A timer without a value.
    assert_eq!(code_of(&in_list(2048, 3)).await, "invalid_answer");
    // A state too few, and lengths that are none.
    assert_eq!(code_of(&number(2188, 1)).await, "invalid_answer");
    assert_eq!(code_of(&in_list(2184, -3)).await, "invalid_answer");
    // A group that is none, a domain, neither set nor deleted, columns of different lengths.
    assert_eq!(code_of(&in_list(2200, 2)).await, "invalid_answer");
    assert_eq!(code_of(&in_list(2224, 2)).await, "invalid_answer");
    assert_eq!(code_of(&in_list(2232, 2)).await, "invalid_answer");
    assert_eq!(code_of(&number(2212, 1)).await, "invalid_answer");
    // Fired without a column of ids.
    assert_eq!(code_of(&number(2244, 1)).await, "invalid_answer");
    assert_eq!(code_of(&number(2188, -1)).await, "invalid_abi");
    assert_eq!(code_of("unreachable").await, "trap_unreachable");
    assert_eq!(code_of("(loop $l (br $l)) unreachable").await, "limit_fuel");
}

#[tokio::test]
async fn floods_of_timers_and_state_are_refused() {
    let flood = |list: u32, items: u32| {
        format!(
            "(call $keep_state (local.get 0)) (call $count (i32.const {list}) (i32.const {items}) (i32.const 0) (i32.const 0)) (i32.const 2048)"
        )
    };
    // Base and seven rows, groups and timers.
    assert_eq!(code_of(&flood(2200, 10_113)).await, "limit_timers");
    assert_eq!(code_of(&flood(2200, 10_112)).await, "invalid_answer");
    assert_eq!(code_of(&flood(2240, 10_449)).await, "limit_timers");
    let state = |bytes: u32| {
        format!(
            "(drop (memory.grow (i32.const 40)))
             (i32.store (i32.const 3000) (i32.const {bytes}))
             (i32.store (i32.const 2184) (i32.const 3000)) (i32.store (i32.const 2188) (i32.const 2))
             (i32.store (i32.const 2196) (i32.const {bytes}))
             (i32.const 2048)"
        )
    };
    assert_eq!(code_of(&state((1 << 20) + 1)).await, "limit_state_bytes");
    let image = image(&Process::doing(&state(1 << 20))).await;
    assert_eq!(image.process(made().work()).await.unwrap().answer.state.lengths, [1 << 20, 0]);
}

#[tokio::test]
async fn nothing_of_a_call_of_process_is_seen_by_the_next() {
    let trace = "(if (i32.load (i32.const 3000)) (then unreachable)) (i32.store (i32.const 3000) (i32.const 1))";
    let image = image(&Process::doing(&format!("{trace} {ECHO}"))).await;
    for _ in 0..5 {
        image.process(made().work()).await.unwrap();
    }
}

#[tokio::test]
async fn a_process_plugin_counts_and_says_where_it_trapped() {
    let guest = Process {
        imports: r#"(import "millstream:plugin/metrics@0.1.0" "add" (func $add (param i32 i32 i64)))"#,
        items: "(func $give_up unreachable)".to_owned(),
        // The name is the word `keys` of the description. Fails without rows, after counting.
        ..Process::doing(&format!(
            "(call $add (i32.const 522) (i32.const 4) (i64.const 3))
             (if (i32.eqz (i32.load offset=12 (local.get 0))) (then (call $give_up))) {ECHO}"
        ))
    };
    let image = image(&guest).await;
    image.process(made().work()).await.unwrap();
    let empty = Made { group_rows: vec![0, 0], rows: guests::rows(0), ..made() };
    let failure = image.process(empty.work()).await.unwrap_err();
    assert_eq!(failure.code, "trap_unreachable");
    assert!(failure.backtrace.first().is_some_and(|frame| frame == "give_up"), "{:?}", failure.backtrace);
    assert_eq!(image.metrics(), [("keys".to_owned(), Metric::Counter(3))].into());
}

#[tokio::test]
async fn accumulators_are_merged_pair_by_pair() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let image = sandbox.image(&guests::counting(), &json!({}), owner(), Grants::default()).await.unwrap();
    let (left, right): (Column, Column) =
        ([Some([5]), Some([1])].into_iter().collect(), [Some([2]), Some([0])].into_iter().collect());
    let merged = image.merge(left.view(), right.view()).await.unwrap();
    assert_eq!(merged.answer, [Some([7]), Some([1])].into_iter().collect());
    // The guest leaves null what comes out as 0, which an answer of `merge` may not have.
    let zero: Column = [Some([0])].into_iter().collect();
    assert_eq!(image.merge(zero.view(), zero.view()).await.unwrap_err().code, "invalid_answer");
    assert_eq!(image.merge(ColumnRef::default(), ColumnRef::default()).await.unwrap().answer, Column::default());
    let refused = image.process(made().work()).await.unwrap_err();
    assert!(!refused.guest, "a call of another world is the caller's fault");
}

/// Migrates with this body; the result's place is 3000.
fn migrating(body: &str) -> Process {
    Process { migrate: Some(format!("{body} (i32.const 3000)")), ..Process::doing(ECHO) }
}

/// An answer of the state as it came.
const UNCHANGED: &str = "(i32.store (i32.const 3004) (local.get 2)) (i32.store (i32.const 3008) (local.get 3))
    (i32.store (i32.const 3012) (local.get 4)) (i32.store (i32.const 3016) (local.get 5))";

#[tokio::test]
async fn state_of_another_version_is_migrated() {
    let state: Column = [Some("one"), None, Some("three")].into_iter().collect();
    let image = image(&migrating(&format!(
        "(if (i32.ne (local.get 1) (i32.const 9)) (then unreachable))
         ;; The first value is dropped.
         (i32.store (local.get 2) (i32.const -1))
         {UNCHANGED}
         (i32.store (i32.const 3012) (i32.add (local.get 4) (i32.const 3)))
         (i32.store (i32.const 3016) (i32.sub (local.get 5) (i32.const 3)))"
    )))
    .await;
    assert!(image.migrator().is_some());
    let migrated = image.migrate("sha256:ab", state.view()).await.unwrap().answer.unwrap();
    assert_eq!(migrated, [None, None, Some("three")].into_iter().collect());
    assert_eq!(image.migrate("sha256:abc", state.view()).await.unwrap_err().code, "trap_unreachable");
}

#[tokio::test]
async fn a_migration_that_is_refused_fails_or_lies_is_told_apart() {
    let state: Column = [Some("one")].into_iter().collect();
    let of = async |body: &str| image(&migrating(body)).await.migrate("v", state.view()).await;
    // The reason is the word `values` of the description.
    let refused = "(i32.store (i32.const 3000) (i32.const 1)) (i32.store (i32.const 3004) (i32.const 526))
        (i32.store (i32.const 3008) (i32.const 6))";
    assert_eq!(of(refused).await.unwrap().answer, Err("values".to_owned()));
    assert_eq!(of("unreachable").await.unwrap_err().code, "trap_unreachable");
    let few = format!("{UNCHANGED} (i32.store (i32.const 3008) (i32.const 0))");
    assert_eq!(of(&few).await.unwrap_err().code, "invalid_answer");
    let unchanged = format!("(i32.store (local.get 2) (i32.const -2)) {UNCHANGED}");
    assert_eq!(of(&unchanged).await.unwrap_err().code, "invalid_answer");
    let refused = image(&Process::doing(ECHO)).await.migrate("v", state.view()).await.unwrap_err();
    assert!(!refused.guest, "it exports no `migrate`: the caller's fault");
}

//! From a component to an answer, through the compiling process and the image.

use millstream::error::Coded as _;
use millstream::plugin::{Aggregator as _, Closed, Contribution, Grants, Metric, Plugin as _, Transformer as _, World};
use millstream::record::{Batch, Column};
use serde_json::json;

use crate::guests::{self, IDENTITY, Transform, owner, rows, sandbox};

#[tokio::test]
async fn a_component_is_certified_and_called() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let component = Transform::default().component();
    let certificate = sandbox.certify(&component).await.unwrap();
    assert_eq!(certificate.world, World::Transform);
    assert!(certificate.snapshot, "{:?}", certificate.no_snapshot);
    assert_eq!(certificate.description.summary, "A guest.");
    assert_eq!(certificate.description.outputs.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);

    let image = sandbox.image(&component, &json!({}), owner(), Grants::default()).await.unwrap();
    assert!(image.is_snapshot());
    for count in [0, 1, 3, 4096] {
        let batch = rows(count);
        let called = image.transform(batch.view()).await.unwrap();
        assert_eq!(called.answer.emitted.source_rows, (0..count as u32).collect::<Vec<_>>());
        assert!(called.fuel > 0);
    }
}

#[tokio::test]
async fn the_same_call_costs_the_same_fuel() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let image = sandbox.image(&Transform::default().component(), &json!({}), owner(), Grants::default()).await.unwrap();
    let batch = rows(100);
    let first = image.transform(batch.view()).await.unwrap();
    assert_eq!(image.transform(batch.view()).await.unwrap(), first);
}

#[tokio::test]
async fn an_aggregate_folds_and_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let image = sandbox.image(&guests::counting(), &json!({}), owner(), Grants::default()).await.unwrap();
    let groups: Column = [None, Some(b"\x05")].into_iter().collect();
    let batch = rows(3);
    let contribution = Contribution { groups: groups.view(), row_groups: &[0, 1, 1], rows: batch.view() };
    let folded = image.add(contribution).await.unwrap().answer;
    assert_eq!(folded.groups, [Some(b"\x01"), Some(b"\x07")].into_iter().collect());
    let keys: Column = [Some("k"), None].into_iter().collect();
    let closed = Closed { groups: folded.groups.view(), keys: keys.view(), starts: &[0, 60], ends: &[60, 120] };
    let answer = image.finish(closed).await.unwrap().answer;
    assert_eq!(answer.emitted.source_rows, [0, 1]);
    assert_eq!(answer.emitted.values, folded.groups);
    let refused = image.transform(Batch::default().view()).await.unwrap_err();
    assert!(!refused.guest, "a call of another world is the caller's fault");
}

/// Counts its calls in memory, a global and a table, and traps if it finds a trace of an earlier one.
#[tokio::test]
async fn nothing_that_a_call_writes_is_seen_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |config| config.calls = 1);
    let traces = r#"
      (if (i32.load (i32.const 3000)) (then unreachable))
      (if (i32.load8_u (i32.const 120000)) (then unreachable))
      (if (global.get $seen) (then unreachable))
      (if (i32.eqz (ref.is_null (table.get $seen (i32.const 1)))) (then unreachable))
      (if (i32.ne (table.size $seen) (i32.const 2)) (then unreachable))
      (if (i32.ne (memory.size) (i32.const 2)) (then unreachable))
      (i32.store (i32.const 3000) (i32.const 1))
      (i32.store8 (i32.const 120000) (i32.const 1))
      (global.set $seen (i32.const 1))
      (table.set $seen (i32.const 1) (ref.func $alloc))
      (drop (table.grow $seen (ref.func $alloc) (i32.const 3)))
      (drop (memory.grow (i32.const 1)))
      (i32.store8 (i32.const 140000) (i32.const 1))"#;
    // Without `table.set` the same guest can be snapshotted: both kinds of image are tried.
    let memory_only: String = traces.lines().filter(|line| !line.contains("table.")).collect();
    for (transform, snapshot) in [(traces, false), (memory_only.as_str(), true)] {
        let guest = Transform::doing(&format!("{transform} {IDENTITY}"))
            .with("(global $seen (mut i32) (i32.const 0)) (table $seen 2 funcref) (elem declare func $alloc)");
        let image = sandbox.image(&guest.component(), &json!({}), owner(), Grants::default()).await.unwrap();
        assert_eq!(image.is_snapshot(), snapshot);
        let batch = rows(2);
        for _ in 0..50 {
            image.transform(batch.view()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_init_leaves_is_there_in_every_call() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    // Keeps the length of its configuration in memory and in a global, and traps in a call that does not find it.
    let init = "(i32.store (i32.const 3000) (local.get 1)) (global.set $kept (local.get 1))";
    let found = format!(
        "(if (i32.ne (i32.load (i32.const 3000)) (i32.const 9)) (then unreachable))
         (if (i32.ne (global.get $kept) (i32.const 9)) (then unreachable))
         (i32.store (i32.const 3000) (i32.const 0)) {IDENTITY}"
    );
    let kept = "(global $kept (mut i32) (i32.const 0))";
    let element = "(table 1 funcref) (elem declare func $alloc) (func (table.set (i32.const 0) (ref.func $alloc)))";
    for (items, snapshot) in [(kept.to_owned(), true), (format!("{kept} {element}"), false)] {
        let guest = Transform { init, items, ..Transform::doing(&found) };
        let component = guest.component();
        assert_eq!(sandbox.certify(&component).await.unwrap().snapshot, snapshot);
        let image = sandbox.image(&component, &json!({"a": 123}), owner(), Grants::default()).await.unwrap();
        assert_eq!(image.is_snapshot(), snapshot);
        for _ in 0..3 {
            image.transform(rows(1).view()).await.unwrap();
        }
        let other = sandbox.image(&component, &json!({}), owner(), Grants::default()).await.unwrap();
        assert_eq!(other.transform(rows(1).view()).await.unwrap_err().code, "trap_unreachable");
    }
}

/// What a snapshot cannot hold makes calls dearer, not different.
#[tokio::test]
async fn a_component_that_cannot_be_snapshotted_is_said_to_be_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let vector = Transform::default().with("(global (mut v128) (v128.const i64x2 1 2))").component();
    // A nested component with code, beside the plugin's own.
    let mut nested = Transform::default().component();
    let inner = wat::parse_str("(component (core module (func)))").unwrap();
    nested.push(4);
    let mut length = inner.len();
    while length >= 0x80 {
        nested.push(length as u8 | 0x80);
        length >>= 7;
    }
    nested.push(length as u8);
    nested.extend_from_slice(&inner);
    for component in [vector, nested] {
        let certificate = sandbox.certify(&component).await.unwrap();
        assert!(!certificate.snapshot && certificate.no_snapshot.is_some());
        let image = sandbox.image(&component, &json!({}), owner(), Grants::default()).await.unwrap();
        assert!(!image.is_snapshot());
        for _ in 0..3 {
            image.transform(rows(2).view()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn metrics_of_calls_that_succeed_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let guest = Transform {
        imports: r#"(import "millstream:plugin/metrics@0.1.0" "add" (func $add (param i32 i32 i64)))"#,
        // The name is the word `keys` of the description. Fails for a batch of two rows, after counting.
        transform: format!(
            "(call $add (i32.const 522) (i32.const 4) (i64.const 3))
             (if (i32.eq (i32.load offset=4 (local.get 0)) (i32.const 2)) (then unreachable)) {IDENTITY}"
        ),
        ..Transform::default()
    };
    let image = sandbox.image(&guest.component(), &json!({}), owner(), Grants::default()).await.unwrap();
    image.transform(rows(1).view()).await.unwrap();
    image.transform(rows(2).view()).await.unwrap_err();
    image.transform(rows(3).view()).await.unwrap();
    assert_eq!(image.metrics(), [("keys".to_owned(), Metric::Counter(6))].into());
}

#[tokio::test]
async fn steps_with_the_same_configuration_share_code_and_the_folder_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let component = Transform::default().component();
    let artifacts = || std::fs::read_dir(folder.path()).unwrap().count() - 1;
    {
        let sandbox = sandbox(folder.path(), |_| ());
        let (config, other) = (json!({"a": 1}), json!({"a": 2}));
        let (first, second, third) = tokio::join!(
            sandbox.image(&component, &config, owner(), Grants::default()),
            sandbox.image(&component, &config, owner(), Grants::default()),
            sandbox.image(&component, &other, owner(), Grants::default())
        );
        for image in [first, second, third] {
            image.unwrap();
        }
        assert_eq!(artifacts(), 2);
    }
    // A server that cannot compile finds the artifact.
    let again = sandbox(folder.path(), |config| config.worker = Some("/bin/false".into()));
    let image = again.image(&component, &json!({"a": 1}), owner(), Grants::default()).await.unwrap();
    image.transform(rows(1).view()).await.unwrap();
    let missing = again.image(&component, &json!({"a": 3}), owner(), Grants::default()).await.unwrap_err();
    assert_eq!(missing.code(), "compile_crash");
}

#[tokio::test]
async fn an_artifact_that_was_tampered_with_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let component = Transform::default().component();
    sandbox(folder.path(), |_| ()).image(&component, &json!({}), owner(), Grants::default()).await.unwrap();
    let is_artifact = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "artifact");
    let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let path = files.find(is_artifact).unwrap();
    let stored = std::fs::read(&path).unwrap();
    let mut changed = stored.clone();
    let place = changed.len() / 2;
    changed[place] ^= 0x10;
    std::fs::write(&path, &changed).unwrap();
    let blind = sandbox(folder.path(), |config| config.worker = Some("/bin/false".into()));
    assert_eq!(
        blind.image(&component, &json!({}), owner(), Grants::default()).await.unwrap_err().code(),
        "compile_crash"
    );
    let image = sandbox(folder.path(), |_| ()).image(&component, &json!({}), owner(), Grants::default()).await.unwrap();
    image.transform(rows(1).view()).await.unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), changed, "the artifact was written anew");
}

#[tokio::test]
async fn calls_over_the_pool_wait_for_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |config| config.calls = 2);
    let image = sandbox.image(&Transform::default().component(), &json!({}), owner(), Grants::default()).await.unwrap();
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let image = image.clone();
            tokio::spawn(async move { image.transform(rows(10).view()).await.map(|called| called.answer) })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().emitted.source_rows.len(), 10);
    }
}

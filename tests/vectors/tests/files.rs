//! The vectors of this repository and, where they are, those that are shared: all hold. What is no vector fails readably.
#![expect(clippy::print_stderr, reason = "a test that is skipped says so loudly")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use vectors::{Outcome, Plugins, Verdict};

/// Plugins are made once for all tests, of which one runs at a time.
static ONE: Mutex<()> = Mutex::new(());

fn outcomes(path: &Path) -> Vec<Outcome> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let plugins = Plugins::new().expect("the plugins can be built");
    let mut outcomes = Vec::new();
    vectors::run(path, "", &plugins, |outcome| outcomes.push(outcome)).expect("the file can be read");
    outcomes
}

fn all_hold(path: &Path) {
    let failed: Vec<String> = outcomes(path)
        .iter()
        .filter(|outcome| matches!(outcome.verdict, Verdict::Failed(_)))
        .map(Outcome::to_string)
        .collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn our_own_vectors_hold() {
    all_hold(&Path::new(env!("MILLSTREAM_WORKSPACE")).join("tests/vectors/own.json"));
}

#[test]
fn the_shared_vectors_hold() {
    let path: PathBuf = std::env::var_os("MILLSTREAM_VECTORS")
        .map_or_else(|| harness::workspace().join("../shared/vectors/vectors.json"), PathBuf::from);
    if !path.exists() {
        eprintln!("SKIPPED: MILLSTREAM_VECTORS names no file of vectors, and there is none at `{}`", path.display());
        return;
    }
    all_hold(&path);
}

#[test]
fn what_is_no_vector_fails_with_its_reason_and_does_not_spoil_others() {
    let vectors = [
        r#"{"id":"X-1","dialect":"flink","title":"t","op":{"type":"teleport"},"steps":[]}"#,
        r#"{"id":"X-2","dialect":"flink","title":"t","op":{"type":"timer"},"steps":[{"wait":1}]}"#,
        r#"{"id":"X-3","dialect":"flink","title":"t","op":{"type":"timer"},"steps":[],"mood":"good"}"#,
        r#"{"id":"X-4","dialect":"storm","title":"t","op":{"type":"timer"},"steps":[]}"#,
        r#"{"id":"X-5","dialect":"flink","title":"t","op":{"type":"window","assigner":"tumbling","size":0,"agg":"sum"},"steps":[]}"#,
        r#"{"id":"X-6","dialect":"flink","title":"t","op":{"type":"timer"},"steps":[],"expect":[{"step":9,"ts":1}]}"#,
        r#"{"id":"X-7","dialect":"flink","title":"t","op":{"type":"timer"},"steps":[{"event":{"key":"k","value":0,"ts":1,"actions":"x"}}]}"#,
        r#"{"id":"X-8","dialect":"flink","title":"t","op":{"type":"timer"},
            "steps":[{"event":{"key":"k","value":0,"ts":1,"actions":"r5"}},{"watermark":5}],"expect":[{"step":1,"key":"k","ts":6}]}"#,
        r#"{"id":"X-9","dialect":"flink","title":"t","op":{"type":"timer"},
            "steps":[{"event":{"key":"k","value":0,"ts":1,"actions":"r5"}},{"watermark":5}],"expect":[{"step":1,"key":"k","ts":5}]}"#,
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vectors.json");
    fs::write(&path, format!(r#"{{"schema_version":1,"vectors":[{}]}}"#, vectors.join(",")))
        .expect("it can be written");
    let outcomes = outcomes(&path);
    let message = [
        "operation `teleport` is not known",
        "step 0: unknown variant `wait`",
        "unknown field `mood`",
        "dialect `storm` is not known",
        "`0ms` is too short",
        "`expect[0]` has no `step` below 0",
        "a row became a dead letter: bad-action: `x` is neither `r` nor `d` and a time",
        r#"straight, step 1: results
          expected {"key":"k","ts":6}
          got      {"key":"k","ts":5}"#,
    ];
    for (outcome, message) in outcomes.iter().zip(message) {
        let text = outcome.to_string();
        assert!(text.starts_with("FAIL") && text.contains(message), "{message:?} is not in {text}");
    }
    assert_eq!(outcomes[message.len()].verdict, Verdict::Passed);
}

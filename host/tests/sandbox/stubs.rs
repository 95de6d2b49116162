//! The stubs of WASI: an honest program of `wasm32-wasip2` loads and runs, and gets nothing.

use millstream::plugin::{Grants, Transformer as _};
use serde_json::json;

use crate::guests::{IDENTITY, Transform, component_of, owner, rows, sandbox};
use crate::lines::Captured;

/// As much of WASI as the guest uses, and the contract.
const WORLD: &str = r#"
package test:stubs;

package wasi:io@0.2.6 {
    interface error { resource error; }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            check-write: func() -> result<u64, stream-error>;
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }
}

package wasi:cli@0.2.6 {
    interface stdout { use wasi:io/streams@0.2.6.{output-stream}; get-stdout: func() -> output-stream; }
    interface environment { get-arguments: func() -> list<string>; }
    interface exit { exit: func(status: result); }
}

package wasi:clocks@0.2.6 {
    interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
}

package wasi:random@0.2.6 {
    interface random { get-random-u64: func() -> u64; }
}

world stubs {
    include millstream:plugin/transform@0.1.0;
    import wasi:cli/stdout@0.2.6;
    import wasi:cli/environment@0.2.6;
    import wasi:cli/exit@0.2.6;
    import wasi:clocks/wall-clock@0.2.6;
    import wasi:random/random@0.2.6;
}
"#;

const IMPORTS: &str = r#"
  (import "wasi:io/streams@0.2.6" "[method]output-stream.check-write" (func $room (param i32 i32)))
  (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush"
    (func $write (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.6" "[resource-drop]output-stream" (func $drop (param i32)))
  (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
  (import "wasi:cli/environment@0.2.6" "get-arguments" (func $arguments (param i32)))
  (import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))
  (import "wasi:clocks/wall-clock@0.2.6" "now" (func $now (param i32)))
  (import "wasi:random/random@0.2.6" "get-random-u64" (func $random (result i64)))"#;

fn guest(init: &'static str, transform: &str) -> Vec<u8> {
    let guest = Transform { imports: IMPORTS, init, ..Transform::doing(&format!("{transform} {IDENTITY}")) }
        .with("(global $kept (mut i64) (i64.const 0)) (data (i32.const 700) \"one\\ntwo\")");
    component_of("stubs", Some(WORLD), &guest.text())
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_printed_goes_to_the_plugins_log() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let component = guest(
        "",
        "(local.set $i (call $stdout))
         (call $room (local.get $i) (i32.const 3000))
         (if (i64.eqz (i64.load (i32.const 3008))) (then unreachable))
         (call $write (local.get $i) (i32.const 700) (i32.const 7) (i32.const 3000))
         (if (i32.load8_u (i32.const 3000)) (then unreachable))
         (call $drop (local.get $i))",
    );
    let image = sandbox.image(&component, &json!({}), owner(), Grants::default()).await.unwrap();
    assert!(image.is_snapshot());
    let (captured, _guard) = Captured::begin();
    image.transform(rows(1).view()).await.unwrap();
    let expected = ["one", "two"].map(|text| format!("INFO plugin: {text} tenant=default pipeline=pipeline step=step"));
    assert_eq!(captured.lines(), expected);
}

#[tokio::test]
async fn there_are_no_arguments_no_time_and_no_chance() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let component = guest(
        "",
        "(call $arguments (i32.const 3000))
         (if (i32.load (i32.const 3004)) (then unreachable))
         (call $now (i32.const 3008))
         (if (i64.ne (i64.const 0) (i64.load (i32.const 3008))) (then unreachable))
         (global.set $kept (call $random))
         (if (i64.eq (global.get $kept) (call $random)) (then unreachable))
         ;; What was drawn first leaves as the event time, to be compared.
         (i64.store (i32.const 3016) (global.get $kept))
         (i32.store (i32.const 2064) (i32.const 3016)) (i32.store (i32.const 2068) (i32.const 1))",
    );
    let image = sandbox.image(&component, &json!({}), owner(), Grants::default()).await.unwrap();
    let first = image.transform(rows(1).view()).await.unwrap().answer;
    assert_eq!(first.emitted.timestamps.len(), 1);
    assert_eq!(image.transform(rows(1).view()).await.unwrap().answer, first);
}

#[tokio::test]
async fn exit_ends_the_call_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let image =
        sandbox.image(&guest("", "(call $exit (i32.const 1))"), &json!({}), owner(), Grants::default()).await.unwrap();
    let failure = image.transform(rows(1).view()).await.unwrap_err();
    assert_eq!((failure.code, failure.message.as_str()), ("guest_exit", "called exit with status 1"));
}

/// A handle is not in memory: in a snapshot it would dangle.
#[tokio::test]
async fn a_guest_that_keeps_a_handle_from_init_is_initialised_in_every_call() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let component = guest(
        "(global.set $kept (i64.extend_i32_u (call $stdout)))",
        "(call $write (i32.wrap_i64 (global.get $kept)) (i32.const 700) (i32.const 7) (i32.const 3000))",
    );
    let image = sandbox.image(&component, &json!({}), owner(), Grants::default()).await.unwrap();
    assert!(!image.is_snapshot());
    image.transform(rows(1).view()).await.unwrap();
    let tight = crate::guests::sandbox(folder.path(), |config| config.limits.call.handles = 3);
    let many = guest("", "(loop $l (drop (call $stdout)) (br $l))");
    let image = tight.image(&many, &json!({}), owner(), Grants::default()).await.unwrap();
    assert_eq!(image.transform(rows(1).view()).await.unwrap_err().code, "limit_handles");
}

//! The import `table`: what is put is read, what makes no sense is an error that the guest can read, and no answer is
//! larger than its limit.

use std::sync::{Arc, Mutex};

use millstream::error::Coded as _;
use millstream::plugin::{CallLimits, Grants, Processor as _, SandboxConfig, Work};
use serde_json::json;

use crate::guests::{IDENTITY, Transform, component_of, owner, sandbox};
use crate::process_guests::{ECHO, Process, made};
use crate::stores::{Answered, Arguments, Store, answered, asking, granted};

async fn ask_with(guest: &Process, store: &Arc<Mutex<Store>>, change: impl FnOnce(&mut CallLimits)) -> Answered {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |config| change(&mut config.limits.call));
    let image = sandbox.image(&guest.component(), &json!({}), owner(), granted()).await.unwrap();
    assert!(image.is_snapshot());
    let made = made();
    let work = Work { tables: Some(store.clone()), ..made.work() };
    answered(image.process(work).await.unwrap().answer)
}

async fn ask(guest: &Process, store: &Arc<Mutex<Store>>) -> Answered {
    ask_with(guest, store, |_| ()).await
}

fn get(table: u32, groups: &[u32], lengths: &[i32], bytes: &[u8]) -> Process {
    let mut args = Arguments::default();
    let (groups, lengths, bytes) = (args.groups(groups), args.lengths(lengths), args.bytes(bytes));
    let call = format!("(call $get (i32.const {table}) {groups} {lengths} {bytes} (i32.const 3000)) (call $values)");
    asking(&call, args)
}

/// Keys and values are lengths and bytes.
fn put(
    table: u32,
    groups: &[u32],
    (key_lengths, keys): (&[i32], &[u8]),
    (lengths, values): (&[i32], &[u8]),
) -> Process {
    let mut args = Arguments::default();
    let (groups, key_lengths, keys) = (args.groups(groups), args.lengths(key_lengths), args.bytes(keys));
    let (lengths, values) = (args.lengths(lengths), args.bytes(values));
    let call = format!(
        "(call $put (i32.const {table}) {groups} {key_lengths} {keys} {lengths} {values} (i32.const 3000))
         (call $nothing)"
    );
    asking(&call, args)
}

fn range(table: u32, group: u32, start: &[u8], end: &[u8], limit: u32, backwards: bool) -> Process {
    let mut args = Arguments::default();
    let (start, end) = (args.bytes(start), args.bytes(end));
    let call = format!(
        "(call $range (i32.const {table}) (i32.const {group}) {start} {end} (i32.const {limit})
           (i32.const {}) (i32.const 3000))
         (call $entries)",
        u8::from(backwards)
    );
    asking(&call, args)
}

fn delete(table: u32, group: u32, start: &[u8], end: &[u8]) -> Process {
    let mut args = Arguments::default();
    let (start, end) = (args.bytes(start), args.bytes(end));
    let call =
        format!("(call $delete (i32.const {table}) (i32.const {group}) {start} {end} (i32.const 3000)) (call $number)");
    asking(&call, args)
}

/// Entries of group 1 with these keys, each its own value.
fn store(keys: &[&str]) -> Arc<Mutex<Store>> {
    Store::with(1, keys.iter().map(|key| (key.as_bytes().to_vec(), key.as_bytes().to_vec()))).shared()
}

fn values(answered: Answered) -> Vec<Option<String>> {
    answered.unwrap().into_iter().map(|(_, value)| value).collect()
}

fn keys(answered: Answered) -> Vec<String> {
    let same = |(key, value): (Option<String>, Option<String>)| {
        assert_eq!(key, value);
        key.unwrap()
    };
    answered.unwrap().into_iter().map(same).collect()
}

#[tokio::test]
async fn what_is_put_is_read_by_the_same_call_and_a_null_deletes() {
    let store = store(&["old", "other"]);
    // `old` of group 1 is deleted; both groups get a `new`, one of them an empty one.
    let mut args = Arguments::default();
    let put = [
        args.groups(&[1, 0, 1]),
        args.lengths(&[3, 3, 3]),
        args.bytes(b"oldnewnew"),
        args.lengths(&[-1, 5, 0]),
        args.bytes(b"value"),
    ];
    let get = [args.groups(&[0, 1, 1, 1, 0]), args.lengths(&[3, 3, 3, 5, 0]), args.bytes(b"newnewoldother")];
    let calls = format!(
        "(call $put (i32.const 0) {} (i32.const 3000)) (call $nothing)
         (call $get (i32.const 0) {} (i32.const 3000)) (call $values)",
        put.join(" "),
        get.join(" ")
    );
    let read = values(ask(&asking(&calls, args), &store).await);
    let some = |value: &str| Some(value.to_owned());
    assert_eq!(read, [some("value"), some(""), None, some("other"), None]);
    let entries: Vec<_> = store.lock().unwrap().entries.keys().cloned().collect();
    let entry = |group, key: &str| (0, group, key.as_bytes().to_vec());
    assert_eq!(entries, [entry(0, "new"), entry(1, "new"), entry(1, "other")]);
    // Tables are apart.
    assert_eq!(values(ask(&self::get(63, &[1], &[5], b"other"), &store).await), [None]);
}

#[tokio::test]
async fn ranges_are_read_in_both_directions_and_deleted() {
    let store = store(&["", "a", "b", "ba", "c"]);
    let of = async |start: &str, end: &str, limit, backwards| {
        keys(ask(&range(0, 1, start.as_bytes(), end.as_bytes(), limit, backwards), &store).await)
    };
    assert_eq!(of("", "", 100, false).await, ["", "a", "b", "ba", "c"]);
    assert_eq!(of("", "", 100, true).await, ["c", "ba", "b", "a", ""]);
    assert_eq!(of("a", "c", 100, false).await, ["a", "b", "ba"]);
    assert_eq!(of("a", "c", 2, true).await, ["ba", "b"]);
    assert_eq!(of("b", "", 2, false).await, ["b", "ba"]);
    for (start, end, limit) in [("c", "b", 9), ("b", "b", 9), ("a", "", 0), ("d", "", 9)] {
        assert!(of(start, end, limit, false).await.is_empty(), "{start} to {end}");
    }
    assert!(keys(ask(&range(0, 0, b"", b"", 9, false), &store).await).is_empty(), "the other group has none");
    assert_eq!(ask(&delete(0, 1, b"b", b"c"), &store).await.unwrap().len(), 2);
    assert_eq!(ask(&delete(0, 1, b"c", b"b"), &store).await.unwrap().len(), 0);
    assert_eq!(of("", "", 100, false).await, ["", "a", "c"]);
    assert_eq!(ask(&delete(0, 1, b"", b""), &store).await.unwrap().len(), 3);
    assert!(store.lock().unwrap().entries.is_empty());
}

#[tokio::test]
async fn many_entries_are_read_a_part_at_a_time() {
    // Three parts, the last of which ends, backwards, with the empty key.
    let names: Vec<_> = (0..192).map(|i| if i == 0 { String::new() } else { format!("{i:03}") }).collect();
    let all: Vec<_> = names.iter().map(String::as_str).collect();
    let store = store(&all);
    // The parts end before, at and behind what is asked for.
    for (limit, backwards) in [(200, false), (200, true), (191, true), (128, false), (129, true), (64, false)] {
        let mut expected = all.clone();
        if backwards {
            expected.reverse();
        }
        let read = keys(ask(&range(0, 1, b"", b"", limit, backwards), &store).await);
        expected.truncate(limit as usize);
        assert_eq!(read, expected, "{limit} {backwards}");
    }
    let lengths: Vec<_> = all.iter().map(|key| key.len() as i32).collect();
    let read = values(ask(&get(0, &[1; 192], &lengths, all.concat().as_bytes()), &store).await);
    assert_eq!(read.iter().flatten().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    assert_eq!(store.lock().unwrap().most, 64);
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_errors_and_change_nothing() {
    let store = store(&["a"]);
    let cases = [
        (get(64, &[1], &[1], b"a"), "table 64: a plugin has 64 tables"),
        (get(0, &[1, 1], &[1], b"a"), "2 groups for 1 keys"),
        (get(0, &[2], &[1], b"a"), "group 2: the call has 2 groups"),
        (get(0, &[1], &[-1], b""), "a key has the length -1"),
        (get(0, &[1], &[2], b"a"), "lengths of keys add up to 2, their bytes are 1"),
        (get(0, &[1, 1], &[i32::MAX; 2], b"a"), "add up to 4294967294"),
        (put(64, &[1], (&[1], b"a"), (&[1], b"x")), "table 64"),
        (put(0, &[], (&[1], b"a"), (&[1], b"x")), "0 groups for 1 keys"),
        (put(0, &[7], (&[1], b"a"), (&[1], b"x")), "group 7"),
        (put(0, &[1], (&[1], b"a"), (&[], b"")), "0 values for 1 keys"),
        (put(0, &[1], (&[-1], b""), (&[1], b"x")), "a key has the length -1"),
        (put(0, &[1], (&[1], b"ab"), (&[1], b"x")), "lengths of keys add up to 1"),
        (put(0, &[1], (&[1], b"a"), (&[-2], b"")), "a value has the length -2"),
        (put(0, &[1], (&[1], b"a"), (&[2], b"x")), "lengths of values add up to 2"),
        (range(64, 1, b"", b"", 1, false), "table 64"),
        (range(0, 2, b"", b"", 1, false), "group 2"),
        (delete(64, 1, b"", b""), "table 64"),
        (delete(0, 2, b"", b""), "group 2"),
    ];
    for (guest, expected) in cases {
        let error = ask(&guest, &store).await.unwrap_err();
        assert!(error.contains(expected), "{error}: {expected}");
    }
    assert_eq!(store.lock().unwrap().entries.len(), 1);
}

#[tokio::test]
async fn limits_are_errors_with_their_value() {
    let store = store(&["a", "bb", "ccc", "dddddd"]);
    let tight = |limits: &mut CallLimits| {
        limits.table_entries = 3;
        limits.table_key_bytes = 6;
        limits.table_value_bytes = 4;
        limits.table_bytes = 16;
        limits.table_written_bytes = 20;
    };
    let put_one = |key: &[u8], value: &[u8]| put(0, &[1], (&[key.len() as i32], key), (&[value.len() as i32], value));
    let refused = [
        (get(0, &[1; 4], &[0; 4], b""), "4 entries in one call, the limit is 3"),
        (get(0, &[1], &[7], b"seven77"), "a key of 7 bytes, the limit is 6 bytes"),
        (get(0, &[1; 3], &[6, 6, 5], &[b'x'; 17]), "17 bytes in one call, the limit is 16 bytes"),
        (get(0, &[1; 3], &[6, 6, 0], b"dddddddddddd"), "fits"),
        (put(0, &[1; 4], (&[0; 4], b""), (&[0; 4], b"")), "4 entries"),
        (put_one(b"seven77", b""), "a key of 7 bytes"),
        (put_one(b"", b"five5"), "a value of 5 bytes, the limit is 4 bytes"),
        (put(0, &[1; 3], (&[6, 4, 0], b"sixsixfour"), (&[4, 3, 0], b"fourtri")), "17 bytes in one call"),
        (range(0, 1, b"", b"", 4, false), "4 entries"),
        (range(0, 1, b"", b"", u32::MAX, false), "4294967295 entries"),
        (range(0, 1, b"bb", b"", 3, false), "22 bytes in one call, the limit is 16 bytes"),
        (range(0, 1, b"bb", b"", 2, false), "fits"),
        (range(0, 1, b"", b"eight888", 1, false), "a bound of 8 bytes, the limit is 7 bytes"),
        (range(0, 1, b"eight888", b"", 1, false), "a bound of 8 bytes"),
        (range(0, 1, b"dddddd\0", b"", 1, false), "fits"),
        (delete(0, 1, b"eight888", b""), "a bound of 8 bytes"),
        (delete(0, 1, b"", b"eight888"), "a bound of 8 bytes"),
    ];
    for (guest, expected) in refused {
        let error = ask_with(&guest, &store, tight).await.err().unwrap_or_else(|| "fits".to_owned());
        assert!(error.contains(expected), "{error}: {expected}");
    }
    // Values that were asked for, not named.
    let long = Store::with(1, [(vec![b'a'], vec![b'x'; 9])]).shared();
    let error = ask_with(&get(0, &[1, 1], &[1, 1], b"aa"), &long, tight).await.unwrap_err();
    assert!(error.contains("18 bytes in one call, the limit is 16 bytes"), "{error}");
    assert!(ask_with(&get(0, &[1], &[1], b"a"), &long, tight).await.is_ok());
}

#[tokio::test]
async fn a_call_writes_no_more_than_its_limit_all_together() {
    let store = store(&[]);
    let twice = |second: &str| {
        let mut args = Arguments::default();
        let lists = |args: &mut Arguments, key: &str| {
            let lists = [
                args.groups(&[0]),
                args.lengths(&[key.len() as i32]),
                args.bytes(key.as_bytes()),
                args.lengths(&[6]),
                args.bytes(b"sixsix"),
            ];
            format!("(call $put (i32.const 0) {} (i32.const 3000)) (call $nothing)", lists.join(" "))
        };
        let calls = lists(&mut args, "four") + &lists(&mut args, second);
        asking(&calls, args)
    };
    let tight = |limits: &mut CallLimits| limits.table_written_bytes = 20;
    let error = ask_with(&twice("other"), &store, tight).await.unwrap_err();
    assert!(error.contains("21 bytes put into tables by one call of the plugin, the limit is 20 bytes"), "{error}");
    assert_eq!(store.lock().unwrap().entries.len(), 1, "the first one is kept");
    // A call begins with nothing written.
    assert!(ask_with(&twice("four"), &store, tight).await.is_ok());
    store.lock().unwrap().full = true;
    assert_eq!(ask(&twice("four"), &store).await.unwrap_err(), "the state is full");
}

#[tokio::test]
async fn entries_and_bytes_are_paid_for() {
    let store = store(&["a", "b", "c", "d"]);
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let fuel = async |guest: Process| {
        let image = sandbox.image(&guest.component(), &json!({}), owner(), granted()).await.unwrap();
        let made = made();
        let called = image.process(Work { tables: Some(store.clone()), ..made.work() }).await.unwrap();
        answered(called.answer).unwrap();
        called.fuel
    };
    let one = fuel(get(0, &[0], &[1], b"a")).await;
    assert!(fuel(get(0, &[0; 3], &[1; 3], b"abc")).await - one >= 2_000);
    assert!(fuel(get(0, &[0], &[4_000], &[b'a'; 4_000])).await - one >= 3_999);
    let none = fuel(range(0, 1, b"x", b"", 9, false)).await;
    assert!(fuel(range(0, 1, b"", b"", 9, false)).await - none >= 4_000);
    let none = fuel(put(0, &[], (&[], b""), (&[], b""))).await;
    assert!(fuel(put(0, &[0], (&[1], b"a"), (&[500], &[0; 500]))).await - none >= 1_501);
    let none = fuel(delete(0, 1, b"x", b"")).await;
    assert!(fuel(delete(0, 1, b"", b"")).await - none >= 4_000);
}

#[tokio::test]
async fn asking_for_ever_ends_at_the_fuel_of_the_call() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |config: &mut SandboxConfig| {
        config.limits.call.host_calls_base = u64::MAX;
        config.limits.call.fuel_base = 100_000_000;
    });
    let mut args = Arguments::default();
    let lists = [args.groups(&[1]), args.lengths(&[1]), args.bytes(b"a")];
    let call = format!("(call $get (i32.const 0) {} (i32.const 3000))", lists.join(" "));
    let guest = asking(&format!("(loop $l {call} (br $l))"), args);
    let image = sandbox.image(&guest.component(), &json!({}), owner(), granted()).await.unwrap();
    let made = made();
    let work = Work { tables: Some(store(&["a"])), ..made.work() };
    assert_eq!(image.process(work).await.unwrap_err().code, "limit_fuel");
}

#[tokio::test]
async fn a_step_must_grant_what_its_plugin_imports() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let imports = r#"(import "millstream:plugin/table@0.1.0" "get"
        (func $get (param i32 i32 i32 i32 i32 i32 i32 i32)))"#;
    let table = Process { imports, ..get(0, &[1], &[1], b"a") }.component();
    let certificate = sandbox.certify(&table).await.unwrap();
    let needs: Vec<_> = certificate.needs().iter().map(|grant| grant.in_manifest()).collect();
    assert_eq!(needs, ["grants = [\"table\"]"]);
    assert!(certificate.imports.contains(&"millstream:plugin/table@0.1.0".to_owned()));
    let lookups = granted().lookups;
    for grants in [Grants::default(), Grants { table: false, lookups }] {
        let refused = sandbox.image(&table, &json!({}), owner(), grants).await.unwrap_err();
        assert_eq!(refused.code(), "import_not_granted");
        let message = refused.to_string();
        assert!(message.contains("table@0.1.0") && message.contains("grants = [\"table\"]"), "{message}");
    }
    // Whether a configuration is taken can be told without grants.
    sandbox.initialize(&table, &json!({})).await.unwrap();
    let image = sandbox.image(&table, &json!({}), owner(), granted()).await.unwrap();
    let failure = image.process(made().work()).await.unwrap_err();
    assert!(!failure.guest, "a call without the tables that were granted is the caller's fault");
    // What is not imported need not be granted, and is not asked for.
    let image = sandbox.image(&Process::doing(ECHO).component(), &json!({}), owner(), granted()).await.unwrap();
    image.process(made().work()).await.unwrap();
}

#[tokio::test]
async fn only_a_plugin_with_keys_has_tables() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let packages = "package test:tabular;
        world tabular { include millstream:plugin/transform@0.1.0; import millstream:plugin/table@0.1.0; }";
    let imports = r#"(import "millstream:plugin/table@0.1.0" "get"
        (func $get (param i32 i32 i32 i32 i32 i32 i32 i32)))"#;
    let guest = Transform { imports, ..Transform::doing(IDENTITY) };
    let component = component_of("tabular", Some(packages), &guest.text());
    let refused = sandbox.certify(&component).await.unwrap_err();
    assert_eq!(refused.code(), "import_of_other_world");
    assert!(refused.to_string().contains("`transform`"), "{refused}");
}

/// In `init` there is no table: the same whether it ran in the compiling process or runs in every call.
#[tokio::test]
async fn init_finds_no_tables_whether_there_is_a_snapshot_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let mut args = Arguments::default();
    let lists = [args.groups(&[1]), args.lengths(&[1]), args.bytes(b"a")];
    let get = format!("(call $get (i32.const 0) {} (i32.const 3000))", lists.join(" "));
    let (name, key) = (args.bytes(b"countries"), [args.lengths(&[1]), args.bytes(b"a")].join(" "));
    let look_up = format!("(call $lookup {name} {key} (i32.const 3000))");
    // Keeps what kind of answer each got: 1 for an error.
    let init = format!(
        "{get} (i32.store8 (i32.const 3200) (i32.load8_u (i32.const 3000)))
         {look_up} (i32.store8 (i32.const 3201) (i32.load8_u (i32.const 3000)))"
    );
    let process = format!(
        "(if (i32.ne (i32.const 0x0101) (i32.load16_u (i32.const 3200))) (then unreachable)) {get} (call $values)"
    );
    let guest = Process { init, ..asking(&process, args) };
    let element = "(table 1 funcref) (elem declare func $alloc) (func (table.set (i32.const 0) (ref.func $alloc)))";
    let items = format!("{} {element}", guest.items);
    for (guest, snapshot) in [(guest.clone(), true), (Process { items, ..guest }, false)] {
        let image = sandbox.image(&guest.component(), &json!({}), owner(), granted()).await.unwrap();
        assert_eq!(image.is_snapshot(), snapshot);
        let made = made();
        let work = Work { tables: Some(store(&["a"])), ..made.work() };
        assert_eq!(values(answered(image.process(work).await.unwrap().answer)), [Some("a".to_owned())]);
    }
}

//! The import `lookup`, in plugins of both worlds that may have it.

use millstream::error::Coded as _;
use millstream::plugin::{Answer, CallLimits, Grants, Processor as _, Transformer as _, Work};
use serde_json::json;

use crate::guests::{Transform, owner, rows, sandbox};
use crate::process_guests::made;
use crate::stores::{Arguments, Store, answered, asking, granted};

const LOOKUP: &str =
    r#"(import "millstream:plugin/lookup@0.1.0" "get" (func $lookup (param i32 i32 i32 i32 i32 i32 i32)))"#;

/// A `transform` that looks keys up and emits what it finds as values of row 0; an error leaves by output 1.
fn looking_up(name: &[u8], lengths: &[i32], keys: &[u8]) -> Transform {
    let mut args = Arguments::default();
    let (name, lengths, keys) = (args.bytes(name), args.lengths(lengths), args.bytes(keys));
    let found = "(i32.store (i32.const 2048) (i32.const 100000))
        (if (i32.load8_u (i32.const 3000))
          (then
            (i32.store (i32.const 3100) (i32.const 1))
            (i32.store (i32.const 3104) (i32.load (i32.const 3008)))
            (i32.store (i32.const 2052) (i32.const 1))
            (i32.store (i32.const 2056) (i32.const 3100)) (i32.store (i32.const 2060) (i32.const 1))
            (i32.store (i32.const 2088) (i32.const 3104)) (i32.store (i32.const 2092) (i32.const 1))
            (i64.store (i32.const 2096) (i64.load (i32.const 3004))))
          (else
            (i32.store (i32.const 2052) (i32.load (i32.const 3008)))
            (i64.store (i32.const 2088) (i64.load (i32.const 3004)))
            (i64.store (i32.const 2096) (i64.load (i32.const 3012)))))
        (i32.const 2048)";
    let transform = format!("(call $lookup {name} {lengths} {keys} (i32.const 3000)) {found}");
    Transform { imports: LOOKUP, pages: 4, ..Transform::doing(&transform) }.with(&args.data())
}

async fn look_up(guest: &Transform, change: impl FnOnce(&mut CallLimits)) -> Result<Vec<Option<String>>, String> {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |config| change(&mut config.limits.call));
    let image = sandbox.image(&guest.component(), &json!({}), owner(), granted()).await.unwrap();
    let Answer { emitted, .. } = image.transform(rows(1).view()).await.unwrap().answer;
    let values: Vec<_> =
        emitted.values.iter().map(|value| value.map(|v| String::from_utf8(v.to_vec()).unwrap())).collect();
    match emitted.outputs.first() {
        Some(1) => Err(values[0].clone().unwrap()),
        _ => Ok(values),
    }
}

#[tokio::test]
async fn many_keys_are_looked_up_at_once() {
    let found = look_up(&looking_up(b"countries", &[2, 7, 0], b"denowhere"), |_| ()).await.unwrap();
    assert_eq!(found, [Some("2".to_owned()), None, Some("0".to_owned())]);
    assert_eq!(look_up(&looking_up(b"countries", &[], b""), |_| ()).await.unwrap(), [] as [Option<String>; 0]);
    let lengths: Vec<_> = (0..150).map(|i| i % 10).collect();
    let found = look_up(&looking_up(b"countries", &lengths, &[b'x'; 675]), |_| ()).await.unwrap();
    let expected: Vec<_> = lengths.iter().map(|length| Some(length.to_string())).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_process_plugin_looks_up_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let mut args = Arguments::default();
    let lists = [args.bytes(b"countries"), args.lengths(&[3]), args.bytes(b"abc")];
    let guest = asking(&format!("(call $lookup {} (i32.const 3000)) (call $values)", lists.join(" ")), args);
    let image = sandbox.image(&guest.component(), &json!({}), owner(), granted()).await.unwrap();
    let made = made();
    // Everything that the guest declares to import is imported, tables too.
    let work = Work { tables: Some(Store::default().shared()), ..made.work() };
    assert_eq!(answered(image.process(work).await.unwrap().answer), Ok(vec![(None, Some("3".to_owned()))]));
}

#[tokio::test]
async fn mistakes_are_errors_that_the_guest_can_read() {
    let cases = [
        (looking_up(b"cities", &[1], b"a"), "no reference table `cities` is granted"),
        (looking_up(b"\xff", &[1], b"a"), "not UTF-8"),
        (looking_up(b"countries", &[-1], b""), "a key has the length -1"),
        (looking_up(b"countries", &[2], b"a"), "lengths of keys add up to 2"),
        (looking_up(b"countries", &[5], b"five5"), "a key of 5 bytes, the limit is 4 bytes"),
        (looking_up(b"countries", &[0; 4], b""), "4 entries in one call, the limit is 3"),
        (looking_up(b"countries", &[4, 4, 1], b"999999999"), "9 bytes in one call, the limit is 8 bytes"),
    ];
    let tight = |limits: &mut CallLimits| {
        limits.key_bytes = 4;
        limits.table_entries = 3;
        limits.table_bytes = 8;
    };
    for (guest, expected) in cases {
        let error = look_up(&guest, tight).await.unwrap_err();
        assert!(error.contains(expected), "{error}: {expected}");
    }
    let large = look_up(&looking_up(b"countries", &[0, 0, 0], b""), |limits| limits.table_bytes = 2).await;
    assert!(large.unwrap_err().contains("3 bytes in one call, the limit is 2 bytes"));
}

#[tokio::test]
async fn the_names_of_types_of_tables_need_no_grant() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let component = looking_up(b"countries", &[1], b"a").component();
    let certificate = sandbox.certify(&component).await.unwrap();
    let needs: Vec<_> = certificate.needs().iter().map(|grant| grant.in_manifest()).collect();
    assert_eq!(needs, ["lookup = [\"NAME\"]"]);
    let lookups = granted().lookups;
    sandbox.image(&component, &json!({}), owner(), Grants { table: false, lookups }).await.unwrap();
    for grants in [Grants::default(), Grants { table: true, lookups: None }] {
        let refused = sandbox.image(&component, &json!({}), owner(), grants).await.unwrap_err();
        assert_eq!(refused.code(), "import_not_granted");
        let message = refused.to_string();
        assert!(message.contains("lookup@0.1.0") && message.contains("lookup = [\"NAME\"]"), "{message}");
    }
}

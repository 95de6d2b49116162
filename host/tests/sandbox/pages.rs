//! The import `pages`: state that goes on beside its value, without a grant and apart from all tables.

use std::sync::{Arc, Mutex};

use millstream::plugin::{CallLimits, Grants, Processor as _, Work};
use serde_json::json;

use crate::guests::{owner, sandbox};
use crate::process_guests::{ECHO, Process, made};
use crate::stores::{Answered, Arguments, Store, answered, asking_for_pages};

/// What a guest to which nothing is granted is answered.
async fn ask_with(guest: &Process, store: &Arc<Mutex<Store>>, change: impl FnOnce(&mut CallLimits)) -> Answered {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |config| change(&mut config.limits.call));
    let component = guest.component();
    assert_eq!(sandbox.certify(&component).await.unwrap().needs(), []);
    let image = sandbox.image(&component, &json!({}), owner(), Grants::default()).await.unwrap();
    assert!(image.has_pages());
    let made = made();
    let work = Work { tables: Some(store.clone()), ..made.work() };
    answered(image.process(work).await.unwrap().answer)
}

/// Puts `page` as the page `p` of group 1 and reads it.
fn put_and_get(page: &str) -> Process {
    let mut args = Arguments::default();
    let put = [
        args.groups(&[1]),
        args.lengths(&[1]),
        args.bytes(b"p"),
        args.lengths(&[i32::try_from(page.len()).unwrap()]),
        args.bytes(page.as_bytes()),
    ];
    let get = [args.groups(&[1, 0]), args.lengths(&[1, 1]), args.bytes(b"pp")];
    let calls = format!(
        "(call $put {} (i32.const 3000)) (if (i32.eqz (i32.load8_u (i32.const 3000)))
           (then (call $get {} (i32.const 3000)) (call $values)) (else (call $nothing)))",
        put.join(" "),
        get.join(" ")
    );
    asking_for_pages(&calls, args)
}

#[tokio::test]
async fn pages_need_no_grant_and_are_in_no_table_that_a_plugin_can_name() {
    let store = Store::with(1, [(b"p".to_vec(), b"of table 0".to_vec())]).shared();
    let read = ask_with(&put_and_get("page"), &store, |_| ()).await.unwrap();
    assert_eq!(read, [(None, Some("page".to_owned())), (None, None)]);
    let tables: Vec<u32> = store.lock().unwrap().entries.keys().map(|(table, ..)| *table).collect();
    assert_eq!(tables, [0, u32::MAX]);
}

#[tokio::test]
async fn a_page_over_a_limit_is_refused_with_the_limit_and_the_use() {
    let store = Store::default().shared();
    let error = ask_with(&put_and_get("page"), &store, |limits| limits.table_written_bytes = 4).await;
    let expected = "5 bytes put into tables by one call of the plugin, the limit is 4 bytes";
    assert_eq!(error, Err(expected.to_owned()));
    let error = ask_with(&put_and_get("page"), &store, |limits| limits.table_value_bytes = 3).await;
    assert_eq!(error, Err("a value of 4 bytes, the limit is 3 bytes".to_owned()));
    assert!(store.lock().unwrap().entries.is_empty());
}

#[tokio::test]
async fn who_has_no_pages_needs_no_tables() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    let component = Process::doing(ECHO).component();
    let image = sandbox.image(&component, &json!({}), owner(), Grants::default()).await.unwrap();
    assert!(!image.has_pages());
}

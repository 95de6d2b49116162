//! Calls and commits whose numbers start over.

use super::*;
use crate::state::{Reader, Store, Writer};

fn keys(keys: &[&str]) -> Column {
    keys.iter().map(|key| Some(key.as_bytes())).collect()
}

fn block(state: &mut Keyed) -> Vec<u8> {
    let mut writer = Writer::default();
    state.write_block(&mut writer, 0);
    writer.finish()
}

/// Sets the value of one key, as a call of its own.
fn set(state: &mut Keyed, key: &str, value: &str) {
    let mut groups = KeyGroups::default();
    state.group(keys(&[key]).view(), &mut groups);
    state.store(&groups.slots, &keys(&[value]));
}

#[test]
fn marks_of_calls_do_not_outlive_their_numbers() {
    let mut state = Keyed::new(None);
    set(&mut state, "a", "1");
    state.call = Ticks::before_end(0);
    let mut groups = KeyGroups::default();
    // This call has the number that the first one had.
    state.group(keys(&["b", "a", "b"]).view(), &mut groups);
    assert_eq!((groups.row_groups, groups.slots.len()), (vec![0, 1, 0], 2));
}

#[test]
fn marks_of_commits_do_not_outlive_their_numbers() {
    let mut state = Keyed::new(None);
    set(&mut state, "a", "1");
    let first = block(&mut state);
    state.commit = Ticks::before_end(0);
    let empty = block(&mut state);
    // This commit has the number that the first one had.
    set(&mut state, "a", "2");
    let last = block(&mut state);
    let mut rebuilt = Keyed::new(None);
    for block in [first, empty, last] {
        rebuilt.read_block(&mut Reader::new(&block).expect("our version")).expect("our block");
    }
    assert_eq!(rebuilt.value(Some(b"a")), Some(&b"2"[..]));
}

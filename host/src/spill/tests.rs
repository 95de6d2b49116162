//! A disk is an ordered map that ends with its step, and its folder begins empty.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::record::Column;
use crate::state::Stretch;

fn folder() -> (tempfile::TempDir, Folder) {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(temporary.path().join("spill")).expect("it is empty");
    (temporary, folder)
}

fn column(rows: &[&[u8]]) -> Column {
    rows.iter().map(|row| Some(*row)).collect()
}

#[test]
fn what_a_crash_left_is_removed_and_so_is_what_is_dropped() {
    let temporary = tempfile::tempdir().expect("a folder");
    let path = temporary.path().join("spill");
    let left = path.join("0");
    fs::create_dir_all(&left).expect("made");
    fs::write(left.join("000007.sst"), b"x").expect("written");
    let second = Folder::open(&path).expect("opened again");
    assert!(!path.exists());
    let disk = second.provide().expect("a disk");
    disk.write(column(&[b"a"]).view(), column(&[b"1"]).view()).expect("there is room");
    assert!(left.exists());
    drop(disk);
    assert!(!left.exists());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let temporary = tempfile::tempdir().expect("a folder");
    let path = temporary.path().join("file");
    let folder = Folder::open(&path).expect("nothing is there");
    fs::write(&path, b"x").expect("written");
    let error = folder.provide().map(|_| ()).expect_err("a file is in the way");
    assert!(error.to_string().contains("file/0"), "{error}");
    assert!(!error.full);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn it_is_an_ordered_map(
        changes in proptest::collection::vec(
            proptest::collection::vec((proptest::collection::vec(0_u8..3, 0..4), proptest::option::of(0_u8..9)), 0..20), 0..8),
        from in proptest::collection::vec(0_u8..3, 0..3),
        to in proptest::collection::vec(0_u8..3, 0..3),
        most in 0_usize..6,
    ) {
        let (_temporary, folder) = folder();
        let disk = folder.provide().expect("a disk");
        let mut model = BTreeMap::new();
        for batch in changes {
            let keys: Column = batch.iter().map(|(key, _)| Some(key)).collect();
            let values: Column = batch.iter().map(|(_, value)| value.map(|value| vec![value; 3])).collect();
            disk.write(keys.view(), values.view()).expect("there is room");
            for (key, value) in batch {
                match value {
                    Some(value) => model.insert(key, vec![value; 3]),
                    None => model.remove(&key),
                };
            }
        }
        let asked: Vec<Vec<u8>> = (0..3_u8).flat_map(|a| (0..3_u8).map(move |b| vec![a, b])).collect();
        let mut found = Vec::new();
        let keys: Column = asked.iter().map(Some).collect();
        disk.get(keys.view(), &mut |place, value| found.push((place, value.to_vec()))).expect("read");
        let expected: Vec<_> =
            asked.iter().enumerate().filter_map(|(place, key)| Some((place, model.get(key)?.clone()))).collect();
        prop_assert_eq!(found, expected);
        for backwards in [false, true] {
            let mut seen = Vec::new();
            let range = Stretch { from: &from, to: &to, backwards };
            disk.scan(range, &mut |key, value| {
                if seen.len() == most {
                    return std::ops::ControlFlow::Break(());
                }
                seen.push((key.to_vec(), value.to_vec()));
                std::ops::ControlFlow::Continue(())
            }).expect("read");
            let mut within: Vec<_> = model.iter().filter(|(key, _)| **key >= from && **key < to)
                .map(|(key, value)| (key.clone(), value.clone())).collect();
            if backwards {
                within.reverse();
            }
            within.truncate(most);
            prop_assert_eq!(seen, within);
        }
    }
}

//! What a loss of power could take away of a log that was just made: the folders themselves.

use super::*;
use crate::files::synced;

#[test]
fn a_new_folder_is_synced_into_those_above_it_and_so_is_what_a_kill_left_unsynced() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new/data");
    let log = data.join("log");
    synced::take();
    drop(EmbeddedLog::open(EmbeddedConfig::new(&log)).unwrap());
    let names = synced::take();
    for above in [folder.path(), &folder.path().join("new"), &data, &log] {
        assert!(names.iter().any(|name| name == above), "`{}` was not synced: {names:?}", above.display());
    }
    // Each was synced before there was anything in the next one.
    let first = |above: &std::path::Path| names.iter().position(|name| name == above);
    assert!(first(folder.path()) < first(&data) && first(&data) < first(&log), "{names:?}");
    // Somebody may have made them and been killed before the sync.
    drop(EmbeddedLog::open(EmbeddedConfig::new(&log)).unwrap());
    let names = synced::take();
    assert!([&data, &log].iter().all(|above| names.contains(above)), "{names:?}");
}

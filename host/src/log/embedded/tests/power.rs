//! A loss of power: of the write-ahead log there is what was synced, a random part of what was not, and torn bytes behind.
//!
//! RocksDB's own files are copied as they are at some moment, and the copy's write-ahead log is cut: under `fsync` not
//! before what it had when the last write was acknowledged, under `os` anywhere. What is opened then is compared with the
//! model as it was after each write.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Action, act, action, whole};
use super::*;
use crate::log::memory::MemoryLog;

/// A loss of power.
#[derive(Debug, Clone)]
struct Loss {
    /// The place of the action that was under way, or was the last to be acknowledged, among all of them end to end.
    after: usize,
    /// Where the write-ahead log ends, in thousandths of the way from the least that can be left to the most.
    cut: u64,
    /// What is behind that.
    torn: Vec<u8>,
    /// Whether the mark, which is never synced, is lost too.
    mark: bool,
}

fn loss() -> impl Strategy<Value = Loss> {
    (any::<usize>(), 0..=1000_u64, vec(any::<u8>(), 0..200), any::<bool>()).prop_map(|(after, cut, torn, mark)| Loss {
        after,
        cut,
        torn,
        mark,
    })
}

/// What a moment has left on the disk.
#[derive(Debug, Clone, Default)]
struct Moment {
    /// Bytes of the write-ahead log that is written.
    journal: u64,
    mark: Option<Vec<u8>>,
}

fn journal(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder.join("rocksdb")).unwrap().map(|entry| entry.unwrap().path());
    let journals = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    journals.max().expect("RocksDB has a write-ahead log")
}

fn mark(folder: &Path) -> PathBuf {
    folder.join("mark")
}

fn moment(folder: &Path) -> Moment {
    Moment { journal: fs::metadata(journal(folder)).unwrap().len(), mark: fs::read(mark(folder)).ok() }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}

/// Does the actions on a log and the model, loses power, and answers what is there then, and what the model had after none
/// of the actions, after the first, and so on. The last two are those of the last acknowledged action, and of the one that
/// was under way. `synced` says that all that is acknowledged before is on the disk.
fn lose_power(actions: &[Action], loss: &Loss, durability: Durability, synced: bool) -> (String, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let acknowledged = loss.after % actions.len();
    runtime.block_on(async {
        let (subject, model) = (Reopening::new(0, durability), MemoryLog::default());
        let folder = subject.config.folder.clone();
        let (mut moments, mut states) = (vec![moment(&folder)], vec![whole(&model)]);
        for action in &actions[..=acknowledged] {
            act(&subject, action).await;
            act(&model, action).await;
            moments.push(moment(&folder));
            states.push(whole(&model));
        }
        let copied = tempfile::tempdir().unwrap();
        let copied = copied.path().join("log");
        copy(&folder, &copied);
        let most = moments[acknowledged + 1].journal;
        let least = moments[if synced { acknowledged } else { 0 }].journal.min(most);
        let cut = least + (most - least) * loss.cut / 1000;
        let mut bytes = fs::read(journal(&copied)).unwrap();
        bytes.truncate(cut as usize);
        if cut < most {
            bytes.extend(&loss.torn);
        }
        fs::write(journal(&copied), bytes).unwrap();
        // It is written when what it names is durable, and never synced; under `os` it says nothing after another boot.
        match &moments[acknowledged].mark {
            Some(mark_bytes) if loss.mark && durability == Durability::Fsync => {
                fs::write(mark(&copied), mark_bytes).unwrap()
            }
            _ => drop(fs::remove_file(mark(&copied))),
        }
        let log =
            EmbeddedLog::open(EmbeddedConfig { tail_bytes: 0, durability, ..EmbeddedConfig::new(&copied) }).unwrap();
        (whole(&log), states)
    })
}

/// What writes and is acknowledged when it is durable.
fn writes(actions: Vec<Action>) -> Vec<Action> {
    let create = |topic| Action::Create { topic, retention_bytes: Some(300) };
    let fence = |pipeline| Action::Fence { pipeline };
    let writes =
        |action: &Action| matches!(action, Action::Append { .. } | Action::Commit { .. } | Action::Fence { .. });
    [create(0), create(1), fence(0), fence(1)].into_iter().chain(actions.into_iter().filter(writes)).collect()
}

proptest! {
    // Each opens two databases.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_under_fsync_survives_a_loss_of_power(actions in vec(action(), 1..40), loss in loss()) {
        let (found, states) = lose_power(&writes(actions), &loss, Durability::Fsync, true);
        let possible = &states[states.len() - 2..];
        prop_assert!(possible.contains(&found), "{loss:?}\n{found}\nis none of\n{possible:#?}");
    }

    #[test]
    fn a_loss_of_power_under_os_loses_the_end_and_tears_nothing(actions in vec(action(), 1..40), loss in loss()) {
        let (found, states) = lose_power(&writes(actions), &loss, Durability::Os, false);
        prop_assert!(states.contains(&found), "{loss:?}\n{found}\nis none of\n{states:#?}");
    }
}

/// A disk that does not keep what was synced is found out by the test above.
#[test]
fn what_was_synced_and_is_not_there_is_seen_to_be_lost() {
    let append = |timestamp| Action::Append { topic: 0, partition: 0, counts: vec![1], producer: None, timestamp };
    let actions = writes((1..6).map(append).collect());
    let loss = Loss { after: actions.len() - 1, cut: 500, torn: vec![7; 9], mark: false };
    let (found, states) = lose_power(&actions, &loss, Durability::Fsync, false);
    assert!(!states[states.len() - 2..].contains(&found), "all is there");
    assert!(states.contains(&found), "what is left is no earlier moment");
}

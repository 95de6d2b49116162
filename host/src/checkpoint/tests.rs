//! Checkpoints of commits in the model of the log, in a folder and in an object store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;

use super::*;
use crate::error::Coded;
use crate::ids::{PipelineId, PipelineName, TenantId, TopicId};
use crate::log::memory::MemoryLog;
use crate::log::{self, Block, Commit, Log};

/// A log with one pipeline, and a store in a folder.
struct Subject {
    log: Arc<dyn Log>,
    checkpoints: Checkpoints,
    folder: tempfile::TempDir,
    commits: u64,
}

fn tenant() -> TenantId {
    "acme".parse().expect("a name")
}

fn pipeline() -> PipelineName {
    "views".parse().expect("a name")
}

fn deployment() -> Deployment {
    let digests = [("count".parse().expect("a name"), crate::ids::Digest::of(b"count"))].into();
    Deployment { tenant: tenant(), pipeline: pipeline(), id: PipelineId(7), manifest: "name = ..".to_owned(), digests }
}

impl Subject {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().display().to_string()).expect("a folder is a store");
        Self { log: Arc::new(MemoryLog::default()), checkpoints: Checkpoints::new(store), folder, commits: 0 }
    }

    async fn commit(&mut self, bytes: impl Into<Bytes>, oldest: u64) {
        self.commits += 1;
        let task = PipelineId(7).task();
        let mut epoch = self.log.head(&tenant(), task).expect("the log answers").epoch;
        if epoch == 0 {
            epoch = self.log.fence(&tenant(), task).await.expect("the log answers").epoch;
        }
        let commit = Commit {
            task,
            epoch,
            sequence: self.commits,
            positions: vec![(input(), log::Position { topic_id: TopicId(5), offset: self.commits * 10 })],
            outputs: Vec::new(),
            block: Block::Some { bytes: bytes.into(), oldest },
            usage: Bytes::from(format!("usage {}", self.commits)),
        };
        self.log.commit(&tenant(), commit).await.expect("it follows");
    }

    async fn take(&self, kind: Kind) -> Manifest {
        let order = Order { deployment: deployment(), kind, note: None, now_ms: 1000 };
        self.checkpoints.take(&self.log, order, &Arc::default()).await.expect("the store is well")
    }

    async fn read(&self, id: CheckpointId) -> Result<Vec<(u64, Bytes)>, Error> {
        read(&self.checkpoints, id).await
    }

    async fn ids(&self) -> Vec<String> {
        let listed = self.checkpoints.list(&tenant(), &pipeline()).await.expect("the store is well");
        listed.iter().map(|listed| listed.id.to_string()).collect()
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        crate::files::entries(&crate::files::SystemFiles, &self.folder.path().join("acme/views").join(folder))
            .expect("a folder")
    }

    fn manifest_file(&self, id: CheckpointId) -> PathBuf {
        self.folder.path().join(format!("acme/views/checkpoints/{id}.json"))
    }
}

fn input() -> crate::ids::TopicPartition {
    crate::ids::TopicPartition { topic: "in".parse().expect("a name"), partition: 0 }
}

async fn read(checkpoints: &Checkpoints, id: CheckpointId) -> Result<Vec<(u64, Bytes)>, Error> {
    let mut reading = checkpoints.read(&tenant(), &pipeline(), id).await?;
    let mut all = Vec::new();
    while let Some(blocks) = reading.next().await? {
        all.extend(blocks);
    }
    Ok(all)
}

#[tokio::test]
async fn a_checkpoint_is_what_the_log_had_whatever_comes_after() {
    let mut subject = Subject::new();
    let bucket = Store::remote(Arc::new(InMemory::new()), ObjectPath::from("some/where"));
    let bucket = Checkpoints::new(bucket);
    subject.commit("1", 0).await;
    subject.commit("2", 0).await;
    let expected = subject.log.recover(&tenant(), PipelineId(7).task()).expect("the log answers");
    let taken = subject.take(Kind::Savepoint).await;
    let order = Order { deployment: deployment(), kind: Kind::Savepoint, note: None, now_ms: 1000 };
    let elsewhere = bucket.take(&subject.log, order, &Arc::default()).await.expect("the store is well");
    assert_eq!(elsewhere, taken, "whatever the store");
    subject.commit("3", u64::MAX).await;
    assert_eq!(subject.read(taken.id).await.expect("it is whole"), expected.blocks);
    assert_eq!(read(&bucket, taken.id).await.expect("it is whole"), expected.blocks);
    let again = subject.checkpoints.get(&tenant(), &pipeline(), taken.id).await.expect("it is there");
    assert_eq!(again, taken);
    assert_eq!(taken.id.to_string(), "7-2");
    assert_eq!((taken.usage, taken.positions[0].offset), (expected.head.usage, 20));
}

#[tokio::test]
async fn a_pipeline_that_never_committed_has_an_empty_checkpoint() {
    let subject = Subject::new();
    let taken = subject.take(Kind::Interval).await;
    assert_eq!((taken.id.to_string().as_str(), taken.chunks.len()), ("7-0", 0));
    assert_eq!(subject.read(taken.id).await.expect("it is whole"), []);
}

#[tokio::test]
async fn only_what_is_new_is_written_and_nothing_if_nothing_is() {
    let mut subject = Subject::new();
    subject.commit(vec![1; 1 << 20], 0).await;
    let first = subject.take(Kind::Interval).await;
    assert!(first.written_bytes > 1 << 20);
    assert_eq!(subject.take(Kind::Interval).await, first, "nothing has changed");
    subject.commit(vec![2; 1000], 0).await;
    let second = subject.take(Kind::Interval).await;
    assert!(second.written_bytes < 1100, "{} bytes", second.written_bytes);
    assert_eq!(subject.read(second.id).await.expect("it is whole").len(), 2);
    // By hand it is taken also of what has not changed, for it is kept longer.
    let savepoint = subject.take(Kind::Savepoint).await;
    assert_eq!((savepoint.id.to_string().as_str(), savepoint.written_bytes), ("7-2-2", 0));
    // What a whole state makes superfluous is not named any more.
    subject.commit("whole", u64::MAX).await;
    let third = subject.take(Kind::Interval).await;
    assert_eq!(third.chunks.len(), 1);
    assert_eq!(subject.read(third.id).await.expect("it is whole"), [(3, Bytes::from_static(b"whole"))]);
}

#[tokio::test]
async fn a_large_state_is_several_chunks_and_pieces_may_begin_within_one() {
    let mut subject = Subject::new();
    for number in 1..=9 {
        subject.commit(vec![number; CHUNK_BYTES / 4], 0).await;
    }
    let first = subject.take(Kind::Savepoint).await;
    assert_eq!(
        first.chunks.iter().map(|chunk| (chunk.first, chunk.last)).collect::<Vec<_>>(),
        [(1, 4), (5, 8), (9, 9)]
    );
    subject.commit("piece", 7).await;
    let second = subject.take(Kind::Savepoint).await;
    assert_eq!(second.chunks.iter().map(|chunk| chunk.first).collect::<Vec<_>>(), [5, 9, 10]);
    let numbers: Vec<_> = subject.read(second.id).await.expect("whole").into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [7, 8, 9, 10]);
}

#[tokio::test]
async fn many_small_chunks_become_one() {
    let mut subject = Subject::new();
    let mut most = 0;
    for number in 1..=100 {
        subject.commit(number.to_string(), 0).await;
        let taken = subject.take(Kind::Interval).await;
        most = most.max(taken.chunks.len());
        subject.checkpoints.retain(&tenant(), &pipeline(), 1, BTreeSet::new).await.expect("the store is well");
        assert_eq!(subject.files("chunks").len(), taken.chunks.len());
    }
    assert_eq!(most, 16);
    let last = subject.take(Kind::Savepoint).await;
    assert_eq!(subject.read(last.id).await.expect("it is whole").len(), 100);
}

#[tokio::test]
async fn the_newest_are_kept_and_savepoints_until_they_are_deleted() {
    let mut subject = Subject::new();
    for kind in [Kind::Savepoint, Kind::Interval, Kind::Upgrade, Kind::Interval, Kind::Interval, Kind::Upgrade] {
        subject.commit("state", u64::MAX).await;
        subject.take(kind).await;
    }
    assert_eq!(subject.files("chunks").len(), 6);
    subject.checkpoints.retain(&tenant(), &pipeline(), 2, BTreeSet::new).await.expect("the store is well");
    assert_eq!(subject.ids().await, ["7-1", "7-3", "7-4", "7-5", "7-6"]);
    assert_eq!(subject.files("chunks").len(), 5);
    subject.checkpoints.delete(&tenant(), &pipeline(), "7-1".parse().expect("a name")).await.expect("it is there");
    let gone = subject.checkpoints.delete(&tenant(), &pipeline(), "7-1".parse().expect("a name")).await;
    assert_eq!(gone.map_err(|error| error.code()), Err("checkpoint_not_found"));
    subject.checkpoints.forget(&tenant(), &pipeline()).await.expect("the store is well");
    assert_eq!((subject.ids().await.len(), subject.files("chunks").len()), (0, 0));
}

#[tokio::test]
async fn one_that_is_needed_is_kept_beside_the_newest() {
    let mut subject = Subject::new();
    for _ in 0..4 {
        subject.commit("state", u64::MAX).await;
        subject.take(Kind::Upgrade).await;
    }
    let needed = || BTreeSet::from(["7-2".parse().expect("a name")]);
    subject.checkpoints.retain(&tenant(), &pipeline(), 1, needed).await.expect("the store is well");
    assert_eq!(subject.ids().await, ["7-2", "7-4"]);
    subject.read("7-2".parse().expect("a name")).await.expect("its chunks are there too");
    subject.checkpoints.retain(&tenant(), &pipeline(), 1, BTreeSet::new).await.expect("the store is well");
    assert_eq!(subject.ids().await, ["7-4"]);
}

#[tokio::test]
async fn what_a_crash_left_goes_with_the_next_removal() {
    let mut subject = Subject::new();
    subject.commit("one", 0).await;
    let first = subject.take(Kind::Savepoint).await;
    subject.commit("two", 0).await;
    let second = subject.take(Kind::Savepoint).await;
    // As after a crash between the last chunk and the manifest.
    std::fs::remove_file(subject.manifest_file(second.id)).expect("it is there");
    assert_eq!((subject.ids().await.len(), subject.files("chunks").len()), (1, 2));
    subject.commit("three", 0).await;
    let third = subject.take(Kind::Savepoint).await;
    subject.checkpoints.delete(&tenant(), &pipeline(), third.id).await.expect("it is there");
    assert_eq!(subject.files("chunks").len(), 1);
    assert_eq!(subject.read(first.id).await.expect("it is whole").len(), 1);
}

fn change(file: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let bytes = std::fs::read(file).expect("it is there");
    std::fs::write(file, change(bytes)).expect("it can be written");
}

fn flip_last(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes
}

#[tokio::test]
async fn a_chunk_that_is_not_what_was_written_is_named_and_written_anew_by_the_next_checkpoint() {
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 3] = [
        (|file| std::fs::remove_file(file).expect("it is there"), "checkpoint_chunk_missing"),
        (|file| change(file, |mut bytes| bytes.split_off(1)), "checkpoint_chunk_truncated"),
        (|file| change(file, flip_last), "checkpoint_chunk_corrupt"),
    ];
    for (damage, code) in damages {
        let mut subject = Subject::new();
        subject.commit("state", 0).await;
        let taken = subject.take(Kind::Savepoint).await;
        let [chunk] = &subject.files("chunks")[..] else { panic!("one chunk") };
        damage(chunk);
        let error = subject.read(taken.id).await.expect_err(code);
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(&taken.chunks[0].digest.to_string()), "{error}");
        if code != "checkpoint_chunk_corrupt" {
            let next = subject.take(Kind::Savepoint).await;
            assert_eq!(subject.read(next.id).await.expect("it is whole").len(), 1);
        }
    }
}

/// What is wrong with a checkpoint: for each such chunk its first block and the code.
async fn faults(subject: &Subject, id: CheckpointId) -> Result<Vec<(u64, String)>, Error> {
    let meter = Arc::default();
    let verified = subject.checkpoints.verify(&tenant(), &pipeline(), id, &meter).await?;
    let bad: u64 = verified.faults.iter().map(|fault| fault.chunk.bytes).sum();
    assert_eq!(meter.bytes(), verified.bytes - bad);
    Ok(verified.faults.into_iter().map(|fault| (fault.chunk.first, fault.code)).collect())
}

#[tokio::test]
async fn all_that_is_wrong_with_a_checkpoint_is_said_at_once() {
    let mut subject = Subject::new();
    let mut chunks = Vec::new();
    for number in 1..=4_u8 {
        subject.commit(vec![number; 1000], 0).await;
        let taken = subject.take(Kind::Savepoint).await;
        assert_eq!(taken.chunks.len(), usize::from(number));
        chunks = taken.chunks;
    }
    let newest = "7-4".parse().expect("a name");
    assert_eq!(faults(&subject, newest).await.expect("it is there"), []);
    let file = |place: usize| {
        let name = chunks[place].digest.hex();
        subject.folder.path().join("acme/views/chunks").join(name)
    };
    std::fs::remove_file(file(0)).expect("it is there");
    change(&file(1), |bytes| bytes[..bytes.len() - 1].to_vec());
    change(&file(3), flip_last);
    let code = |first, code: &str| (first, code.to_owned());
    let expected = [
        code(1, "checkpoint_chunk_missing"),
        code(2, "checkpoint_chunk_truncated"),
        code(4, "checkpoint_chunk_corrupt"),
    ];
    assert_eq!(faults(&subject, newest).await.expect("it is there"), expected);
    let older = "7-2".parse().expect("a name");
    assert_eq!(faults(&subject, older).await.expect("it is there"), expected[..2]);
    // Of a checkpoint that cannot be read nothing else is known.
    change(&subject.manifest_file(older), flip_last);
    assert_eq!(faults(&subject, older).await.expect_err("it is damaged").code(), "checkpoint_corrupt");
    let none = faults(&subject, "7-9".parse().expect("a name")).await.expect_err("there is none");
    assert_eq!(none.code(), "checkpoint_not_found");
}

#[tokio::test]
async fn a_manifest_that_is_not_what_was_written_is_named_and_nothing_is_removed_beside_it() {
    let mut subject = Subject::new();
    subject.commit("state", 0).await;
    let taken = subject.take(Kind::Savepoint).await;
    let file = subject.manifest_file(taken.id);
    let good = std::fs::read(&file).expect("it is there");
    let foreign = Deployment { pipeline: "other".parse().expect("a name"), ..deployment() };
    let foreign = Manifest { deployment: foreign, ..taken.clone() }.encode();
    let renamed = Manifest { id: "7-9".parse().expect("a name"), ..taken.clone() }.encode();
    for (bytes, code) in [
        (flip_last(good.clone()), "checkpoint_corrupt"),
        (good[..good.len() - 1].to_vec(), "checkpoint_corrupt"),
        (br#"{"format":3,"more":"than we know"}"#.to_vec(), "checkpoint_unknown_format"),
        (foreign, "checkpoint_foreign"),
        (renamed, "checkpoint_corrupt"),
    ] {
        std::fs::write(&file, bytes).expect("it can be written");
        assert_eq!(subject.read(taken.id).await.expect_err(code).code(), code);
        let listed = subject.checkpoints.list(&tenant(), &pipeline()).await.expect("the store is well");
        assert_eq!(listed[0].manifest.as_ref().expect_err(code).code(), code);
    }
    subject.commit("more", 0).await;
    let next = subject.take(Kind::Savepoint).await;
    subject.checkpoints.delete(&tenant(), &pipeline(), next.id).await.expect("it is there");
    assert_eq!(subject.files("chunks").len(), 2, "what the damaged one needs is not known");
    std::fs::write(&file, good).expect("it can be written");
    assert_eq!(subject.read(taken.id).await.expect("it is whole again").len(), 1);
}

#[tokio::test]
async fn damage_is_named_wherever_it_is() {
    let mut subject = Subject::new();
    subject.commit("some state", 0).await;
    let taken = subject.take(Kind::Savepoint).await;
    let [chunk] = &subject.files("chunks")[..] else { panic!("one chunk") };
    let manifest = subject.manifest_file(taken.id);
    let (id, digest) = (format!("checkpoint {}", taken.id), format!("chunk {}", taken.chunks[0].digest));
    for (file, names, cut, flipped) in [
        (chunk, &digest, "checkpoint_chunk_truncated", "checkpoint_chunk_corrupt"),
        (&manifest, &id, "checkpoint_corrupt", "checkpoint_corrupt"),
    ] {
        let good = std::fs::read(file).expect("it is there");
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            for (bytes, code) in [(&good[..at], cut), (&bytes[..], flipped)] {
                std::fs::write(file, bytes).expect("it can be written");
                let error = subject.read(taken.id).await.expect_err("it is not what was written");
                // The number of the format stands before the digest: another one is another format.
                let format = file == &manifest && error.code() == "checkpoint_unknown_format" && at < 12;
                assert!(error.code() == code || format, "byte {at} of `{}`: {error}", file.display());
                assert!(error.to_string().contains(names), "{error}");
            }
        }
        std::fs::write(file, good).expect("it can be written");
        assert_eq!(subject.read(taken.id).await.expect("it is whole again").len(), 1);
    }
}

/// What the first version of the format wrote: a manifest and its chunk, which must be read for ever.
#[tokio::test]
async fn format_2_stays_readable() {
    let subject = Subject::new();
    let folder = subject.folder.path().join("acme/views");
    for (name, bytes) in [
        ("checkpoints/7-3.json", &include_bytes!("fixtures/7-3.json")[..]),
        (
            "chunks/76e2907f338f5c075d9b41545a2c20baee68a459f526388b276c3e9415a72af9",
            include_bytes!("fixtures/7-3.chunk"),
        ),
    ] {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().expect("it has one")).expect("a folder");
        std::fs::write(file, bytes).expect("written");
    }
    let id = "7-3".parse().expect("a name");
    let manifest = subject.checkpoints.get(&tenant(), &pipeline(), id).await.expect("format 2");
    assert_eq!((&manifest.deployment, manifest.task, manifest.epoch), (&deployment(), 0, 1));
    assert_eq!((manifest.kind, manifest.note.as_deref()), (Kind::Savepoint, Some("before the move")));
    assert_eq!((manifest.created_at_ms, manifest.oldest, manifest.last_block), (1_767_225_600_000, 2, 3));
    assert_eq!(manifest.positions, [Position { topic: input().topic, topic_id: TopicId(5), partition: 0, offset: 30 }]);
    assert_eq!(manifest.usage, "usage 3");
    let blocks = subject.read(id).await.expect("format 2");
    assert_eq!(blocks, [(2, Bytes::from_static(b"\x00whole")), (3, Bytes::from_static(b"\xffdelta"))]);
}

/// Writes the fixtures: to be run once for each new format, and then never again.
#[tokio::test]
#[ignore = "it writes the fixtures of a new format"]
async fn write_fixtures() {
    let mut subject = Subject::new();
    subject.commit("gone", 0).await;
    subject.commit(&b"\x00whole"[..], u64::MAX).await;
    subject.commit(&b"\xffdelta"[..], 0).await;
    let note = Some("before the move".to_owned());
    let order = Order { deployment: deployment(), kind: Kind::Savepoint, note, now_ms: 1_767_225_600_000 };
    let taken = subject.checkpoints.take(&subject.log, order, &Arc::default()).await.expect("the store is well");
    let to = Path::new(env!("MILLSTREAM_WORKSPACE")).join("host/src/checkpoint/fixtures");
    std::fs::create_dir_all(&to).expect("a folder");
    std::fs::copy(subject.manifest_file(taken.id), to.join("7-3.json")).expect("copied");
    let [chunk] = &subject.files("chunks")[..] else { panic!("one chunk") };
    std::fs::copy(chunk, to.join("7-3.chunk")).expect("copied");
}

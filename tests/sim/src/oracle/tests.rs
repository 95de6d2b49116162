//! What the oracle believes, and what it does not.

use bytes::Bytes;
use millstream::ids::{PipelineId, TopicId, TopicPartition};
use millstream::log::batch::{EncodeOptions, encode};
use millstream::log::{Block, Commit, Position, TopicConfig};
use millstream::record::Batch;

use super::seen::STILL_MAX;
use super::{Cause, Oracle, PIPELINES};
use crate::machine::{Machine, Syncs};

const SOURCE: &str = "in-a";

fn at(topic: &str) -> TopicPartition {
    TopicPartition { topic: topic.parse().expect("a name"), partition: 0 }
}

/// Rows of ascending times with these values.
fn rows(values: std::ops::Range<u64>) -> Bytes {
    let mut batch = Batch::default();
    values.for_each(|value| batch.push(10_000 + value as i64, Some(b"k"), Some(value.to_string().as_bytes())));
    encode(batch.view(), &EncodeOptions::default())
}

/// A machine and its oracle, of a pipeline `p` that passes rows on.
struct Subject {
    machine: Machine,
    oracle: Oracle,
    manifest: String,
}

impl Subject {
    async fn new() -> Self {
        let machine = Machine::new(1, Syncs::KEPT);
        machine.power_on();
        let oracle = Oracle::new(machine.clone());
        oracle.restart();
        let topic = SOURCE.parse().expect("a name");
        oracle.topic_made(&topic, TopicId(1), &TopicConfig::with_partitions(1));
        let manifest = format!(
            "name = \"p\"\n[source]\ntopics = [\"{SOURCE}\"]\n[[steps]]\nname = \"only\"\nplugin = \"pass\"\n\
             [output]\ntopic = \"p-out\"\n[dead-letters]\ntopic = \"p-dead\"\n"
        );
        let subject = Self { machine, oracle, manifest };
        subject.oracle.restarted(&[]);
        subject
    }

    fn file(&self, id: u64) -> (std::path::PathBuf, Vec<u8>) {
        let content = serde_json::json!({"id": id, "manifest": self.manifest, "paused": false});
        (format!("{PIPELINES}/p.json").into(), serde_json::json!({ "content": content }).to_string().into_bytes())
    }

    /// The catalog names a deployment.
    fn names(&self, id: u64) {
        let (path, bytes) = self.file(id);
        self.oracle.file_changed(&path, Some(&bytes));
    }

    /// A deployment has come to an offset, and gave these rows.
    fn commits(&self, id: u64, sequence: u64, offset: u64, given: Option<Bytes>) {
        self.oracle.committed(&Commit {
            task: PipelineId(id).task(),
            epoch: 1,
            sequence,
            positions: vec![(at(SOURCE), Position { topic_id: TopicId(1), offset })],
            outputs: given.map(|rows| (at("p-out"), rows)).into_iter().collect(),
            block: Block::None,
            usage: Bytes::new(),
        });
    }

    fn violations(&self, at_rest: bool) -> Vec<String> {
        self.oracle.compare(at_rest);
        self.machine.violations()
    }
}

/// A rewind that is in the log and whose name in the catalog was lost with the power: the deployment before it went on.
#[tokio::test]
async fn what_the_catalog_no_longer_names_after_a_loss_of_power_has_not_been_deployed() {
    let subject = Subject::new().await;
    subject.oracle.asked("p", Some(Cause::Applied));
    subject.names(1);
    subject.oracle.appended(&at(SOURCE), 0, &rows(0..10));
    subject.commits(1, 1, 4, Some(rows(0..4)));
    subject.oracle.asked("p", Some(Cause::RewoundTo(vec![(at(SOURCE), 0)])));
    subject.commits(2, 1, 0, None);
    subject.names(2);
    subject.oracle.restarted(&[subject.file(1)]);
    subject.commits(1, 2, 10, Some(rows(4..10)));
    assert_eq!(subject.violations(true), Vec::<String>::new());
    // It is still told when the one that the catalog names does something else.
    subject.oracle.appended(&at(SOURCE), 10, &rows(10..12));
    subject.commits(1, 3, 12, Some(rows(10..11)));
    assert_eq!(subject.violations(false).len(), 1);
}

#[tokio::test]
async fn what_was_replaced_may_not_go_on() {
    let subject = Subject::new().await;
    subject.oracle.asked("p", Some(Cause::Applied));
    subject.names(1);
    subject.oracle.appended(&at(SOURCE), 0, &rows(0..10));
    subject.commits(1, 1, 4, Some(rows(0..4)));
    subject.oracle.asked("p", Some(Cause::RewoundTo(vec![(at(SOURCE), 0)])));
    subject.commits(2, 1, 0, None);
    subject.names(2);
    subject.commits(1, 2, 10, Some(rows(4..10)));
    assert_eq!(subject.violations(false), ["deployment 1 of `p` commits though 2 has taken its place"]);
}

#[tokio::test]
async fn who_commits_again_and_again_and_says_nothing_is_noticed() {
    let subject = Subject::new().await;
    subject.oracle.asked("p", Some(Cause::Applied));
    subject.names(1);
    subject.oracle.appended(&at(SOURCE), 0, &rows(0..10));
    let still = STILL_MAX as u64;
    // As many as inputs that fall idle and windows of rejected rows may make, and then one that reads on.
    (1..=still).for_each(|sequence| subject.commits(1, sequence, 4, None));
    subject.commits(1, still + 1, 10, None);
    assert_eq!(subject.machine.violations(), Vec::<String>::new());
    (still + 2..3 * still).for_each(|sequence| subject.commits(1, sequence, 10, None));
    assert_eq!(subject.machine.violations().len(), 1);
}

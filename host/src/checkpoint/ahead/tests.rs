//! Checkpoints of pipelines that stand still, in a store whose writes the test can hold up.

use bytes::Bytes;
use tokio::sync::watch;

use super::*;
use crate::checkpoint::gated::{Writes, gated};
use crate::checkpoint::{Deployment, Kind};
use crate::ids::{PipelineId, PipelineName, TenantId, TopicId, TopicPartition};
use crate::log::memory::MemoryLog;
use crate::log::{Block, Commit, Position};

/// A pipeline that has committed, and where its checkpoints go.
struct Subject {
    log: Arc<dyn Log>,
    checkpoints: Checkpoints,
    writes: watch::Sender<Writes>,
    commits: u64,
}

fn names() -> (TenantId, PipelineName) {
    ("acme".parse().expect("a name"), "views".parse().expect("a name"))
}

impl Subject {
    fn new() -> Self {
        let (store, writes, _) = gated();
        Self { log: Arc::new(MemoryLog::default()), checkpoints: Checkpoints::new(store), writes, commits: 0 }
    }

    /// Commits a block. The blocks before `oldest` are forgotten.
    async fn commit(&mut self, text: &'static str, oldest: u64) {
        self.commits += 1;
        let task = PipelineId(7).task();
        let epoch = self.log.fence(&names().0, task).await.expect("the log answers").epoch;
        let at = TopicPartition { topic: "in".parse().expect("a name"), partition: 0 };
        let commit = Commit {
            task,
            epoch,
            sequence: self.commits,
            positions: vec![(at, Position { topic_id: TopicId(1), offset: self.commits * 10 })],
            outputs: Vec::new(),
            block: Block::Some { bytes: Bytes::from_static(text.as_bytes()), oldest },
            usage: Bytes::new(),
        };
        self.log.commit(&names().0, commit).await.expect("it follows");
    }

    async fn ahead(&self) -> Ahead {
        let (tenant, pipeline) = names();
        let id = PipelineId(7);
        let deployment = Deployment { tenant, pipeline, id, manifest: String::new(), digests: Default::default() };
        let order = Order { deployment, kind: Kind::Upgrade, note: None, now_ms: 1 };
        self.checkpoints.take_ahead(&self.log, order, &Arc::default()).await.expect("the store is well")
    }

    /// The checkpoints that there are, with the blocks and the position of each.
    async fn all(&self) -> Vec<(String, Vec<Bytes>, u64)> {
        let (tenant, pipeline) = names();
        let mut all = Vec::new();
        for listed in self.checkpoints.list(&tenant, &pipeline).await.expect("the store is well") {
            let mut reading = self.checkpoints.read(&tenant, &pipeline, listed.id).await.expect("it is whole");
            let mut texts = Vec::new();
            while let Some(blocks) = reading.next().await.expect("it is whole") {
                texts.extend(blocks.into_iter().map(|(_, block)| block));
            }
            all.push((listed.id.to_string(), texts, reading.manifest().positions[0].offset));
        }
        all
    }
}

#[tokio::test]
async fn what_is_committed_after_standing_still_is_not_in_it_however_long_the_store_takes() {
    let mut subject = Subject::new();
    subject.commit("one", 0).await;
    let mut ahead = subject.ahead().await;
    assert_eq!(ahead.id().to_string(), "7-1");
    subject.commit("two", 0).await;
    subject.writes.send_replace(Writes::Paused);
    // The store holds everything back: this does not wait for it.
    ahead.stand_still(2).await.expect("the log is well");
    // The log forgets what was there when it stood still, and then the whole pipeline.
    subject.commit("three", u64::MAX).await;
    subject.log.forget(&names().0, PipelineId(7).task()).expect("the log is well");
    subject.writes.send_replace(Writes::Done);
    let id = ahead.finish().await.expect("the store is well");
    ahead.keep().await;
    let expected = ("7-2".to_owned(), vec![Bytes::from("one"), Bytes::from("two")], 20);
    assert_eq!(id.to_string(), expected.0);
    assert_eq!(subject.all().await, [expected], "what was taken ahead is not needed any more");
}

#[tokio::test]
async fn what_was_taken_ahead_is_all_if_nothing_is_committed_until_it_stands_still() {
    let mut subject = Subject::new();
    subject.commit("one", 0).await;
    let mut ahead = subject.ahead().await;
    // Not a byte is written any more.
    subject.writes.send_replace(Writes::Refused);
    ahead.stand_still(2).await.expect("the log is well");
    subject.commit("two", 0).await;
    assert_eq!(ahead.finish().await.expect("there is nothing to do").to_string(), "7-1");
    ahead.keep().await;
    assert_eq!(subject.all().await, [("7-1".to_owned(), vec![Bytes::from("one")], 10)]);
}

#[tokio::test]
async fn what_was_taken_ahead_stays_if_the_rest_cannot_be_written() {
    let mut subject = Subject::new();
    subject.commit("one", 0).await;
    let mut ahead = subject.ahead().await;
    subject.commit("two", 0).await;
    subject.writes.send_replace(Writes::Refused);
    ahead.stand_still(2).await.expect("the log is well");
    let error = ahead.finish().await.expect_err("the store refuses");
    assert!(matches!(error, Error::Store { .. }), "{error}");
    drop(ahead);
    assert_eq!(subject.all().await, [("7-1".to_owned(), vec![Bytes::from("one")], 10)]);
}

#[tokio::test]
async fn nothing_is_left_of_one_that_is_abandoned() {
    let mut subject = Subject::new();
    subject.commit("one", 0).await;
    for stood_still in [false, true] {
        let mut ahead = subject.ahead().await;
        subject.commit("two", 0).await;
        if stood_still {
            ahead.stand_still(2).await.expect("the log is well");
        }
        ahead.abandon().await;
        assert_eq!(subject.all().await, []);
    }
}

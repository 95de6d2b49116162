//! Checkpoints that are taken at once, or that nobody waits for any more, in a store whose writes the test can hold up.

use bytes::Bytes;
use futures_util::future::poll_immediate;
use tokio::sync::watch;

use super::*;
use crate::checkpoint::gated::{Writers, Writes, gated};
use crate::ids::{PipelineId, PipelineName, TenantId};
use crate::log::memory::MemoryLog;
use crate::log::{Block, Commit};

/// A pipeline that has committed once, and where its checkpoints go.
#[derive(Clone)]
struct Subject {
    log: Arc<dyn Log>,
    checkpoints: Checkpoints,
    writes: watch::Sender<Writes>,
    writers: Writers,
}

fn names() -> (TenantId, PipelineName) {
    ("acme".parse().expect("a name"), "views".parse().expect("a name"))
}

fn order(kind: Kind) -> Order {
    let (tenant, pipeline) = names();
    let (id, digests) = (PipelineId(7), std::collections::BTreeMap::new());
    let deployment = Deployment { tenant, pipeline, id, manifest: String::new(), digests };
    Order { deployment, kind, note: None, now_ms: 1 }
}

impl Subject {
    async fn new() -> Self {
        let (store, writes, writers) = gated();
        let subject =
            Self { log: Arc::new(MemoryLog::default()), checkpoints: Checkpoints::new(store), writes, writers };
        subject.log.fence(&names().0, PipelineId(7).task()).await.expect("the log is well");
        subject.commit(1).await;
        subject
    }

    async fn commit(&self, sequence: u64) {
        let commit = Commit {
            task: PipelineId(7).task(),
            epoch: 1,
            sequence,
            positions: Vec::new(),
            outputs: Vec::new(),
            block: Block::Some { bytes: Bytes::from(format!("block {sequence}")), oldest: 0 },
            usage: Bytes::new(),
        };
        self.log.commit(&names().0, commit).await.expect("it follows");
    }

    fn take(&self, kind: Kind) -> JoinHandle<Result<Manifest, Error>> {
        let subject = self.clone();
        tokio::spawn(async move { subject.checkpoints.take(&subject.log, order(kind), &Arc::default()).await })
    }

    /// Whether nobody has the turn at the pipeline's checkpoints.
    async fn is_free(&self) -> bool {
        let (tenant, pipeline) = names();
        poll_immediate(self.checkpoints.turn(&tenant, &pipeline)).await.is_some()
    }

    /// Waits until whoever has the turn is done.
    async fn settled(&self) {
        let (tenant, pipeline) = names();
        drop(self.checkpoints.turn(&tenant, &pipeline).await);
    }

    /// The checkpoints that there are, with how many blocks each has.
    async fn all(&self) -> Vec<(String, usize)> {
        let (tenant, pipeline) = names();
        let mut all = Vec::new();
        for listed in self.checkpoints.list(&tenant, &pipeline).await.expect("the store is well") {
            let mut reading = self.checkpoints.read(&tenant, &pipeline, listed.id).await.expect("it is whole");
            let mut count = 0;
            while let Some(blocks) = reading.next().await.expect("it is whole") {
                count += blocks.len();
            }
            all.push((listed.id.to_string(), count));
        }
        all
    }
}

#[tokio::test]
async fn a_savepoint_and_one_by_the_clock_do_not_write_at_once() {
    let subject = Subject::new().await;
    subject.writes.send_replace(Writes::Paused);
    let by_the_clock = subject.take(Kind::Interval);
    subject.writers.have_begun(1).await;
    let savepoint = subject.take(Kind::Savepoint);
    tokio::task::yield_now().await;
    subject.writes.send_replace(Writes::Done);
    by_the_clock.await.expect("no panic").expect("the store is well");
    savepoint.await.expect("no panic").expect("the store is well");
    assert_eq!(subject.writers.most(), 1);
    assert_eq!(subject.all().await, [("7-1".to_owned(), 1), ("7-1-2".to_owned(), 1)]);
}

#[tokio::test]
async fn one_that_nobody_waits_for_keeps_the_others_away_until_its_last_write_is_done() {
    let subject = Subject::new().await;
    subject.writes.send_replace(Writes::Paused);
    let by_the_clock = subject.take(Kind::Interval);
    subject.writers.have_begun(1).await;
    by_the_clock.abort();
    by_the_clock.await.expect_err("it was aborted");
    assert!(!subject.is_free().await, "a chunk is still being written");
    let savepoint = subject.take(Kind::Savepoint);
    subject.writes.send_replace(Writes::Done);
    let taken = savepoint.await.expect("no panic").expect("the store is well");
    assert_eq!((subject.writers.most(), taken.id.to_string().as_str()), (1, "7-1"));
    assert_eq!(subject.all().await, [("7-1".to_owned(), 1)], "the other one left no checkpoint");
}

#[tokio::test]
async fn one_that_nobody_waits_for_says_nothing_of_a_deployment_that_was_forgotten_meanwhile() {
    let subject = Subject::new().await;
    let (tenant, pipeline) = names();
    let turn = subject.checkpoints.turn(&tenant, &pipeline).await;
    let by_the_clock = subject.take(Kind::Interval);
    // Until it waits for its turn.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    by_the_clock.abort();
    by_the_clock.await.expect_err("it was aborted");
    subject.log.forget(&tenant, PipelineId(7).task()).expect("the log is well");
    drop(turn);
    subject.settled().await;
    assert_eq!(subject.all().await, []);
}

#[tokio::test]
async fn a_copy_of_what_stands_still_keeps_the_others_away_until_its_last_write_is_done() {
    let subject = Subject::new().await;
    let mut ahead = subject
        .checkpoints
        .take_ahead(&subject.log, order(Kind::Upgrade), &Arc::default())
        .await
        .expect("the store is well");
    subject.commit(2).await;
    subject.writes.send_replace(Writes::Paused);
    ahead.stand_still(2).await.expect("the log is well");
    drop(ahead);
    assert!(!subject.is_free().await, "a chunk is still being written");
    subject.writes.send_replace(Writes::Done);
    subject.settled().await;
    assert_eq!(subject.all().await, [("7-1".to_owned(), 1)]);
}

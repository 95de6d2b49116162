//! Random actions on this log and on the model: both must answer the same, always.

use std::ops::ControlFlow;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::log::batch::{self, Compression, EncodeOptions, Producer};
use crate::log::conformance::{Subject, at, compact, fetch, now, place, task, tenant, topic};
use crate::log::memory::MemoryLog;
use crate::log::{Block, Cleanup, Commit};
use crate::record::Batch;

/// Topics, partitions and pipelines: few, so that actions meet.
const TOPICS: [&str; 2] = ["t", "u"];
const PARTITIONS: u32 = 2;

#[derive(Debug, Clone)]
pub(super) enum Action {
    Create { topic: usize, retention_bytes: Option<u64> },
    Delete { topic: usize },
    Append { topic: usize, partition: u32, counts: Vec<usize>, producer: Option<Producer>, timestamp: i64 },
    Fence { pipeline: u64 },
    Commit { pipeline: u64, is_stale: bool, ahead: u64, outputs: Vec<(usize, u32, usize)>, block: u8, position: u64 },
    Forget { pipeline: u64 },
    Read { topic: usize, partition: u32, from: Offset, bytes_max: usize },
    Retain { now_ms: i64 },
    Compact { now_ms: i64 },
    Reopen,
}

fn producer() -> impl Strategy<Value = Option<Producer>> {
    proptest::option::of((0..2_i64, 0..2_i16, 0..8_i32))
        .prop_map(|producer| producer.map(|(id, epoch, base_sequence)| Producer { id, epoch, base_sequence }))
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    let topic = || 0..TOPICS.len();
    // One more than there are, to be refused.
    let partition = || 0..PARTITIONS + 1;
    prop_oneof![
        2 => (topic(), prop_oneof![Just(None), Just(Some(300))])
            .prop_map(|(topic, retention_bytes)| Action::Create { topic, retention_bytes }),
        1 => topic().prop_map(|topic| Action::Delete { topic }),
        8 => (topic(), partition(), vec(1..4_usize, 0..3), producer(), 0..100_i64).prop_map(
            |(topic, partition, counts, producer, timestamp)| {
                Action::Append { topic, partition, counts, producer, timestamp }
            }
        ),
        1 => (0..2_u64).prop_map(|pipeline| Action::Fence { pipeline }),
        6 => (0..2_u64, 0..8_u64, vec((topic(), partition(), 1..4_usize), 0..4), 0..6_u8, 0..9_u64).prop_map(
            |(pipeline, ahead, outputs, block, position)| {
                // Mostly the one that follows, of the epoch that is the newest.
                let is_stale = ahead == 5;
                let ahead = if ahead < 6 { 1 } else { ahead - 6 };
                Action::Commit { pipeline, is_stale, ahead, outputs, block, position }
            }
        ),
        1 => (0..2_u64).prop_map(|pipeline| Action::Forget { pipeline }),
        6 => (topic(), partition(), 0..30_u64, 0..500_usize)
            .prop_map(|(topic, partition, from, bytes_max)| Action::Read { topic, partition, from, bytes_max }),
        2 => (0..300_i64).prop_map(|now_ms| Action::Retain { now_ms }),
        3 => (0..300_i64).prop_map(|now_ms| Action::Compact { now_ms }),
        1 => Just(Action::Reopen),
    ]
}

fn batch(count: usize, timestamp: i64, producer: Option<Producer>) -> Bytes {
    let mut rows = Batch::default();
    for number in 0..count {
        // Few keys, some none; now and then a deletion.
        let key = (timestamp % 9 != 0).then(|| number.to_string());
        let value = (timestamp % 4 != 0).then(|| timestamp.to_string());
        rows.push(timestamp, key.as_deref().map(str::as_bytes), value.as_deref().map(str::as_bytes));
    }
    batch::encode(rows.view(), &EncodeOptions { compression: Compression::None, producer })
}

/// What a log answers, as text that can be compared.
pub(super) async fn act(subject: &dyn Subject, action: &Action) -> String {
    let (tenant, log) = (tenant(), subject.log());
    match action.clone() {
        Action::Create { topic: number, retention_bytes } => {
            let retention = Some(Duration::from_millis(150));
            let cleanup = [Cleanup::Delete, Cleanup::CompactAndDelete][number];
            let tombstone_retention = cleanup.compacts().then_some(Duration::from_millis(20));
            let partitions = PARTITIONS;
            let config = TopicConfig { partitions, retention, retention_bytes, cleanup, tombstone_retention };
            format!("{:?}", log.create_topic(&tenant, &topic(TOPICS[number]), config).await)
        }
        Action::Delete { topic: number } => format!("{:?}", log.delete_topic(&tenant, &topic(TOPICS[number])).await),
        Action::Append { topic, partition, counts, mut producer, timestamp } => {
            let batches = counts.iter().map(|&count| {
                let batch = batch(count, timestamp, producer);
                if let Some(producer) = &mut producer {
                    producer.base_sequence += count as i32;
                }
                batch
            });
            let batches = batches.collect::<Vec<_>>().concat().into();
            format!("{:?}", log.append(&tenant, &at(TOPICS[topic], partition), batches).await)
        }
        Action::Fence { pipeline } => format!("{:?}", log.fence(&tenant, task(pipeline)).await),
        Action::Commit { pipeline, is_stale, ahead, outputs, block, position } => {
            let task = task(pipeline);
            let head = log.head(&tenant, task).unwrap();
            let (epoch, sequence) = (head.epoch.saturating_sub(u64::from(is_stale)), head.sequence + ahead);
            let content = Bytes::from(format!("{sequence} {block}"));
            let outputs =
                outputs.iter().map(|&(topic, partition, count)| (at(TOPICS[topic], partition), batch(count, 7, None)));
            let commit = Commit {
                task,
                epoch,
                sequence,
                positions: vec![(at("t", position as u32 % 3), place(position % 2, position))],
                outputs: outputs.collect(),
                block: match block {
                    0 => Block::None,
                    // The whole state, pieces of it, and what says nothing new.
                    1 => Block::Some { bytes: content.clone(), oldest: u64::MAX },
                    2..5 => Block::Some { bytes: content.clone(), oldest: sequence.saturating_sub(u64::from(block)) },
                    _ => Block::Some { bytes: content.clone(), oldest: position },
                },
                usage: content,
            };
            format!("{:?}", log.commit(&tenant, commit).await)
        }
        Action::Forget { pipeline } => format!("{:?}", log.forget(&tenant, task(pipeline))),
        Action::Read { topic, partition, from, bytes_max } => {
            format!("{:?}", log.fetch(&tenant, &at(TOPICS[topic], partition), from, bytes_max).await)
        }
        Action::Retain { now_ms } => format!("{:?}", subject.enforce_retention(now_ms)),
        Action::Compact { now_ms } => format!("{:?}", compact(subject, now_ms)),
        Action::Reopen => String::new(),
    }
}

/// All that can be seen of a log.
pub(super) fn whole(log: &dyn Log) -> String {
    let topics = now(log.topics(&tenant())).unwrap();
    let reads = topics.iter().flat_map(|(name, info)| {
        let partitions = info.partitions.iter().enumerate();
        partitions.map(|(number, partition)| {
            fetch(log, &at(name.as_str(), number as u32), partition.start, usize::MAX).unwrap()
        })
    });
    let recoveries = [0, 1].map(|pipeline| log.recover(&tenant(), task(pipeline)).unwrap());
    let newest = [0, 1].map(|pipeline| {
        let middle = recoveries[pipeline as usize].head.last_block / 2;
        let mut blocks = Vec::new();
        let head = log.replay(&tenant(), task(pipeline), middle, &mut |number, block| {
            blocks.push((number, block));
            ControlFlow::Continue(())
        });
        (head, blocks)
    });
    let mut tasks = log.tasks().unwrap();
    tasks.sort();
    format!("{topics:?} {:?} {recoveries:?} {newest:?} {tasks:?}", reads.collect::<Vec<_>>())
}

fn answers_like_the_model(actions: &[Action], tail_bytes: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let model = MemoryLog::default();
        // Thousands of writes: what a sync adds is not seen here.
        let mut subject = Reopening::new(tail_bytes, Durability::Os);
        for action in actions {
            if matches!(action, Action::Reopen) {
                subject.reopen();
            }
            assert_eq!(act(&subject, action).await, act(&model, action).await, "{action:?}");
        }
        assert_eq!(whole(subject.log()), whole(&model));
        subject.reopen();
        assert_eq!(whole(subject.log()), whole(&model), "after reopening");
    });
}

proptest! {
    // Each opens a database several times.
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_actions_answer_like_the_model(
        actions in vec(action(), 1..60),
        tail_bytes in prop_oneof![Just(0), Just(400), Just(1 << 20)],
    ) {
        // Without topics most actions would be refused.
        let create = |topic| Action::Create { topic, retention_bytes: Some(300) };
        let fence = |pipeline| Action::Fence { pipeline };
        let actions: Vec<_> = [create(0), create(1), fence(0), fence(1)].into_iter().chain(actions).collect();
        answers_like_the_model(&actions, tail_bytes);
    }
}

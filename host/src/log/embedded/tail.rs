//! The memory tail: the newest batches of all partitions, together bounded in bytes and in number, so that who follows a
//! topic never waits for the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::topics::Partition;
use crate::ids::Offset;
use crate::log::admit::Placed;

/// Batches in the tail: each costs some hundred bytes beside its own.
const BATCHES_MAX: usize = 1 << 16;

/// What is in the tails of all partitions, in the order in which it came.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: usize,
    bytes_max: usize,
    /// The partition of each batch. A batch that left with its topic, by retention or by compaction leaves
    /// its entry until it is due.
    order: VecDeque<Arc<Partition>>,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: 0, bytes_max, order: VecDeque::new() }
    }

    /// Makes batches visible that follow a partition's end.
    pub(super) fn publish(&mut self, partition: &Arc<Partition>, batches: Vec<Placed>) {
        let mut visible = partition.lock();
        for batch in batches {
            self.bytes += batch.bytes.len();
            visible.info.bytes += batch.bytes.len() as u64;
            // It has not been compacted yet, so it has a record for each offset.
            visible.info.records += batch.next - batch.base;
            visible.info.end = batch.next;
            visible.tail.push_back(batch);
            self.order.push_back(partition.clone());
        }
        drop(visible);
        while self.bytes > self.bytes_max || self.order.len() > BATCHES_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(batch) = oldest.lock().tail.pop_front() {
                self.bytes -= batch.bytes.len();
            }
        }
    }

    /// Puts other bytes in the place of a batch, or nothing, if it is there.
    pub(super) fn replace(&mut self, partition: &Partition, base: Offset, by: Option<Bytes>) {
        let tail = &mut partition.lock().tail;
        let Ok(place) = tail.binary_search_by_key(&base, |batch| batch.base) else { return };
        match by {
            Some(bytes) => {
                self.bytes = self.bytes - tail[place].bytes.len() + bytes.len();
                tail[place].bytes = bytes;
            }
            None => self.bytes -= tail.remove(place).map_or(0, |batch| batch.bytes.len()),
        }
    }

    /// Drops the batches of a partition that end at or before an offset.
    pub(super) fn trim(&mut self, partition: &Partition, start: Offset) {
        let tail = &mut partition.lock().tail;
        while let Some(batch) = tail.pop_front_if(|batch| batch.next <= start) {
            self.bytes -= batch.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;
    use crate::log::TopicConfig;
    use crate::log::embedded::topics::Topic;

    fn batch(base: Offset, size: usize) -> Placed {
        Placed { base, next: base + 1, bytes: vec![0; size].into() }
    }

    fn bases(partition: &Partition) -> Vec<Offset> {
        partition.lock().tail.iter().map(|batch| batch.base).collect()
    }

    #[test]
    fn the_oldest_of_all_partitions_leave_first() {
        let topic = Topic::new(TopicId(1), crate::ids::default_tenant(), TopicConfig::with_partitions(2));
        let [first, second] = &topic.partitions[..] else { panic!("two partitions") };
        let mut tail = Tail::new(100);
        tail.publish(first, vec![batch(0, 40), batch(1, 20)]);
        tail.publish(second, vec![batch(0, 30)]);
        tail.publish(first, vec![batch(2, 30)]);
        assert_eq!((bases(first), bases(second)), (vec![1, 2], vec![0]));
        tail.publish(second, vec![batch(1, 200)]);
        assert_eq!((bases(first), bases(second)), (vec![], vec![]));
        assert_eq!((tail.bytes, first.lock().info.end, second.lock().info.end), (0, 3, 2));
    }

    #[test]
    fn trimming_gives_room_back() {
        let topic = Topic::new(TopicId(1), crate::ids::default_tenant(), TopicConfig::with_partitions(1));
        let partition = &topic.partitions[0];
        let mut tail = Tail::new(100);
        tail.publish(partition, vec![batch(0, 40), batch(1, 40)]);
        tail.trim(partition, 1);
        assert_eq!((bases(partition), tail.bytes), (vec![1], 40));
        tail.trim(partition, Offset::MAX);
        tail.publish(partition, vec![batch(2, 100)]);
        assert_eq!(bases(partition), [2]);
    }

    #[test]
    fn a_batch_that_is_replaced_counts_as_it_is() {
        let topic = Topic::new(TopicId(1), crate::ids::default_tenant(), TopicConfig::with_partitions(1));
        let partition = &topic.partitions[0];
        let mut tail = Tail::new(100);
        tail.publish(partition, vec![batch(0, 40), batch(1, 30), batch(2, 30)]);
        tail.replace(partition, 0, Some(Bytes::from_static(&[0; 10])));
        tail.replace(partition, 1, None);
        tail.replace(partition, 7, None);
        assert_eq!((bases(partition), tail.bytes), (vec![0, 2], 40));
    }
}

//! What waits to be written, in the order in which it came.
//!
//! Bounded by bytes: a request's bytes belong to the caller that waits for its answer, who stops sending until then; one
//! that goes away takes its request out of the queue. So the queue holds nothing that nobody waits for, and the writer
//! has at most one group of [`GROUP_BYTES_MAX`] in hand.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::ids::{TaskId, TenantId, TopicName, TopicPartition};
use crate::log::admit::Checked;
use crate::log::{Appended, Commit, Committed, Error, Fenced, Result, TopicConfig};

/// Bytes that are written at once: enough to make one `fsync` cheap, little enough to be answered soon. A request that is
/// larger goes alone.
pub(super) const GROUP_BYTES_MAX: usize = 16 << 20;

/// What is to be written, and who waits for the answer.
#[derive(Debug)]
pub(super) enum Request {
    /// Batches that have been checked.
    Append {
        tenant: TenantId,
        at: TopicPartition,
        batches: Bytes,
        checked: Checked,
        answer: oneshot::Sender<Result<Appended>>,
    },
    /// A commit that is not too large.
    Commit { tenant: TenantId, commit: Commit, answer: oneshot::Sender<Result<Committed>> },
    /// A new epoch for a task.
    Fence { tenant: TenantId, task: TaskId, answer: oneshot::Sender<Result<Fenced>> },
    /// A topic that comes or goes. It is taken alone: what is behind it has to see the topics as it leaves them.
    Topic { tenant: TenantId, topic: TopicName, change: TopicChange, answer: oneshot::Sender<Result<()>> },
}

/// What becomes of a topic.
#[derive(Debug)]
pub(super) enum TopicChange {
    /// It is made, as has been checked.
    Create(TopicConfig),
    /// It is removed, with its records.
    Delete,
}

impl Request {
    /// Bytes that it brings along.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append { batches, .. } => batches.len(),
            Self::Commit { commit, .. } => {
                let outputs: usize = commit.outputs.iter().map(|(_, batches)| batches.len()).sum();
                outputs + commit.block.len() + commit.usage.len()
            }
            Self::Fence { .. } | Self::Topic { .. } => 0,
        }
    }
}

/// The queue of one log.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// In ascending order of their numbers.
    requests: VecDeque<(u64, Request)>,
    next_number: u64,
    closed: bool,
}

/// A request's place; dropping it takes the request out, if the writer has not taken it.
#[derive(Debug)]
pub(super) struct Ticket {
    queue: Arc<Queue>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let requests = &mut self.queue.lock().requests;
        if let Ok(place) = requests.binary_search_by_key(&self.number, |(number, _)| *number) {
            requests.remove(place);
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change of the state is a single call, so a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request behind all others.
    pub(super) fn push(self: &Arc<Self>, request: Request) -> Result<Ticket> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let number = state.next_number;
        state.next_number += 1;
        state.requests.push_back((number, request));
        drop(state);
        self.arrived.notify_one();
        Ok(Ticket { queue: self.clone(), number })
    }

    /// Waits for requests and takes the first ones; `None` when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Request>> {
        let state = self.lock();
        let waiting = |state: &mut State| state.requests.is_empty() && !state.closed;
        let mut state = self.arrived.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let fitting = state.requests.iter().take_while(|(_, request)| {
            bytes += request.bytes();
            bytes <= GROUP_BYTES_MAX && !matches!(request, Request::Topic { .. })
        });
        let count = fitting.count().max(1).min(state.requests.len());
        let group: Vec<_> = state.requests.drain(..count).map(|(_, request)| request).collect();
        (!group.is_empty()).then_some(group)
    }

    /// Refuses what comes from now on; what is there is still to be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Drops what is there, so that its callers learn that nobody will write it.
    pub(super) fn abandon(&self) {
        self.close();
        self.lock().requests.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::default_tenant;

    fn append(size: usize) -> Request {
        let at = TopicPartition { topic: "t".parse().unwrap(), partition: 0 };
        let (answer, _) = oneshot::channel();
        Request::Append {
            tenant: default_tenant(),
            at,
            batches: vec![0; size].into(),
            checked: Checked::default(),
            answer,
        }
    }

    #[test]
    fn groups_are_bounded_by_bytes_and_the_first_always_goes() {
        let queue = Arc::new(Queue::default());
        let sizes = [GROUP_BYTES_MAX + 1, 1, GROUP_BYTES_MAX, 7];
        let tickets: Vec<_> = sizes.iter().map(|&size| queue.push(append(size)).unwrap()).collect();
        queue.close();
        let groups: Vec<Vec<_>> =
            std::iter::from_fn(|| queue.take()).map(|group| group.iter().map(Request::bytes).collect()).collect();
        assert_eq!(groups, [vec![sizes[0]], vec![1], vec![sizes[2]], vec![7]]);
        drop(tickets);
    }

    #[test]
    fn a_change_of_a_topic_goes_alone() {
        let queue = Arc::new(Queue::default());
        let change = || {
            let (answer, _) = oneshot::channel();
            let (tenant, topic) = (default_tenant(), "t".parse().unwrap());
            Request::Topic { tenant, topic, change: TopicChange::Delete, answer }
        };
        let requests = [append(1), append(2), change(), change(), append(3)];
        let tickets: Vec<_> = requests.into_iter().map(|request| queue.push(request).unwrap()).collect();
        queue.close();
        let groups: Vec<Vec<_>> =
            std::iter::from_fn(|| queue.take()).map(|group| group.iter().map(Request::bytes).collect()).collect();
        assert_eq!(groups, [vec![1, 2], vec![0], vec![0], vec![3]]);
        drop(tickets);
    }

    #[test]
    fn a_caller_that_goes_away_takes_its_request_out() {
        let queue = Arc::new(Queue::default());
        let _first = queue.push(append(1)).unwrap();
        drop(queue.push(append(2)).unwrap());
        let _third = queue.push(append(3)).unwrap();
        let group = queue.take().unwrap();
        assert_eq!(group.iter().map(Request::bytes).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_closed_queue_refuses() {
        let queue = Arc::new(Queue::default());
        let _before = queue.push(append(1)).unwrap();
        queue.close();
        assert!(matches!(queue.push(append(1)), Err(Error::Closed)));
        assert!(queue.take().is_some());
        assert!(queue.take().is_none());
    }
}

//! The log of the simulation: the model of the log, rebuilt after a crash from a journal on the simulated disk.
//!
//! The journal has a frame for each operation, in order; what a frame stands for is kept beside the disk, so that it need
//! not be encoded. An operation counts when its frame is whole and all before it are. Changes of topics, appends and commits go
//! through a queue and one writer, which takes its time, writes a group of them, syncs once, and answers; that is when they are seen.

use std::collections::BTreeMap;
use std::future::Future as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use millstream::files::Files as _;
use millstream::ids::{Digest, Offset, TaskId, TenantId, TopicName, TopicPartition, default_tenant};
use millstream::log::memory::MemoryLog;
use millstream::log::{
    Appended, Commit, CommitLog, Committed, Compacted, Error, Fenced, Fetched, Head, Pending, RecordLog, Result,
    TopicAdmin, TopicConfig, TopicInfo,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::disk::Disk;
use crate::machine::Machine;
use crate::oracle::Oracle;

const FRAME_BYTES: usize = 16;
/// Most operations that the writer takes at once.
const GROUP_MAX: usize = 4;

/// What was done to a log.
#[derive(Debug, Clone)]
enum Op {
    Create(TopicName, TopicConfig),
    Delete(TopicName),
    Append(TopicPartition, Bytes),
    Commit(Commit),
    Fence(TaskId),
    Forget(TaskId),
    Compact(i64),
}

/// What an operation gave.
#[derive(Debug)]
enum Given {
    Appended(Appended),
    Committed(Committed),
    Fenced(Fenced),
    Compacted(Compacted),
    Nothing,
}

/// What all frames of a journal stand for: it outlives the server. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Ops>>);

#[derive(Debug, Default)]
struct Ops {
    all: Vec<Op>,
    /// The operations that were answered: they must never be missing.
    answered: Vec<usize>,
}

/// The log of a server.
#[derive(Debug)]
pub struct SimLog {
    core: Core,
    queue: mpsc::UnboundedSender<Queued>,
}

type Queued = (Op, oneshot::Sender<Result<Given>>);

#[derive(Debug, Clone)]
struct Core {
    machine: Machine,
    disk: Disk,
    journal: Journal,
    oracle: Oracle,
    model: Arc<MemoryLog>,
    watchers: Watchers,
}

/// Who is told of a topic's records, in the order in which they asked. Each has a channel of its own: who waits on one
/// channel is woken in an order that tokio draws, and not the seed.
type Watchers = Arc<Mutex<Vec<(TopicName, watch::Sender<u64>)>>>;

impl SimLog {
    /// Rebuilds the log from what the disk has of its journal, and starts its writer in this runtime.
    pub fn open(machine: &Machine, disk: &Disk, journal: &Journal, oracle: &Oracle) -> Self {
        let core = Core {
            machine: machine.clone(),
            disk: disk.clone(),
            journal: journal.clone(),
            oracle: oracle.clone(),
            model: Arc::default(),
            watchers: Watchers::default(),
        };
        core.recover();
        // What is queued is bounded by the few tasks of a simulation, each of which waits for its answer.
        let (queue, queued) = mpsc::unbounded_channel();
        tokio::spawn(core.clone().write_groups(queued));
        Self { core, queue }
    }

    /// Compacts the topics that have it.
    pub fn compact(&self, now_ms: i64) -> Result<Compacted> {
        match self.core.run(Op::Compact(now_ms))? {
            Given::Compacted(compacted) => Ok(compacted),
            _ => Ok(Compacted::default()),
        }
    }

    /// Looks at what is there after a while.
    fn seen<T: 'static>(&self, look: impl FnOnce(&MemoryLog) -> Pending<T> + Send + 'static) -> Pending<T> {
        let core = self.core.clone();
        Box::pin(async move {
            core.machine.linger().await;
            now(look(core.on()?))
        })
    }

    /// Queues an operation when it is first polled.
    fn queued<T: 'static>(&self, op: Op, of: impl FnOnce(Given) -> Option<T> + Send + 'static) -> Pending<T> {
        let queue = self.queue.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            queue.send((op, answer)).map_err(|_| Error::Closed)?;
            let given = answered.await.map_err(|_| Error::Closed)??;
            of(given).ok_or(Error::Closed)
        })
    }
}

impl Journal {
    fn ops(&self) -> MutexGuard<'_, Ops> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file() -> PathBuf {
        PathBuf::from("/journal")
    }
}

/// The bytes of a frame.
fn frame(number: usize) -> [u8; FRAME_BYTES] {
    let number = (number as u64).to_le_bytes();
    let mut bytes = [0; FRAME_BYTES];
    bytes[..8].copy_from_slice(&number);
    bytes[8..].copy_from_slice(&Digest::of(&number).as_bytes()[..8]);
    bytes
}

impl Core {
    fn recover(&self) {
        let bytes = self.disk.read(&Journal::file()).unwrap_or_default();
        let ops = self.journal.ops().all.clone();
        let number = |bytes: &[u8]| {
            let number = u64::from_le_bytes(bytes.first_chunk().copied()?);
            let number = usize::try_from(number).ok()?;
            (frame(number)[..] == *bytes && number < ops.len()).then_some(number)
        };
        let whole: Vec<usize> = bytes.chunks(FRAME_BYTES).map_while(number).collect();
        let answered = std::mem::take(&mut self.journal.ops().answered);
        let (kept, lost): (Vec<_>, Vec<_>) =
            answered.into_iter().partition(|number| whole.binary_search(number).is_ok());
        self.journal.ops().answered = kept;
        if let Some(lost) = lost.first() {
            self.machine.violation(format!("the log lost operation {lost}, which was answered: {:?}", ops[*lost]));
        }
        self.oracle.restart();
        for &number in &whole {
            // What was refused then is refused again.
            let _ = self.apply(&ops[number]);
        }
        self.machine.note(|| format!("log has {} of {} operations", whole.len(), ops.len()));
        // The torn end is cut off, so that what is appended next is read again.
        let whole: Vec<u8> = whole.into_iter().flat_map(frame).collect();
        self.disk.settle(&Journal::file(), &whole);
    }

    /// Writes operations and syncs.
    fn persist(&self, ops: &[Op]) -> Result<Vec<usize>> {
        let numbers: Vec<usize> = {
            let mut journal = self.journal.ops();
            let first = journal.all.len();
            journal.all.extend_from_slice(ops);
            (first..journal.all.len()).collect()
        };
        for &number in &numbers {
            self.disk.append(&Journal::file(), &frame(number)).map_err(|_| Error::Closed)?;
        }
        self.disk.sync(&Journal::file()).map_err(|_| Error::Closed)?;
        Ok(numbers)
    }

    /// Does one operation at once.
    fn run(&self, op: Op) -> Result<Given> {
        let numbers = self.persist(std::slice::from_ref(&op))?;
        let given = self.apply(&op);
        self.machine.touch().map_err(|_| Error::Closed)?;
        self.journal.ops().answered.extend(numbers);
        given
    }

    fn apply(&self, op: &Op) -> Result<Given> {
        let tenant = default_tenant();
        Ok(match op {
            Op::Create(topic, config) => {
                let known = now(self.model.topics(&tenant))?.contains_key(topic);
                now(self.model.create_topic(&tenant, topic, config.clone()))?;
                if !known {
                    self.oracle.topic_made(topic, now(self.model.topic(&tenant, topic))?.id, config);
                }
                Given::Nothing
            }
            Op::Delete(topic) => {
                now(self.model.delete_topic(&tenant, topic))?;
                self.watchers().retain(|(watched, _)| watched != topic);
                Given::Nothing
            }
            Op::Append(at, batches) => {
                let appended = now(self.model.append(&tenant, at, batches.clone()))?;
                self.oracle.appended(at, appended.base_offset, batches);
                self.changed(&at.topic);
                Given::Appended(appended)
            }
            Op::Commit(commit) => {
                let committed = now(self.model.commit(&tenant, commit.clone()))?;
                self.oracle.committed(commit);
                commit.outputs.iter().for_each(|(at, _)| self.changed(&at.topic));
                Given::Committed(committed)
            }
            Op::Fence(task) => Given::Fenced(now(self.model.fence(&tenant, *task))?),
            Op::Forget(task) => {
                self.model.forget(&tenant, *task)?;
                Given::Nothing
            }
            Op::Compact(now_ms) => Given::Compacted(self.model.compact(*now_ms)?),
        })
    }

    async fn write_groups(self, mut queued: mpsc::UnboundedReceiver<Queued>) {
        while let Some(first) = queued.recv().await {
            self.machine.linger().await;
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(next) = queued.try_recv()
            {
                group.push(next);
            }
            let fails = self.machine.trouble().commits_fail;
            let (mut ops, mut answers) = (Vec::new(), Vec::new());
            for (op, answer) in group {
                let fault = matches!(op, Op::Commit(_)) && self.machine.one_in(fails);
                if fault && self.machine.one_in(2) {
                    let _ = answer.send(Err(Error::Closed));
                    continue;
                }
                ops.push(op);
                answers.push((answer, fault));
            }
            let Ok(numbers) = self.persist(&ops) else { return std::future::pending().await };
            let given: Vec<_> = ops.iter().map(|op| self.apply(op)).collect();
            self.machine.linger().await;
            self.journal.ops().answered.extend(numbers);
            for ((answer, fault), given) in answers.into_iter().zip(given) {
                // Who no longer waits is not told.
                let _ = answer.send(if fault { Err(Error::Closed) } else { given });
            }
        }
    }

    fn watchers(&self) -> MutexGuard<'_, Vec<(TopicName, watch::Sender<u64>)>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, topic: &TopicName) {
        let mut watchers = self.watchers();
        watchers.retain(|(_, watcher)| !watcher.is_closed());
        let of_topic = watchers.iter().filter(|(watched, _)| watched == topic);
        of_topic.for_each(|(_, watcher)| watcher.send_modify(|changes| *changes += 1));
    }

    fn on(&self) -> Result<&MemoryLog> {
        if self.machine.is_on() { Ok(&self.model) } else { Err(Error::Closed) }
    }
}

/// The model answers at once.
fn now<T>(pending: Pending<T>) -> Result<T> {
    match pin!(pending).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(Error::Closed),
    }
}

impl TopicAdmin for SimLog {
    fn create_topic(&self, _: &TenantId, topic: &TopicName, config: TopicConfig) -> Pending<()> {
        self.queued(Op::Create(topic.clone(), config), |_| Some(()))
    }

    fn delete_topic(&self, _: &TenantId, topic: &TopicName) -> Pending<()> {
        self.queued(Op::Delete(topic.clone()), |_| Some(()))
    }

    fn topic(&self, tenant: &TenantId, topic: &TopicName) -> Pending<TopicInfo> {
        let (tenant, topic) = (tenant.clone(), topic.clone());
        self.seen(move |model| model.topic(&tenant, &topic))
    }

    fn topics(&self, tenant: &TenantId) -> Pending<BTreeMap<TopicName, TopicInfo>> {
        let tenant = tenant.clone();
        self.seen(move |model| model.topics(&tenant))
    }
}

impl RecordLog for SimLog {
    fn append(&self, _: &TenantId, at: &TopicPartition, batches: Bytes) -> Pending<Appended> {
        self.queued(Op::Append(at.clone(), batches), |given| match given {
            Given::Appended(appended) => Some(appended),
            _ => None,
        })
    }

    fn fetch(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Pending<Fetched> {
        let (tenant, at) = (tenant.clone(), at.clone());
        self.seen(move |model| model.fetch(&tenant, &at, from, bytes_max))
    }

    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>> {
        drop(self.core.on()?.watch(tenant, topic)?);
        let (watcher, watching) = watch::channel(0);
        self.core.watchers().push((topic.clone(), watcher));
        Ok(watching)
    }
}

impl CommitLog for SimLog {
    fn fence(&self, _: &TenantId, task: TaskId) -> Pending<Fenced> {
        self.queued(Op::Fence(task), |given| match given {
            Given::Fenced(fenced) => Some(fenced),
            _ => None,
        })
    }

    fn commit(&self, _: &TenantId, commit: Commit) -> Pending<Committed> {
        self.queued(Op::Commit(commit), |given| match given {
            Given::Committed(committed) => Some(committed),
            _ => None,
        })
    }

    fn replay(
        &self,
        tenant: &TenantId,
        task: TaskId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head> {
        self.core.on()?.replay(tenant, task, after, each)
    }

    fn forget(&self, _: &TenantId, task: TaskId) -> Result<()> {
        self.core.run(Op::Forget(task)).map(drop)
    }

    fn tasks(&self) -> Result<Vec<(TenantId, TaskId)>> {
        self.core.on()?.tasks()
    }
}

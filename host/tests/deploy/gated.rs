//! A log in memory whose commits and replays can be held up, as a slow disk does, and that can refuse what it is asked.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use millstream::ids::{TaskId, TenantId};
use millstream::log::memory::MemoryLog;
use millstream::log::{Commit, CommitLog as _, Committed, Error, Fenced, Head, Layer, Log, Pending, Result};
use tokio::sync::watch;

/// What a log is asked for, and may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    Commit,
    Fence,
    Forget,
}

/// The log. Commits take effect in the order in which they were made, also if nobody waits for them any more.
#[derive(Debug)]
pub(crate) struct GatedLog {
    log: Arc<MemoryLog>,
    order: Arc<tokio::sync::Mutex<()>>,
    commits: watch::Sender<bool>,
    /// Commits that wait for the gate.
    held: Arc<AtomicUsize>,
    replays: Mutex<bool>,
    opened: Condvar,
    /// What is refused.
    refuses: Mutex<BTreeSet<Asked>>,
    /// Replays of blocks: that go on, that went on at once, and in all.
    replaying: AtomicUsize,
    replaying_max: AtomicUsize,
    replayed: AtomicUsize,
}

impl GatedLog {
    pub(crate) fn new() -> Self {
        Self {
            log: Arc::default(),
            order: Arc::default(),
            commits: watch::Sender::new(true),
            held: Arc::default(),
            replays: Mutex::new(true),
            opened: Condvar::new(),
            refuses: Mutex::default(),
            replaying: AtomicUsize::new(0),
            replaying_max: AtomicUsize::new(0),
            replayed: AtomicUsize::new(0),
        }
    }

    /// Refuses all of this from now on, or does it again.
    pub(crate) fn refuse(&self, asked: Asked, refuses: bool) {
        let mut all = self.refuses.lock().unwrap();
        if refuses {
            all.insert(asked)
        } else {
            all.remove(&asked)
        };
    }

    fn does(&self, asked: Asked) -> Result<()> {
        if self.refuses.lock().unwrap().contains(&asked) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Lets commits through, or holds them up.
    pub(crate) fn let_commits(&self, through: bool) {
        self.commits.send_replace(through);
    }

    /// Removes what exceeds the retention of topics. Answers how many batches went.
    pub(crate) fn enforce_retention(&self) -> Result<u64> {
        self.log.enforce_retention(0)
    }

    /// Lets replays through, or holds them up on their threads.
    pub(crate) fn let_replays(&self, through: bool) {
        *self.replays.lock().unwrap() = through;
        self.opened.notify_all();
    }

    /// Commits that are held up.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Replays that go on now, and the most that went on at once.
    pub(crate) fn replaying(&self) -> (usize, usize) {
        (self.replaying.load(Ordering::SeqCst), self.replaying_max.load(Ordering::SeqCst))
    }

    /// How often blocks were read back.
    pub(crate) fn replayed(&self) -> usize {
        self.replayed.load(Ordering::SeqCst)
    }
}

impl Layer for GatedLog {
    fn below(&self) -> &dyn Log {
        &*self.log
    }

    /// Has its place in the order of writes, behind the commits that are held up.
    fn fence(&self, tenant: &TenantId, task: TaskId) -> Pending<Fenced> {
        let (order, fenced, does) = (Arc::clone(&self.order), self.log.fence(tenant, task), self.does(Asked::Fence));
        Box::pin(async move {
            does?;
            let _turn = order.lock_owned().await;
            fenced.await
        })
    }

    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed> {
        let (log, order, held) = (Arc::clone(&self.log), Arc::clone(&self.order), Arc::clone(&self.held));
        let (tenant, mut gate, does) = (tenant.clone(), self.commits.subscribe(), self.does(Asked::Commit));
        Box::pin(async move {
            does?;
            let turn = order.lock_owned().await;
            // Who made it may be gone by the time at which it is written.
            let written = tokio::spawn(async move {
                let _turn = turn;
                held.fetch_add(1, Ordering::SeqCst);
                gate.wait_for(|through| *through).await.unwrap();
                held.fetch_sub(1, Ordering::SeqCst);
                log.commit(&tenant, commit).await
            });
            written.await.unwrap()
        })
    }

    fn replay(
        &self,
        tenant: &TenantId,
        task: TaskId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head> {
        // Nothing is after that: the head alone is asked for.
        if after == u64::MAX {
            return self.log.replay(tenant, task, after, each);
        }
        let now = self.replaying.fetch_add(1, Ordering::SeqCst) + 1;
        self.replaying_max.fetch_max(now, Ordering::SeqCst);
        self.replayed.fetch_add(1, Ordering::SeqCst);
        drop(self.opened.wait_while(self.replays.lock().unwrap(), |through| !*through).unwrap());
        let head = self.log.replay(tenant, task, after, each);
        self.replaying.fetch_sub(1, Ordering::SeqCst);
        head
    }

    fn forget(&self, tenant: &TenantId, task: TaskId) -> Result<()> {
        self.does(Asked::Forget)?;
        self.log.forget(tenant, task)
    }
}

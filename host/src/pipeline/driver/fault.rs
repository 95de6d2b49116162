//! A log in memory whose next commit can be made to fail, before it is written or after.

use std::sync::{Mutex, PoisonError};

use crate::ids::TenantId;
use crate::log::memory::MemoryLog;
use crate::log::{Commit, CommitLog as _, Committed, Error, Layer, Log, Pending};

/// How a commit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not written.
    Unwritten,
    /// It is written, but whoever made it does not come to know.
    Unanswered,
}

/// The log of a driver.
#[derive(Debug, Default)]
pub(super) struct FaultyLog {
    log: MemoryLog,
    next: Mutex<Option<Fault>>,
}

impl FaultyLog {
    /// Lets the next commit fail, or no more.
    pub(super) fn set(&self, fault: Option<Fault>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn take(&self) -> Option<Fault> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Layer for FaultyLog {
    fn below(&self) -> &dyn Log {
        &self.log
    }

    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed> {
        match self.take() {
            None => self.log.commit(tenant, commit),
            Some(Fault::Unwritten) => Box::pin(std::future::ready(Err(Error::Closed))),
            Some(Fault::Unanswered) => {
                let written = self.log.commit(tenant, commit);
                Box::pin(async move { written.await.and(Err(Error::Closed)) })
            }
        }
    }
}

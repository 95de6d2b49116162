//! The threads that read from the disk on behalf of readers.
//!
//! A fetch that finds its records in memory is answered where it is polled. One that does not may wait milliseconds for a
//! cold disk, which on a thread of an asynchronous runtime would hold up every task of it; so it is done here. The number
//! of threads is fixed, and small: as many reads are at the disk at once, however many pipelines are behind, and the others
//! wait in order. They end with the log, so that its folder is free then.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Reads at once. A disk gains little from more, and each may have batches of some MiB in hand.
const THREADS: usize = 4;

type Read = Box<dyn FnOnce() + Send>;

/// A fixed number of threads. Dropping it lets them finish what they are at, and drops what still waits.
#[derive(Debug)]
pub(super) struct Readers {
    waiting: Arc<Waiting>,
    threads: Vec<JoinHandle<()>>,
}

/// What waits for a thread.
#[derive(Default)]
pub(super) struct Waiting {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    reads: VecDeque<Read>,
    closed: bool,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("reads", &self.lock().reads.len()).finish_non_exhaustive()
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change of the state is a single call, so a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a read behind all others. It is dropped undone if the log ends before its turn.
    pub(super) fn push(&self, read: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if !state.closed {
            state.reads.push_back(Box::new(read));
            self.arrived.notify_one();
        }
    }

    fn next(&self) -> Option<Read> {
        let nothing = |state: &mut State| state.reads.is_empty() && !state.closed;
        let mut state = self.arrived.wait_while(self.lock(), nothing).unwrap_or_else(PoisonError::into_inner);
        if state.closed { None } else { state.reads.pop_front() }
    }
}

impl Readers {
    pub(super) fn start() -> std::io::Result<Self> {
        let waiting = Arc::<Waiting>::default();
        let mut readers = Self { waiting: Arc::clone(&waiting), threads: Vec::with_capacity(THREADS) };
        for number in 0..THREADS {
            let waiting = Arc::clone(&waiting);
            let thread = std::thread::Builder::new().name(format!("log-reader-{number}"));
            readers.threads.push(thread.spawn(move || {
                while let Some(read) = waiting.next() {
                    read();
                }
            })?);
        }
        Ok(readers)
    }

    /// Where reads are queued.
    pub(super) fn waiting(&self) -> Arc<Waiting> {
        Arc::clone(&self.waiting)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.waiting.lock().closed = true;
        self.waiting.arrived.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reader of the log had ended by a panic");
            }
        }
        // Whoever waits for one of these learns that it will not be done. Dropped without the lock: they wake tasks.
        drop(std::mem::take(&mut self.waiting.lock().reads));
    }
}

//! What the host takes from the machine that it runs on beside files: the time, and threads for work that blocks.
//!
//! Whoever starts pipelines passes an [`Environment`] down. The server passes [`System`]; a simulation one whose time is its
//! own and that runs everything on one thread, so that a run depends on nothing but its seed.

use std::fmt::Debug;
use std::future::Future;

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use crate::clock;

/// The machine below.
pub trait Environment: Send + Sync + Debug {
    /// What time it is, in milliseconds since the Unix epoch. The clock may jump, forward and back.
    fn now_ms(&self) -> i64;

    /// Runs work that waits for a disk or computes for long where nobody waits for it. It begins at once, and is run to its
    /// end also if nobody waits for the answer.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> JoinHandle<()>;
}

/// The real machine: the system's clock, and tokio's threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Environment for System {
    fn now_ms(&self) -> i64 {
        clock::now_ms()
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> JoinHandle<()> {
        tokio::task::spawn_blocking(work)
    }
}

/// Runs blocking work and gives its answer; an error says that it panicked.
pub fn run_blocking<T, W>(
    environment: &dyn Environment,
    work: W,
) -> impl Future<Output = Result<T, JoinError>> + Send + use<T, W>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let handle = environment.spawn_blocking(Box::new(move || {
        // If the caller no longer waits, the answer is dropped.
        let _ = answer.send(work());
    }));
    async move {
        handle.await?;
        Ok(answered.await.expect("work that has come to its end has sent its answer"))
    }
}

/// A machine whose threads for blocking work are busy until they are told.
#[cfg(all(test, feature = "server"))]
pub(crate) mod busy {
    use tokio::sync::watch;
    use tokio::task::JoinHandle;

    use super::Environment;

    #[derive(Debug)]
    pub(crate) struct Busy(watch::Sender<bool>);

    impl Busy {
        /// One whose threads are free.
        pub(crate) fn free() -> Self {
            Self(watch::Sender::new(false))
        }

        /// Holds up what comes from now on, or lets it go on.
        pub(crate) fn set(&self, busy: bool) {
            self.0.send_replace(busy);
        }
    }

    impl Environment for Busy {
        fn now_ms(&self) -> i64 {
            0
        }

        fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> JoinHandle<()> {
            let mut busy = self.0.subscribe();
            tokio::spawn(async move {
                drop(busy.wait_for(|busy| !busy).await);
                work();
            })
        }
    }
}

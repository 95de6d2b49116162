//! The epoch ticker: one thread that counts milliseconds while a guest runs, and sleeps while none does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

/// Length of a tick: how long a busy guest holds its worker.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest before the thread sleeps. Calls come one after another; waking the thread for each would cost a
/// system call a call.
const LINGER_TICKS: u32 = 20;

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// The thread. Ends when dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A guest that runs: while one of these exists, the epoch advances.
#[derive(Debug)]
pub(super) struct Running<'a>(&'a Ticker);

impl Ticker {
    pub(super) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("epoch".to_owned()).spawn(move || tick(&engine, &theirs))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Notes that a guest runs, until the value is dropped.
    pub(super) fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
        Running(self)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread ends at its next tick; it cannot have panicked in a way that matters here.
            drop(thread);
        }
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    let mut idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        if shared.running.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle <= LINGER_TICKS {
            std::thread::sleep(TICK);
            engine.increment_epoch();
            continue;
        }
        // A guest that starts after this store finds `asleep` and wakes the thread; one that started before it is seen
        // by the load.
        shared.asleep.store(true, Ordering::SeqCst);
        if shared.running.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        shared.asleep.store(false, Ordering::SeqCst);
        idle = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Waits for a condition; far longer than it may take, so that only a fault ends it.
    fn wait(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition() {
            assert!(Instant::now() < deadline, "never {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_thread_sleeps_while_nothing_runs_and_wakes_for_a_guest() {
        let engine = super::super::engine::compiler().unwrap();
        let ticker = Ticker::start(engine).unwrap();
        for _ in 0..3 {
            wait("asleep", || ticker.shared.asleep.load(Ordering::SeqCst));
            let running = ticker.running();
            wait("awake", || !ticker.shared.asleep.load(Ordering::SeqCst));
            drop(running);
        }
        let shared = ticker.shared.clone();
        drop(ticker);
        wait("gone", || Arc::strong_count(&shared) == 1);
    }
}

//! The machine that everything runs on: its power, its clock, its speed, and the one source of random numbers.
//!
//! Whatever a server does that could be cut off comes by [`Machine::touch`]; when the count that the seed chose is down, the
//! power is gone: nothing has an effect from then on, nobody is answered, and the simulation drops all that runs.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harness::Random;
use millstream::environment::Environment;
use millstream::ids::Digest;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What time it is when the first server starts.
const BEGINNING_MS: i64 = 1_700_000_000_000;

/// How often the clock may be read between two things that are done.
const READINGS_MAX: u64 = 100_000;

/// Which of the disk's promises hold. All of them in a machine that is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syncs {
    /// A file that was written keeps what is in it.
    pub files: bool,
    /// A folder that was synced keeps its names.
    pub folders: bool,
    /// The log's journal keeps what was synced.
    pub journal: bool,
}

impl Syncs {
    /// All promises hold.
    pub const KEPT: Self = Self { files: true, folders: true, journal: true };
}

/// How the machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trouble {
    /// Whether calls, commits and stores take seconds now and then.
    pub slow: bool,
    /// One in so many writes to files fails; 0 for none.
    pub files_fail: u64,
    /// One in so many commits fails, before it is written or after; 0 for none.
    pub commits_fail: u64,
}

/// A machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Machine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    syncs: Syncs,
    gone: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: Random,
    on: bool,
    /// So many touches until the power goes.
    left: Option<u64>,
    /// When this server started, by tokio's clock,
    started: Option<Instant>,
    /// and by the machine's.
    started_ms: i64,
    trouble: Trouble,
    /// How often the clock was read since anything was done.
    readings: u64,
    trace: Vec<String>,
    violations: Vec<String>,
}

impl Machine {
    /// A machine for a seed. Its power is off.
    pub fn new(seed: u64, syncs: Syncs) -> Self {
        let state = State {
            random: Random::new(seed),
            on: false,
            left: None,
            started: None,
            started_ms: BEGINNING_MS,
            trouble: Trouble::default(),
            readings: 0,
            trace: Vec::new(),
            violations: Vec::new(),
        };
        Self(Arc::new(Inner { syncs, gone: Notify::new(), state: Mutex::new(state) }))
    }

    /// Switches it on, within the runtime of the server that starts.
    pub fn power_on(&self) {
        let mut state = self.state();
        (state.on, state.left, state.started) = (true, None, Some(Instant::now()));
    }

    /// Lets it lose power after so many touches.
    pub fn lose_power_after(&self, touches: Option<u64>) {
        self.state().left = touches;
    }

    /// Switches it off: whatever still runs has no effect any more. The clock stands until it is on again.
    pub fn power_off(&self) {
        let mut state = self.state();
        state.started_ms = state.now_ms();
        (state.on, state.started) = (false, None);
    }

    /// Waits until the power is gone.
    pub async fn gone(&self) {
        self.0.gone.notified().await;
    }

    /// Whether it runs.
    pub fn is_on(&self) -> bool {
        self.state().on
    }

    /// Which promises the disk keeps.
    pub fn syncs(&self) -> Syncs {
        self.0.syncs
    }

    /// Something with an effect is about to be done. It may be that the power goes just before it.
    pub fn touch(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.on && state.left == Some(0) {
            state.started_ms = state.now_ms();
            (state.on, state.started) = (false, None);
            self.0.gone.notify_one();
        }
        if !state.on {
            return Err(io::Error::other("the machine is off"));
        }
        state.readings = 0;
        state.left = state.left.map(|left| left - 1);
        Ok(())
    }

    /// Takes a while, so that others have their turn: mostly no time at all, sometimes milliseconds, and in trouble seconds.
    pub async fn linger(&self) {
        let (turns, sleep) = {
            let mut state = self.state();
            let slow = state.trouble.slow && state.random.one_in(12);
            match state.random.below(8) {
                _ if slow => (0, 1000 + state.random.below(9000)),
                0..4 => (0, 0),
                4..6 => (1 + state.random.below(3), 0),
                _ => (0, 1 + state.random.below(40)),
            }
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        if sleep > 0 {
            tokio::time::sleep(Duration::from_millis(sleep)).await;
        }
        if self.touch().is_err() {
            pending::<()>().await;
        }
    }

    /// Never goes on without power.
    pub async fn stay_on(&self) {
        if !self.is_on() {
            pending::<()>().await;
        }
    }

    /// How it is doing.
    pub fn trouble(&self) -> Trouble {
        self.state().trouble
    }

    /// Makes it do better or worse.
    pub fn set_trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// Sets the clock forward or back.
    pub fn jump(&self, by_ms: i64) {
        self.state().started_ms += by_ms;
    }

    /// A random number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        self.state().random.below(end)
    }

    /// Whether this is one of `n` cases; never, if `n` is 0.
    pub fn one_in(&self, n: u64) -> bool {
        n > 0 && self.state().random.one_in(n)
    }

    /// Notes what happened.
    pub fn note(&self, what: impl FnOnce() -> String) {
        let mut state = self.state();
        let at = state.now_ms() - BEGINNING_MS;
        state.trace.push(format!("{at:>8} {}", what()));
    }

    /// Notes that something is not as it must be, which ends the simulation.
    pub fn violation(&self, what: String) {
        // What runs on without power sees nothing as it is.
        if self.is_on() {
            self.note(|| format!("VIOLATION {what}"));
            self.state().violations.push(what);
            self.power_off();
            self.0.gone.notify_one();
        }
    }

    /// What is not as it must be.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// What happened.
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// The digest of what happened.
    pub fn digest(&self) -> Digest {
        Digest::of(self.state().trace.join("\n").as_bytes())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now_ms(&self) -> i64 {
        let since = self.started.map_or(0, |started| started.elapsed().as_millis());
        self.started_ms + i64::try_from(since).unwrap_or(i64::MAX)
    }
}

impl Environment for Machine {
    fn now_ms(&self) -> i64 {
        let (now_ms, readings) = {
            let mut state = self.state();
            state.readings += 1;
            (state.now_ms(), state.readings)
        };
        if readings > READINGS_MAX {
            self.violation(format!("a task has read the clock {readings} times and does nothing"));
            // It waits for nothing, so nothing else would end it.
            panic!("a task runs in circles");
        }
        now_ms
    }

    /// There are no threads here: it takes a while, and is done at once then.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> JoinHandle<()> {
        let machine = self.clone();
        tokio::spawn(async move {
            machine.linger().await;
            work();
        })
    }
}

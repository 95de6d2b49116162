//! Waiting for something to become true.

use std::time::{Duration, Instant};

/// Time between two looks: short beside anything that is waited for, long beside the cost of a look.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until there is something to see, and fails with what was waited for when the time is over.
pub fn until<T>(limit: Duration, what: &str, mut look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            anyhow::bail!("timed out after {limit:?} while waiting for {what}");
        }
        std::thread::sleep(PAUSE);
    }
}

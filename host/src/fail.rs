//! Places at which a test may let the server die, as a loss of power would.
//!
//! Set `MILLSTREAM_FAIL_POINT` to `NAME` or `NAME@N`, and the process aborts when it reaches that point (for the Nth
//! time): nothing is unwound or written any more. Where it is not set, a point costs one load of a boolean.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable that arms a point.
pub const VARIABLE: &str = "MILLSTREAM_FAIL_POINT";

/// All points, in the order in which a commit, a checkpoint and a restore reach them: before and after a micro-batch's
/// work, before and after the durable write (of commits and of what producers send), and when a pipeline has been told;
/// after a chunk and before and after a manifest is stored; after chunks are verified, when the state is in the log, and
/// when the pipeline has been switched to it; when a pipeline has been switched to another version; when the last copy of
/// what was replaced, by an upgrade or else, is in the store.
pub const POINTS: &[&str] = &[
    "batch-taken",
    "batch-applied",
    "log-write",
    "log-written",
    "commit-known",
    "checkpoint-chunk",
    "checkpoint-manifest",
    "checkpoint-written",
    "restore-verified",
    "restore-installed",
    "restore-switched",
    "upgrade-switched",
    "upgrade-copied",
];

struct Armed {
    name: String,
    left: AtomicU64,
}

static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
    let text = std::env::var(VARIABLE).ok()?;
    let (name, count) = text.split_once('@').unwrap_or((&text, "1"));
    Some(Armed { name: name.to_owned(), left: AtomicU64::new(count.parse().unwrap_or(1)) })
});

/// Aborts the process if this point is armed and its count has been reached.
pub fn point(name: &'static str) {
    if let Some(armed) = &*ARMED
        && armed.name == name
        && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

//! Time and memory of this process and of others.

use std::time::{Duration, Instant};

use anyhow::Context;

/// CPU time that this process has used, all threads together, to a hundredth of a second.
pub fn cpu_time() -> anyhow::Result<Duration> {
    Ok(Duration::from_millis(10 * cpu_ticks(std::process::id())?))
}

/// The least time of several rounds of `work`, which says how much it did.
pub fn best_of(rounds: usize, mut work: impl FnMut() -> Duration) -> Duration {
    (0..rounds).map(|_| work()).min().unwrap_or_default()
}

/// How long `work` takes.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let result = work();
    (result, begin.elapsed())
}

/// A line of `/proc/PID/status` in KiB.
fn status_kib(pid: u32, field: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).with_context(|| format!("find {field}"))?;
    let number = line.split_whitespace().nth(1).with_context(|| format!("read {field}"))?;
    Ok(number.parse()?)
}

/// Memory of a process that is resident, in KiB.
pub fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    status_kib(pid, "VmRSS:")
}

/// CPU time of another process, in clock ticks of 10 ms.
pub fn cpu_ticks(pid: u32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit(')').next().context("read the process's counters")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    Ok(ticks(11) + ticks(12))
}

/// A time in milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

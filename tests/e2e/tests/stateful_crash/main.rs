//! Crashes of pipelines with state: windows of several kinds, values and timers of keys, names of duplicates, rows that wait
//! for their partners, a reference table. At random moments and at every named point of the server, while producers keep
//! sending: at the end all that the pipelines have written, all that they have counted and what state they have left is
//! what it is where nothing happened.
//!
//! `MILLSTREAM_CRASH_RUNS` says how many kills there are at random moments (8), and as many are spread over the named
//! points, at least one each; `MILLSTREAM_CRASH_SEED` repeats a run; `cargo run -p xtask -- crash --runs 1000 --seed 7`
//! sets both.
#![expect(clippy::print_stdout, reason = "the seed must be seen to be repeated")]

mod answer;
mod pipelines;
mod stream;
mod subject;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::PATIENCE;
use harness::{Random, Server, until};
use millstream::fail::POINTS;
use serde_json::json;

use crate::pipelines::PIPELINES;
use crate::subject::Subject;

/// Kills at random moments, unless the environment says otherwise.
const RUNS: u64 = 8;
/// Longest life of a server that is ready.
const LIFE_MS: u64 = 300;
/// Longest life of a server that is killed while it starts.
const START_MS: u64 = 60;
/// The signal that a process ends by that aborts.
const ABORTED: i32 = 6;

#[test]
fn state_is_exact_through_kills_at_random_moments() -> anyhow::Result<()> {
    let (mut random, seed) = seeded()?;
    let mut subject = Subject::new(seed)?;
    let mut left = setting("MILLSTREAM_CRASH_RUNS")?.unwrap_or(RUNS);
    while left > 0 {
        let client = subject.client();
        let changed = random.one_in(3).then(|| format!("# before {left} kills\n{}", any(&mut random).1));
        subject.while_sending(|server| {
            std::thread::scope(|scope| {
                // Another deployment of the same pipeline takes over, unless the server is killed before.
                scope.spawn(|| changed.map(|manifest| client.apply(&manifest).is_ok()));
                // Not a wait for something to happen: the moment is what is random.
                std::thread::sleep(Duration::from_millis(random.below(LIFE_MS)));
                server.kill()
            })?;
            left -= 1;
            if left > 0 && random.one_in(4) {
                server.start_and_kill(Duration::from_millis(random.below(START_MS)))?;
                left -= 1;
            }
            server.start_again()?;
            Ok(())
        })?;
    }
    println!("{}", subject.check().with_context(|| format!("seed {seed}"))?);
    Ok(())
}

#[test]
fn state_is_exact_through_a_crash_at_every_named_point() -> anyhow::Result<()> {
    let (mut random, seed) = seeded()?;
    let mut subject = Subject::new(seed)?;
    let runs = setting("MILLSTREAM_CRASH_RUNS")?.unwrap_or(RUNS).div_ceil(POINTS.len() as u64);
    for _ in 0..runs {
        for point in POINTS {
            let crashed = crash_at(&mut subject, point, &mut random);
            crashed.with_context(|| format!("seed {seed}, at `{point}`"))?;
        }
    }
    println!("{}", subject.check().with_context(|| format!("seed {seed}"))?);
    Ok(())
}

/// Lets the server die at a point, sees that it did, and starts it again.
fn crash_at(subject: &mut Subject, point: &str, random: &mut Random) -> anyhow::Result<()> {
    let (name, manifest) = any(random);
    let client = subject.client();
    let checkpoints = format!("/v1/pipelines/{name}/checkpoints");
    let post = |path: &str, body: serde_json::Value| {
        client.send::<serde_json::Value>("POST", path, "application/json", body.to_string().as_bytes())
    };
    if point.starts_with("restore-") {
        // To what it has already, so that what it writes afterwards is what it would have written anyway.
        subject.drained()?;
        let begun = post(&checkpoints, json!({}))?;
        let path = format!("/v1/operations/{}?wait_ms=1000", begun["id"]);
        let taken = until(PATIENCE, "the savepoint", || {
            let now: serde_json::Value = client.get(&path)?;
            ensure!(now["state"] != "failed", "{now:#}");
            Ok((now["state"] == "succeeded").then_some(now))
        })?;
        let server = subject.server();
        server.kill()?;
        ensure!(server.start_armed(point, 1)?, "this point is reached by a restore, not before");
        // There need not be an answer any more.
        drop(post(&format!("/v1/pipelines/{name}/restore"), json!({ "checkpoint": taken["result"]["checkpoint"] })));
        return died(server, || ());
    }
    if point.starts_with("checkpoint-") {
        let count = 1 + random.below(3);
        return subject.while_sending(|server| {
            server.kill()?;
            ensure!(server.start_armed(point, count)?, "this point is reached when a checkpoint is taken, not before");
            died(server, || drop(post(&checkpoints, json!({}))))
        });
    }
    if point.starts_with("upgrade-") {
        let changed = format!("# number {}\n{manifest}", random.next_u64());
        return subject.while_sending(|server| {
            server.kill()?;
            ensure!(server.start_armed(point, 1)?, "this point is reached when a version takes over, not before");
            // The server dies before it can answer.
            died(server, || drop(client.apply(&changed)))
        });
    }
    let count = 1 + random.below(20);
    subject.while_sending(|server| {
        server.kill()?;
        server.start_armed(point, count)?;
        died(server, || ())
    })
}

/// Waits for the server to abort, doing something again and again, and starts it again.
fn died(server: &mut Server, mut meanwhile: impl FnMut()) -> anyhow::Result<()> {
    let status = until(PATIENCE, "the server to reach the point", || {
        let ended = server.ended()?;
        if ended.is_none() {
            meanwhile();
        }
        Ok(ended)
    })?;
    ensure!(status.signal() == Some(ABORTED), "it ended with {status} and not by coming by the point");
    server.start_again()?;
    Ok(())
}

/// One of the pipelines.
fn any(random: &mut Random) -> (&'static str, &'static str) {
    PIPELINES[random.below(PIPELINES.len() as u64) as usize]
}

fn seeded() -> anyhow::Result<(Random, u64)> {
    let fresh = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let seed = setting("MILLSTREAM_CRASH_SEED")?.unwrap_or_else(fresh);
    println!("seed {seed}: MILLSTREAM_CRASH_SEED={seed} repeats the moments as far as a machine repeats itself");
    Ok((Random::new(seed), seed))
}

fn setting(name: &str) -> anyhow::Result<Option<u64>> {
    let value = std::env::var(name).ok();
    value.map(|text| text.parse().with_context(|| format!("{name}={text}"))).transpose()
}

//! SIGKILL at random moments while producers keep sending: at the end no view is lost and none is counted twice.
//!
//! A round is a server on a fresh folder, killed [`ROUND`] times: while it works, while it starts, twice at once.
//! `MILLSTREAM_CRASH_RUNS` says how many kills there are in all (30), `MILLSTREAM_CRASH_SEED` repeats a run;
//! `cargo run -p xtask -- crash --runs 1000 --seed 7` sets both.
#![expect(clippy::print_stdout, reason = "the seed must be seen to be repeated")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use e2e::PATIENCE;
use harness::clicks::{Answer, Clicks, Comparison, Shape, page_number};
use harness::{Client, Producer, Random, Server, tenant_file, until};
use millstream::record::Batch;

const PARTITIONS: u32 = 3;
/// Kills of one server. More make its folder large, and a failure harder to read.
const ROUND: u64 = 30;
/// Longest life of a server that is ready.
const LIFE_MS: u64 = 300;
/// Longest life of a server that is killed while it starts.
const START_MS: u64 = 60;

const SHAPE: Shape = Shape { straggler_one_in: 500, malformed_one_in: 200, ..Shape::SHOP };

#[test]
fn nothing_is_lost_or_doubled_through_kills_at_random_moments() -> anyhow::Result<()> {
    let runs = setting("MILLSTREAM_CRASH_RUNS")?.unwrap_or(ROUND);
    let fresh = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let seed = setting("MILLSTREAM_CRASH_SEED")?.unwrap_or_else(fresh);
    println!("seed {seed}: MILLSTREAM_CRASH_SEED={seed} repeats the moments as far as a machine repeats itself");
    let mut random = Random::new(seed);
    let mut killed = 0;
    while killed < runs {
        let kills = ROUND.min(runs - killed);
        let report = round(&mut random, kills).with_context(|| format!("seed {seed}, after {killed} kills"))?;
        killed += kills;
        println!("{killed} kills: {report}");
    }
    Ok(())
}

fn setting(name: &str) -> anyhow::Result<Option<u64>> {
    let value = std::env::var(name).ok();
    value.map(|text| text.parse().with_context(|| format!("{name}={text}"))).transpose()
}

fn round(random: &mut Random, kills: u64) -> anyhow::Result<String> {
    let mut server = Server::start()?;
    let client = server.client();
    client.push_plugins(&["parse-json", "count"])?;
    client.create_topic("clicks", PARTITIONS)?;
    client.apply(&tenant_file("web-shop", "pipelines/page-views.toml")?)?;
    let enough = AtomicBool::new(false);
    let streams = std::thread::scope(|scope| {
        let (failed, failure) = channel();
        let producers: Vec<_> = (0..PARTITIONS)
            .map(|partition| {
                let (client, failed, enough, seed) = (client.clone(), failed.clone(), &enough, random.next_u64());
                scope.spawn(move || {
                    let outcome = produce(&client, partition, seed, enough);
                    if outcome.is_err() {
                        // The killing loop is told, or has ended already and joins.
                        failed.send(()).ok();
                    }
                    outcome
                })
            })
            .collect();
        let killing = kill_again_and_again(&mut server, random, kills, &failure);
        enough.store(true, Ordering::Relaxed);
        let mut streams = Vec::new();
        for producer in producers {
            streams.push(producer.join().map_err(|_| anyhow::anyhow!("a producer panicked"))??);
        }
        killing.map(|()| streams)
    })?;
    check(&client, streams)
}

/// Kills the server, and leaves it running.
fn kill_again_and_again(
    server: &mut Server,
    random: &mut Random,
    kills: u64,
    failure: &Receiver<()>,
) -> anyhow::Result<()> {
    let mut left = kills;
    while left > 0 {
        // Not a wait for something to happen: the moment is what is random.
        match failure.recv_timeout(Duration::from_millis(random.below(LIFE_MS))) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => bail!("a producer failed"),
        }
        server.kill()?;
        left -= 1;
        if left > 0 && random.one_in(4) {
            server.start_and_kill(Duration::from_millis(random.below(START_MS)))?;
            left -= 1;
        }
        server.start_again()?;
    }
    Ok(())
}

/// Sends batches of any size until it is enough, and answers what was sent.
fn produce(client: &Client, partition: u32, seed: u64, enough: &AtomicBool) -> anyhow::Result<(Clicks, Producer)> {
    let mut random = Random::new(seed);
    let mut clicks = Clicks::new(SHAPE, seed, partition);
    let mut producer = Producer::new(client.clone(), "clicks", partition, i64::from(partition) + 1);
    while !enough.load(Ordering::Relaxed) {
        let mut batch = Batch::default();
        let rows = 1 + random.below(400) as usize;
        clicks.next_rows(rows, 10_000, &mut batch);
        match random.one_in(10) {
            true => producer.send_twice(&batch)?,
            false => producer.send(&batch)?,
        }
    }
    Ok((clicks, producer))
}

/// Ends the streams and compares all that the pipeline has written with the answer.
fn check(client: &Client, streams: Vec<(Clicks, Producer)>) -> anyhow::Result<String> {
    let mut answer = Answer::default();
    let end_ms = Clicks::end_ms(streams.iter().map(|(clicks, _)| clicks));
    let (mut retries, mut duplicates) = (0, 0);
    for (clicks, mut producer) in streams {
        let mut closing = Batch::default();
        Clicks::closing_row(end_ms, &mut closing);
        producer.send(&closing)?;
        answer.add(clicks.answer());
        retries += producer.retries;
        duplicates += producer.duplicates;
    }
    let start = Instant::now();
    let usage = client.drained("page-views", PATIENCE)?.usage;
    let drained = start.elapsed();
    let sent = answer.rows + u64::from(PARTITIONS);
    ensure!(client.count("clicks")? == sent, "the log has {} records of {sent} acknowledged", client.count("clicks")?);
    let mut results = Vec::new();
    for record in client.all_records("page-views-per-minute")? {
        let value = record.json()?;
        let page = value["key"].as_str().and_then(page_number).context("a result has a page")?;
        let start = value["start"].as_i64().context("a result has a start")?;
        results.push((page, start, value["count"].as_u64().context("a result has a count")?));
    }
    let comparison = Comparison::new(&answer, results);
    ensure!(comparison.is_exact(), "{comparison:#?}");
    let late = client.count("late-clicks")?;
    ensure!((late, answer.late) == (usage.late, late), "{late} late rows, {} foreseen, {usage:?}", answer.late);
    let mut letters = BTreeMap::new();
    for letter in client.all_records("bad-clicks")? {
        let place = ["millstream.partition", "millstream.offset"].map(|name| letter.header(name).map(str::to_owned));
        *letters.entry(place).or_insert(0) += 1;
    }
    ensure!(letters.values().all(|&count| count == 1), "a row became two dead letters");
    ensure!(letters.len() as u64 == answer.malformed, "{} dead letters, {} foreseen", letters.len(), answer.malformed);
    ensure!(usage.records_in == sent, "{usage:?} counts not the {sent} records that there are");
    Ok(format!(
        "{sent} records ({retries} batches sent again, {duplicates} known already), {} windows right, {late} late, {} dead letters, \
         lost 0, doubled 0; read to the end in {drained:?}",
        comparison.right, answer.malformed
    ))
}

#[test]
fn a_server_processes_again_after_a_kill() -> anyhow::Result<()> {
    let mut server = Server::start()?;
    let client = server.client();
    client.push_plugins(&["parse-json", "count"])?;
    client.create_topic("clicks", 1)?;
    client.apply(&tenant_file("web-shop", "pipelines/page-views.toml")?)?;
    let mut clicks = Clicks::new(SHAPE, 1, 0);
    let mut producer = Producer::new(client.clone(), "clicks", 0, 1);
    for _ in 0..2 {
        let before = client.pipeline("page-views")?.usage.commits;
        let mut batch = Batch::default();
        clicks.next_rows(100, 10_000, &mut batch);
        producer.send(&batch)?;
        until(PATIENCE, "a commit after the start", || {
            Ok((client.pipeline("page-views")?.usage.commits > before).then_some(()))
        })?;
        server.kill()?;
        server.start_again()?;
    }
    Ok(())
}

//! Pipelines as folders: `cases/NAME/pipeline.toml`, what goes in (`input.jsonl`) and what must come out
//! (`expected.jsonl`), or why it must be refused (`error.txt`).
//!
//! Each case runs twice on a server of its own: straight, and with a SIGKILL in the middle of its input. What comes out
//! must be the same. A line of `input.jsonl` is a record with its `topic`; a line of `expected.jsonl` a record with its
//! `topic`, of which only what the line says is compared, and whose order in its topic does not matter. Topics that are
//! read are made with two partitions. `MILLSTREAM_CASE` runs only the cases whose name contains it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use e2e::PATIENCE;
use harness::{Client, Record, Server, refusal};
use millstream::pipeline::spec::Spec;
use serde_json::{Value, json};

const PARTITIONS: u32 = 2;
/// The plugins that cases may use. A server gets those whose names its manifest has in it.
const PLUGINS: [&str; 5] = ["parse-json", "parse-access-log", "filter", "count", "stats"];

#[test]
fn every_case_gives_what_it_should_straight_and_through_a_kill() -> anyhow::Result<()> {
    let only = std::env::var("MILLSTREAM_CASE").unwrap_or_default();
    let mut runs = Vec::new();
    for folder in folders()? {
        if folder.to_string_lossy().contains(&only) {
            runs.push((folder.clone(), false));
            // What is refused leaves nothing that a kill could disturb.
            if !folder.join("error.txt").exists() {
                runs.push((folder, true));
            }
        }
    }
    assert!(!runs.is_empty(), "no case is named `{only}`");
    let (runs, failures) = (Mutex::new(runs.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((folder, killed)) = lock(&runs).next() {
                    if let Err(error) = run(&folder, killed) {
                        let how = if killed { "with a kill" } else { "straight" };
                        lock(&failures).push(format!("{}, {how}: {error:#}", folder.display()));
                    }
                }
            });
        }
    });
    let failures = lock(&failures);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folders() -> anyhow::Result<Vec<PathBuf>> {
    let cases = Path::new(env!("MILLSTREAM_WORKSPACE")).join("tests/e2e/cases");
    let mut folders = Vec::new();
    for entry in fs::read_dir(&cases)? {
        folders.push(entry?.path());
    }
    folders.sort();
    Ok(folders)
}

fn run(folder: &Path, killed: bool) -> anyhow::Result<()> {
    let manifest = fs::read_to_string(folder.join("pipeline.toml")).context("read pipeline.toml")?;
    let mut server = Server::start()?;
    let client = server.client();
    client.push_plugins(&PLUGINS.into_iter().filter(|name| manifest.contains(name)).collect::<Vec<_>>())?;
    let spec = manifest.parse::<Spec>();
    if let Ok(spec) = &spec {
        for topic in &spec.sources {
            client.create_topic(topic.as_str(), PARTITIONS)?;
        }
    }
    let error = folder.join("error.txt");
    if error.exists() {
        return refused(&client, &manifest, fs::read_to_string(error)?.trim());
    }
    let spec = spec?;
    client.apply(&manifest)?;
    let input = lines(&folder.join("input.jsonl"))?;
    let (first, second) = input.split_at(input.len() / 2);
    send(&client, first)?;
    if killed {
        server.kill()?;
        server.start_again()?;
    }
    send(&client, second)?;
    client.drained(spec.name.as_str(), PATIENCE)?;
    compare(&client, &spec, &lines(&folder.join("expected.jsonl"))?)
}

fn refused(client: &Client, manifest: &str, expected: &str) -> anyhow::Result<()> {
    let refusal = refusal(client.apply(manifest))?;
    let text = format!("{}: {}", refusal.code, refusal.detail);
    if text != expected {
        bail!("refused with\n  {text}\ninstead of\n  {expected}");
    }
    Ok(())
}

fn lines(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("`{}`, line {number}: {line}", path.display()))
        })
        .collect()
}

/// Sends records in order, one request for each run of records of the same topic.
fn send(client: &Client, records: &[Value]) -> anyhow::Result<()> {
    for same in records.chunk_by(|left, right| left["topic"] == right["topic"]) {
        let topic = same[0]["topic"].as_str().context("a record of the input names its topic")?;
        let mut body = String::new();
        for record in same {
            let mut record = record.as_object().context("a record is an object")?.clone();
            record.remove("topic");
            // Values that are objects are written as the JSON they are.
            if let Some(value) = record.get_mut("value")
                && (value.is_object() || value.is_array())
            {
                *value = Value::String(value.to_string());
            }
            body += &format!("{}\n", Value::Object(record));
        }
        client.produce_json(topic, &body)?;
    }
    Ok(())
}

fn compare(client: &Client, spec: &Spec, expected: &[Value]) -> anyhow::Result<()> {
    let topics = spec.targets();
    let mut wanted: BTreeMap<&str, Vec<&Value>> = topics.iter().map(|topic| (topic.as_str(), Vec::new())).collect();
    for line in expected {
        let topic = line["topic"].as_str().context("an expected record names its topic")?;
        wanted.get_mut(topic).with_context(|| format!("the pipeline does not write `{topic}`"))?.push(line);
    }
    for (topic, lines) in wanted {
        let mut got: Vec<Value> = client.all_records(topic)?.iter().map(|record| seen(topic, record)).collect();
        for line in lines {
            let Some(place) = got.iter().position(|record| includes(record, line)) else {
                let rest: Vec<String> = got.iter().map(Value::to_string).collect();
                bail!("`{topic}` lacks\n  {line}\nand what is left of it is\n  {}", rest.join("\n  "));
            };
            got.swap_remove(place);
        }
        if !got.is_empty() {
            let rest: Vec<String> = got.iter().map(Value::to_string).collect();
            bail!("`{topic}` has more than it should:\n  {}", rest.join("\n  "));
        }
    }
    Ok(())
}

/// A record as an expected line describes it: a value that is a JSON object as that object.
fn seen(topic: &str, record: &Record) -> Value {
    let value = record.value.as_ref().map(|text| {
        serde_json::from_str(text).ok().filter(Value::is_object).unwrap_or_else(|| Value::String(text.clone()))
    });
    let headers: BTreeMap<_, _> = record.headers.iter().cloned().collect();
    json!({ "topic": topic, "timestamp": record.timestamp, "key": record.key, "value": value, "headers": headers })
}

/// Whether a record has everything that a line says: of the record itself and of its headers what the line names, and
/// all else exactly.
fn includes(record: &Value, line: &Value) -> bool {
    let Some(fields) = line.as_object() else { return false };
    fields.iter().all(|(name, expected)| match (name.as_str(), expected) {
        ("headers", Value::Object(headers)) => headers.iter().all(|(name, value)| record["headers"][name] == *value),
        _ => record[name] == *expected,
    })
}

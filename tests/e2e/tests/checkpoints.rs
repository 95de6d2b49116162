//! Checkpoints of a running pipeline on a real server: restored in place, forked, rewound and undone, and through kills.
#![expect(clippy::print_stdout, reason = "what was measured is to be seen")]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::PATIENCE;
use harness::{Client, Options, Random, Server, refusal, until};
use serde_json::{Value, json};

const MANIFEST: &str = r#"
name = "views"

[source]
topics = ["clicks"]

[checkpoint]
every = "1s"
keep = 2

[[steps]]
name = "parse"
plugin = "parse-json"
config = { key = "page", timestamp = { field = "at" } }

[[steps]]
name = "count"
plugin = "count"
window = { tumbling = "1m" }

[output]
topic = "results"
"#;

/// Milliseconds that a click is after the one before.
const STEP_MS: u64 = 100;

fn ready() -> anyhow::Result<(Server, Client)> {
    ready_with(Options::default())
}

fn ready_with(options: Options) -> anyhow::Result<(Server, Client)> {
    let server = Server::start_with(options)?;
    let client = server.client();
    client.push_plugins(&["parse-json", "count"])?;
    client.create_topic("clicks", 1)?;
    client.apply(MANIFEST)?;
    Ok((server, client))
}

/// Sends clicks number `from..to`, one each [`STEP_MS`], over three pages.
fn send(client: &Client, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
    let lines: String = numbers
        .map(|n| {
            json!({"timestamp": n * STEP_MS, "value": json!({"page": page(n), "at": n * STEP_MS}).to_string()})
                .to_string()
                + "\n"
        })
        .collect();
    client.produce_json("clicks", &lines)?;
    Ok(())
}

fn page(number: u64) -> String {
    format!("p{}", number % 3)
}

/// How often each page was seen in each minute that is over.
fn expected(numbers: std::ops::Range<u64>) -> BTreeMap<(String, u64), u64> {
    let last = (numbers.end - 1) * STEP_MS / 60_000 * 60_000;
    let mut counts = BTreeMap::new();
    for number in numbers {
        let minute = number * STEP_MS / 60_000 * 60_000;
        if minute < last {
            *counts.entry((page(number), minute)).or_default() += 1;
        }
    }
    counts
}

/// What is in a topic of results from a place on, each result once.
fn results(client: &Client, topic: &str, from: usize) -> anyhow::Result<BTreeMap<(String, u64), u64>> {
    let mut counts = BTreeMap::new();
    for record in client.all_records(topic)?.into_iter().skip(from) {
        let value = record.json()?;
        let key = (value["key"].as_str().context("a key")?.to_owned(), value["start"].as_u64().context("a start")?);
        let count = value["count"].as_u64().context("a count")?;
        ensure!(counts.insert(key.clone(), count).is_none(), "{key:?} has two results in `{topic}`");
    }
    Ok(counts)
}

fn operate(client: &Client, path: &str, body: &Value) -> anyhow::Result<Value> {
    let begun: Value = client.send("POST", path, "application/json", body.to_string().as_bytes())?;
    let id = begun["id"].as_u64().context("an operation has a number")?;
    let ended: Value = until(PATIENCE, "the end of the operation", || {
        let now: Value = client.get(&format!("/v1/operations/{id}?wait_ms=1000"))?;
        Ok((now["state"] != "running").then_some(now))
    })?;
    Ok(ended)
}

fn succeed(client: &Client, path: &str, body: &Value) -> anyhow::Result<Value> {
    let ended = operate(client, path, body)?;
    ensure!(ended["state"] == "succeeded", "{ended:#}");
    Ok(ended["result"].clone())
}

fn drained(client: &Client, pipeline: &str) -> anyhow::Result<()> {
    client.drained(pipeline, PATIENCE)?;
    Ok(())
}

#[test]
fn a_pipeline_goes_on_from_a_savepoint_as_if_nothing_had_happened_since() -> anyhow::Result<()> {
    let (server, client) = ready()?;
    send(&client, 0..1000)?;
    drained(&client, "views")?;
    let taken = succeed(&client, "/v1/pipelines/views/checkpoints", &json!({"note": "one"}))?;
    let written = client.all_records("results")?.len();
    send(&client, 1000..2500)?;
    drained(&client, "views")?;
    let before = client.pipeline("views")?;

    let restored = succeed(&client, "/v1/pipelines/views/restore", &json!({"checkpoint": taken["checkpoint"]}))?;
    ensure!(restored["checkpoint"] == taken["checkpoint"] && restored["undo"].is_string(), "{restored:#}");
    drained(&client, "views")?;
    send(&client, 2500..4000)?;
    drained(&client, "views")?;
    // What had been written stays, and is written once more from the savepoint on.
    let all = client.all_records("results")?.len();
    let again = all - expected(0..4000).len();
    let after = results(&client, "results", written + again)?;
    let whole = expected(0..4000);
    ensure!(after.iter().all(|(key, count)| whole.get(key) == Some(count)), "{after:?}, not {whole:?}");
    ensure!(written + again + after.len() == all && again == expected(0..2500).len() - written, "{again} of {all}");
    let usage = client.pipeline("views")?.usage;
    ensure!(usage.records_in == before.usage.records_in + 1500 + 1500, "what was used stays used: {usage:?}");

    // And back to before the restore: the state has the clicks up to 2500 once.
    let undone = succeed(&client, "/v1/pipelines/views/restore", &json!({"checkpoint": restored["undo"]}))?;
    ensure!(undone["pause_ms"].is_f64(), "{undone:#}");
    drained(&client, "views")?;
    let (all, new) = (client.all_records("results")?.len(), whole.len() - expected(0..2500).len());
    let last = results(&client, "results", all - new)?;
    ensure!(last.iter().all(|(key, count)| whole.get(key) == Some(count)), "{last:?}");
    ensure!(server.trouble().is_empty(), "{:?}", server.trouble());
    Ok(())
}

#[test]
fn a_fork_goes_its_own_way_from_a_savepoint_of_another_pipeline() -> anyhow::Result<()> {
    let (_server, client) = ready()?;
    send(&client, 0..900)?;
    drained(&client, "views")?;
    let taken = succeed(&client, "/v1/pipelines/views/checkpoints", &json!({}))?;
    let written = client.all_records("results")?.len();
    send(&client, 900..2000)?;
    let fork = json!({"checkpoint": taken["checkpoint"], "as": "what-if"});
    let forked = succeed(&client, "/v1/pipelines/views/restore", &fork)?;
    ensure!(forked["pipeline"] == "what-if" && forked["undo"].is_null(), "{forked:#}");
    drained(&client, "what-if")?;
    drained(&client, "views")?;
    ensure!(results(&client, "results", 0)? == expected(0..2000));
    let own = results(&client, "what-if.results", 0)?;
    ensure!(own.len() == expected(0..2000).len() - written && !own.is_empty(), "{own:?}");
    ensure!(own.iter().all(|(key, count)| expected(0..2000).get(key) == Some(count)), "{own:?}");
    ensure!(client.pipeline("what-if")?.usage.records_in == 1100);
    // Not twice, and not onto the same topic.
    let again =
        client.send::<Value>("POST", "/v1/pipelines/views/restore", "application/json", fork.to_string().as_bytes());
    ensure!(refusal(again)?.code == "pipeline_exists");
    let same_topic = MANIFEST.replace("\"views\"", "\"other\"");
    let fork = json!({"checkpoint": taken["checkpoint"], "as": "other", "manifest": same_topic});
    let refused = operate(&client, "/v1/pipelines/views/restore", &fork)?;
    ensure!(refused["error"]["code"] == "shared_target", "{refused:#}");
    ensure!(refusal(client.pipeline("other"))?.code == "pipeline_not_found");
    Ok(())
}

#[test]
fn a_rewound_pipeline_begins_anew_and_can_be_put_back() -> anyhow::Result<()> {
    let (_server, client) = ready()?;
    send(&client, 0..2000)?;
    drained(&client, "views")?;
    let written = client.all_records("results")?.len();
    // At 60 s: click 600 is the first.
    let rewound = succeed(&client, "/v1/pipelines/views/rewind", &json!({"to-time": 60_000}))?;
    drained(&client, "views")?;
    let again = results(&client, "results", written)?;
    ensure!(again == expected(600..2000), "{again:?}");
    let written = client.all_records("results")?.len();
    let place = json!({"to-offsets": [{"topic": "clicks", "partition": 0, "offset": 1200}]});
    succeed(&client, "/v1/pipelines/views/rewind", &place)?;
    drained(&client, "views")?;
    ensure!(results(&client, "results", written)? == expected(1200..2000));
    let written = client.all_records("results")?.len();
    succeed(&client, "/v1/pipelines/views/restore", &json!({"checkpoint": rewound["undo"]}))?;
    send(&client, 2000..2500)?;
    drained(&client, "views")?;
    let end = results(&client, "results", written)?;
    let whole = expected(0..2500);
    ensure!(end.len() == whole.len() - expected(0..2000).len() && !end.is_empty(), "{end:?}");
    ensure!(end.iter().all(|(key, count)| whole.get(key) == Some(count)), "{end:?}");
    for (place, code) in [
        (json!({"to-offsets": [{"topic": "clicks", "partition": 0, "offset": 2501}]}), "offset_out_of_range"),
        (json!({"to-offsets": [{"topic": "clicks", "partition": 1, "offset": 0}]}), "partition_not_found"),
        (json!({"to-offsets": [{"topic": "results", "partition": 0, "offset": 0}]}), "not_an_input"),
    ] {
        let refused = operate(&client, "/v1/pipelines/views/rewind", &place)?;
        ensure!(refused["error"]["code"] == code, "{refused:#}");
    }
    Ok(())
}

#[test]
fn checkpoints_by_the_clock_are_taken_when_something_changed_and_the_newest_are_kept() -> anyhow::Result<()> {
    let (server, client) = ready_with(Options::expecting(&["checkpoint_chunk_truncated", "has 1 bytes of"]))?;
    let ids = |client: &Client| -> anyhow::Result<Vec<String>> {
        let listed: Value = client.get("/v1/pipelines/views/checkpoints")?;
        let items = listed["items"].as_array().context("a list")?;
        Ok(items.iter().filter_map(|item| item["id"].as_str().map(str::to_owned)).collect())
    };
    let mut seen: Vec<String> = Vec::new();
    for round in 0..4 {
        send(&client, round * 100..(round + 1) * 100)?;
        drained(&client, "views")?;
        until(PATIENCE, "a checkpoint by the clock", || {
            let now = ids(&client)?;
            let new = now.last().filter(|id| !seen.contains(id)).cloned();
            ensure!(now.len() <= 3, "no more are kept than one that is new: {now:?}");
            seen.extend(new.clone());
            Ok(new)
        })?;
    }
    until(PATIENCE, "the newest two", || Ok((ids(&client)?.len() == 2).then_some(())))?;
    let shown = client.pipeline("views")?.checkpoint.context("it is shown")?;
    ensure!(ids(&client)?.contains(&shown.id.to_string()));

    let verify = format!("/v1/pipelines/views/checkpoints/{}/verify", shown.id);
    let whole = succeed(&client, &verify, &json!({}))?;
    ensure!(whole["verified"]["faults"] == json!([]) && whole["verified"]["bytes"].as_u64() > Some(0), "{whole:#}");

    // A chunk that is damaged: nothing changes, and the pipeline runs on.
    let chunks = server.folder().join("checkpoints/default/views/chunks");
    for chunk in std::fs::read_dir(chunks)? {
        std::fs::write(chunk?.path(), b"x")?;
    }
    let verified = succeed(&client, &verify, &json!({}))?["verified"].clone();
    let faults = verified["faults"].as_array().context("a list")?;
    ensure!(faults.len() as u64 == verified["chunks"] && !faults.is_empty(), "{verified:#}");
    ensure!(faults.iter().all(|fault| fault["code"] == "checkpoint_chunk_truncated"), "{verified:#}");
    let none = operate(&client, "/v1/pipelines/views/checkpoints/99-1/verify", &json!({}))?;
    ensure!(none["error"]["code"] == "checkpoint_not_found", "{none:#}");
    let before = client.pipeline("views")?;
    let refused = operate(&client, "/v1/pipelines/views/restore", &json!({"checkpoint": shown.id}))?;
    ensure!(refused["error"]["code"] == "checkpoint_chunk_truncated", "{refused:#}");
    let now = client.pipeline("views")?;
    ensure!((now.id, now.usage) == (before.id, before.usage));
    Ok(())
}

#[test]
fn an_upgrade_keeps_the_state_and_a_rollback_brings_back_version_and_state() -> anyhow::Result<()> {
    let (server, client) = ready()?;
    send(&client, 0..900)?;
    drained(&client, "views")?;
    // Another configuration is another version of what runs: pages have other names from here on.
    let upgraded = MANIFEST.replace("key = \"page\"", "key = \"other\"");
    let applied = client.apply(&upgraded)?;
    ensure!(applied["change"] == "changed" && applied["checkpoint"].is_string(), "{applied:#}");
    let pause = applied["pause_ms"].as_f64().context("it is measured")?;
    println!("the upgrade paused the pipeline for {pause:.2} ms");
    let lines: String = (900..2000_u64)
        .map(|n| {
            json!({"timestamp": n * STEP_MS, "value": json!({"other": "new", "page": page(n), "at": n * STEP_MS}).to_string()}).to_string() + "\n"
        })
        .collect();
    client.produce_json("clicks", &lines)?;
    drained(&client, "views")?;
    let both = results(&client, "results", 0)?;
    let minute = |start: u64, key: &str| both.get(&(key.to_owned(), start)).copied().unwrap_or_default();
    // What was counted before the upgrade is kept: the second minute has clicks of both versions.
    ensure!(minute(60_000, "p0") == 100 && minute(60_000, "new") == 300, "{both:?}");
    ensure!(client.pipeline("views")?.usage.records_in == 2000);

    let written = client.all_records("results")?.len();
    let rolled = succeed(&client, "/v1/pipelines/views/rollback", &json!({}))?;
    ensure!(rolled["checkpoint"] == applied["checkpoint"], "{rolled:#}");
    drained(&client, "views")?;
    ensure!(client.pipeline("views")?.manifest == MANIFEST);
    let again = results(&client, "results", written)?;
    let whole = expected(0..2000);
    ensure!(again.len() == whole.len() - expected(0..900).len(), "{again:?}");
    ensure!(again.iter().all(|(key, count)| whole.get(key) == Some(count)), "{again:?}");
    let further = operate(&client, "/v1/pipelines/views/rollback", &json!({}))?;
    ensure!(further["error"]["code"] == "no_upgrade", "{further:#}");

    // One that cannot run on the state that there is leaves all as it is, running.
    let before = client.pipeline("views")?;
    let refused = client.apply(&MANIFEST.replace("tumbling = \"1m\"", "tumbling = \"2m\""));
    ensure!(refusal(refused)?.code == "state_conflict");
    send(&client, 2000..2500)?;
    drained(&client, "views")?;
    let now = client.pipeline("views")?;
    ensure!(now.id == before.id && now.manifest == before.manifest);
    ensure!(now.usage.records_in == before.usage.records_in + 500);
    ensure!(server.trouble().is_empty(), "{:?}", server.trouble());
    Ok(())
}

#[test]
fn a_kill_during_a_checkpoint_or_a_restore_leaves_all_as_before_or_after() -> anyhow::Result<()> {
    let (mut server, client) = ready()?;
    let mut random = Random::new(17);
    send(&client, 0..1500)?;
    drained(&client, "views")?;
    let taken = succeed(&client, "/v1/pipelines/views/checkpoints", &json!({}))?;
    let mut sent = 1500;
    let mut written = client.all_records("results")?.len();
    for round in 0..12_u64 {
        send(&client, sent..sent + 700)?;
        sent += 700;
        drained(&client, "views")?;
        let id = client.pipeline("views")?.id;
        let (path, body) = match round % 3 {
            0 => ("/v1/pipelines/views/checkpoints", json!({})),
            1 => ("/v1/pipelines/views/restore", json!({"checkpoint": taken["checkpoint"]})),
            _ => ("/v1/pipelines/views/rewind", json!({"to-time": 0})),
        };
        let _: Value = client.send("POST", path, "application/json", body.to_string().as_bytes())?;
        // Not a wait for something to happen: the moment is what is random.
        std::thread::sleep(Duration::from_micros(random.below(15_000)));
        server.kill()?;
        server.start_again()?;
        drained(&client, "views")?;
        // As before, or put back and caught up: the state is the same, and so is what comes of it.
        let now = client.pipeline("views")?;
        ensure!(round % 3 > 0 || now.id == id, "a checkpoint changes nothing");
        for checkpoint in
            client.get::<Value>("/v1/pipelines/views/checkpoints")?["items"].as_array().context("a list")?
        {
            ensure!(checkpoint["error"].is_null(), "{checkpoint:#}");
        }
        let all = client.all_records("results")?;
        let whole = expected(0..sent);
        let mut counts: BTreeMap<(String, u64), Vec<u64>> = BTreeMap::new();
        for record in &all {
            let value = record.json()?;
            let key =
                (value["key"].as_str().unwrap_or_default().to_owned(), value["start"].as_u64().unwrap_or_default());
            counts.entry(key).or_default().push(value["count"].as_u64().unwrap_or_default());
        }
        ensure!(counts.keys().eq(whole.keys()), "round {round}: {counts:?}, not {whole:?}");
        for (key, counts) in &counts {
            ensure!(counts.iter().all(|count| count == &whole[key]), "round {round}: {key:?} has {counts:?}");
        }
        ensure!(all.len() >= written);
        written = all.len();
    }
    let restored = succeed(&client, "/v1/pipelines/views/restore", &json!({"checkpoint": taken["checkpoint"]}))?;
    ensure!(restored["checkpoint"] == taken["checkpoint"]);
    Ok(())
}

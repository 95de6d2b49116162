//! Plugins whose answers depend on how rows are divided into calls are refused before they run; those of this repository are
//! not.

use std::process::Command;

use anyhow::{Context, ensure};
use harness::{Server, binary, component, refusal};
use serde_json::{Value, json};

/// Plugins with a configuration under which they work on the made-up rows.
fn plugins() -> Vec<(&'static str, Value)> {
    let pattern = json!({"stages": [
        {"name": "first", "where": "id >= 0"},
        {"name": "then", "where": "id >= 0", "times": 2},
    ], "within_ms": 2000});
    vec![
        ("count", json!({})),
        ("dedupe", json!({"ttl_ms": 1000, "fields": ["name"]})),
        ("filter", json!({"where": "id >= 0", "split": true})),
        ("join", json!({"by": {"interval": {"lower_ms": -1000, "upper_ms": 1000}}, "kind": "left"})),
        ("join", json!({"by": {"window": {"size_ms": 2000}}})),
        ("parse-access-log", json!({})),
        ("parse-json", json!({"key": "name", "timestamp": {"field": "time"}})),
        ("pattern", pattern),
        ("sessionize", json!({"gap_ms": 1000})),
        ("stats", json!({"field": "id"})),
        ("top-n", json!({"field": "id", "count": 3})),
        ("tally", json!({"every": 2, "quiet_ms": 1000})),
        ("last-sums", json!({})),
        ("look-up", json!({})),
        ("unsteady", json!({"by": "row"})),
    ]
}

/// What `plugin check` says: its answer, or what it refuses with.
fn check(plugin: &str, config: &Value, more: &[&str]) -> anyhow::Result<Result<Value, String>> {
    let (program, file) = (binary()?, component(plugin)?);
    let mut command = Command::new(program);
    command.args(["plugin", "check", "-o", "json", "--config", &config.to_string()]).args(more).arg(file);
    let output = command.output().context("run the program")?;
    Ok(match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout)?),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    })
}

#[test]
fn plugins_of_this_repository_answer_alike_however_rows_are_divided() -> anyhow::Result<()> {
    for (plugin, config) in plugins() {
        let checked = check(plugin, &config, &[])?;
        let checked = checked.map_err(|refused| anyhow::anyhow!("{plugin} {config}: {refused}"))?;
        ensure!(checked["trial"] == "same", "{plugin} {config}: {checked}");
    }
    Ok(())
}

#[test]
fn a_static_and_the_order_of_a_map_are_refused_by_check() -> anyhow::Result<()> {
    for by in ["static", "order"] {
        let refused = check("unsteady", &json!({ "by": by }), &[])?.err().context("it depends on calls")?;
        ensure!(refused.contains("[answers_differ]") && refused.contains("plugin `plugin`"), "{by}: {refused}");
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rows.jsonl");
    std::fs::write(&file, "{\"key\":\"k\",\"timestamp\":7,\"value\":\"mine\"}\n".repeat(2))?;
    let rows = ["--rows", file.to_str().context("a path")?];
    let refused = check("unsteady", &json!({"by": "static"}), &rows)?.err().context("it depends on calls")?;
    ensure!(refused.contains("value `row 1`") && refused.contains("value `row 0`"), "{refused}");
    std::fs::write(&file, "{\"key\":\"k\"}\n")?;
    let refused = check("unsteady", &json!({"by": "row"}), &rows)?.err().context("there is no value")?;
    ensure!(refused.contains("[invalid_record]") && refused.contains("line 1"), "{refused}");
    Ok(())
}

/// A pipeline that gives what the plugin gives.
fn manifest(by: &str) -> String {
    format!(
        "name = \"p\"\nsource = {{ topics = [\"in\"] }}\nsteps = [{{ name = \"step\", plugin = \"unsteady\", config = {{ by = \"{by}\" }} }}]\noutput = {{ topic = \"out\" }}\n"
    )
}

#[test]
fn a_static_and_the_order_of_a_map_are_refused_when_they_are_deployed() -> anyhow::Result<()> {
    let server = Server::start()?;
    let client = server.client();
    client.push_plugins(&["unsteady"])?;
    client.create_topic("in", 2)?;
    let refused = |by: &str| -> anyhow::Result<()> {
        let refused = refusal(client.apply(&manifest(by)))?;
        ensure!(refused.code == "answers_differ", "{by}: {refused:?}");
        Ok(())
    };
    // On made-up rows, and nothing is left of it.
    refused("static")?;
    ensure!(client.topic("out").is_err(), "no topic is made for what is refused");
    client.apply(&manifest("row"))?;
    client.produce_json("in", &"{\"key\":\"k\",\"value\":\"x\"}\n".repeat(300))?;
    let before = client.drained("p", e2e::PATIENCE)?;
    // A change on the topic's records: what ran goes on as it was.
    for by in ["static", "order"] {
        refused(by)?;
    }
    let after = client.pipeline("p")?;
    ensure!(after.manifest == before.manifest && after.usage.records_in == 300, "{after:?}");
    ensure!(client.count("out")? == 300);
    ensure!(after.steps[0].metrics == before.steps[0].metrics);
    // Whoever takes such answers for the same says so.
    ensure!(client.apply_untried(&manifest("static"))?["change"] == "changed");
    client.drained("p", e2e::PATIENCE)?;
    Ok(())
}

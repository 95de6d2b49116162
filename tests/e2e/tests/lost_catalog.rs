//! A catalog whose files cannot be written, are lost or are damaged: state in the log is never lost with them, and nothing
//! is processed twice.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use e2e::PATIENCE;
use harness::{Client, Options, Server, component, refusal, until};
use millstream::pipeline::status::State;
use serde_json::{Value, json};

const MANIFEST: &str = r#"
name = "tally"
source = { topics = ["rows"] }
steps = [{ name = "tally", plugin = "tally", config = { every = 1, quiet_ms = 10000 } }]
output = { topic = "counts" }
"#;

/// A server with a pipeline that has counted `a` twice.
struct Subject {
    server: Server,
    client: Client,
}

fn counted(options: Options) -> anyhow::Result<Subject> {
    let server = Server::start_with(options)?;
    let client = server.client();
    let subject = Subject { server, client };
    subject.push("tally")?;
    subject.client.create_topic("rows", 1)?;
    subject.client.apply(MANIFEST)?;
    subject.send(2)?;
    ensure!(subject.counts()? == ["count 1", "count 2"]);
    Ok(subject)
}

impl Subject {
    /// Uploads a package of the workspace as the newest version of the plugin `tally`.
    fn push(&self, package: &str) -> anyhow::Result<()> {
        self.client.push("tally", &fs::read(component(package)?)?)?;
        Ok(())
    }

    fn produce(&self, rows: usize) -> anyhow::Result<()> {
        let line = json!({"key": "a", "timestamp": 1, "value": "x"}).to_string() + "\n";
        self.client.produce_json("rows", &line.repeat(rows))?;
        Ok(())
    }

    /// Sends rows, and waits until they are processed.
    fn send(&self, rows: usize) -> anyhow::Result<()> {
        self.produce(rows)?;
        self.client.drained("tally", PATIENCE)?;
        Ok(())
    }

    fn counts(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.client.all_records("counts")?.into_iter().map(|row| row.value.unwrap_or_default()).collect())
    }

    fn orphans(&self) -> anyhow::Result<Value> {
        Ok(self.client.get("/v1/orphans")?)
    }

    fn has_no_orphans(&self) -> anyhow::Result<()> {
        let orphans = self.orphans()?;
        ensure!(orphans == json!({"items": [], "damaged": []}), "{orphans:#}");
        Ok(())
    }

    fn pipelines_folder(&self) -> PathBuf {
        self.server.folder().join("catalog/tenants/default/pipelines")
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        self.server.kill()?;
        self.server.start_again()?;
        Ok(())
    }
}

#[test]
fn a_migrating_upgrade_that_the_catalog_cannot_write_leaves_the_old_version_running_with_its_state()
-> anyhow::Result<()> {
    let mut subject = counted(Options::expecting(&["catalog_storage_failed"]))?;
    let before = subject.client.pipeline("tally")?;
    subject.push("tally-next")?;
    // A folder in the place of what is to be the new file.
    let obstacle = subject.pipelines_folder().join("tally.json.unfinished");
    fs::create_dir(&obstacle)?;
    let refusal = refusal(subject.client.apply(MANIFEST))?;
    ensure!(refusal.code == "catalog_storage_failed", "{refusal}");
    subject.send(1)?;
    ensure!(subject.counts()? == ["count 1", "count 2", "count 3"], "{:?}", subject.counts()?);
    let now = subject.client.pipeline("tally")?;
    ensure!((now.id, &now.steps[0].digest) == (before.id, &before.steps[0].digest), "{now:?}");
    fs::remove_dir(&obstacle)?;
    subject.restart()?;
    subject.send(1)?;
    ensure!(subject.counts()?[3..] == ["count 4"], "{:?}", subject.counts()?);
    subject.has_no_orphans()?;
    // And now it can be written.
    subject.client.apply(MANIFEST)?;
    subject.send(1)?;
    ensure!(subject.counts()?[4].starts_with("count 5, 4 before"), "{:?}", subject.counts()?);
    subject.restart()?;
    subject.has_no_orphans()
}

#[test]
fn nobody_goes_on_while_it_is_not_known_what_the_catalog_names() -> anyhow::Result<()> {
    let mut subject = counted(Options::expecting(&["catalog_unsettled"]))?;
    subject.push("tally-next")?;
    let (folder, away) = (subject.pipelines_folder(), subject.server.folder().join("away"));
    fs::rename(&folder, &away)?;
    fs::write(&folder, "no folder")?;
    let refusal = refusal(subject.client.apply(MANIFEST))?;
    ensure!(refusal.code == "catalog_unsettled", "{refusal}");
    let now = subject.client.pipeline("tally")?;
    let reason = now.reason.context("it says why")?;
    ensure!((now.state, reason.code.as_str()) == (State::Failed, "catalog_unsettled"), "{reason:?}");
    subject.produce(1)?;
    fs::remove_file(&folder)?;
    fs::rename(&away, &folder)?;
    ensure!(subject.counts()? == ["count 1", "count 2"], "{:?}", subject.counts()?);
    let _: Value = subject.client.send("POST", "/v1/pipelines/tally/resume", "application/json", b"")?;
    subject.send(1)?;
    ensure!(subject.counts()? == ["count 1", "count 2", "count 3", "count 4"], "{:?}", subject.counts()?);
    subject.restart()?;
    subject.send(1)?;
    ensure!(subject.counts()?[4..] == ["count 5"], "{:?}", subject.counts()?);
    subject.has_no_orphans()
}

#[test]
fn the_state_of_a_pipeline_whose_file_is_lost_is_kept_until_it_is_adopted() -> anyhow::Result<()> {
    let mut subject = counted(Options::expecting(&["no pipeline runs"]))?;
    let before = subject.client.pipeline("tally")?;
    subject.server.stop()?;
    fs::remove_file(subject.pipelines_folder().join("tally.json"))?;
    for _ in 0..2 {
        subject.server.start_again()?;
        let orphans = subject.orphans()?;
        let orphan = &orphans["items"][0];
        ensure!(orphan["id"] == json!(before.id) && orphan["commits"].as_u64() > Some(0), "{orphans:#}");
        ensure!(orphan["inputs"] == json!([{"topic": "rows", "partition": 0, "position": 2}]), "{orphans:#}");
        subject.server.stop()?;
    }
    subject.server.start_again()?;
    let path = format!("/v1/orphans/{}/adopt", before.id);
    let other = MANIFEST.replace("name = \"tally\", plugin", "name = \"other\", plugin");
    let conflict = subject.client.send::<Value>("POST", &path, "application/toml", other.as_bytes());
    ensure!(refusal(conflict)?.code == "state_conflict");
    // Another version would read the state as something else, and nobody remembers which one wrote it.
    subject.push("tally-next")?;
    let unnamed = refusal(subject.client.send::<Value>("POST", &path, "application/toml", MANIFEST.as_bytes()))?;
    let version = format!("tally@{}", before.steps[0].digest);
    ensure!(unnamed.code == "version_unknown" && unnamed.detail.contains(&version), "{unnamed}");
    let named = MANIFEST.replace("plugin = \"tally\"", &format!("plugin = \"{version}\""));
    let adopted: Value = subject.client.send("POST", &path, "application/toml", named.as_bytes())?;
    ensure!(adopted["change"] == "created" && adopted["pipeline"]["id"] == json!(before.id), "{adopted:#}");
    subject.send(1)?;
    ensure!(subject.counts()? == ["count 1", "count 2", "count 3"], "{:?}", subject.counts()?);
    subject.has_no_orphans()?;
    subject.restart()?;
    subject.send(1)?;
    ensure!(subject.counts()?[3..] == ["count 4"], "{:?}", subject.counts()?);
    let again = subject.client.send::<Value>("POST", &path, "application/toml", MANIFEST.as_bytes());
    ensure!(refusal(again)?.code == "orphan_not_found");
    Ok(())
}

#[test]
fn a_damaged_file_is_put_aside_and_named_and_its_state_is_removed_when_somebody_says_so() -> anyhow::Result<()> {
    let mut subject = counted(Options::expecting(&["no pipeline runs", "put aside"]))?;
    let before = subject.client.pipeline("tally")?;
    subject.client.apply(&MANIFEST.replace("name = \"tally\"\n", "name = \"other\"\n").replace("counts", "others"))?;
    subject.server.stop()?;
    let file = subject.pipelines_folder().join("tally.json");
    let mut bytes = fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes)?;
    subject.server.start_again()?;
    subject.client.drained("other", PATIENCE)?;
    let orphans = subject.orphans()?;
    ensure!(orphans["items"][0]["id"] == json!(before.id), "{orphans:#}");
    let named = orphans["damaged"][0]["file"].as_str().context("it is named")?;
    ensure!(named.ends_with("damaged/tally.json") && fs::read(named)? == bytes, "{orphans:#}");
    // A pipeline of that name gets a deployment of its own.
    subject.client.apply(MANIFEST)?;
    ensure!(subject.client.pipeline("tally")?.id > before.id);
    let path = format!("/v1/orphans/{}", before.id);
    let none: Result<Value, _> = subject.client.send("DELETE", "/v1/orphans/99", "application/json", b"");
    ensure!(refusal(none)?.code == "orphan_not_found");
    // The answer has no body.
    drop(subject.client.send::<Value>("DELETE", &path, "application/json", b""));
    until(PATIENCE, "the orphan to go", || {
        let orphans = subject.orphans()?;
        Ok((orphans["items"] == json!([])).then_some(()))
    })?;
    subject.restart()?;
    let orphans = subject.orphans()?;
    ensure!(orphans["items"] == json!([]) && orphans["damaged"][0]["file"].is_string(), "{orphans:#}");
    Ok(())
}

#[test]
fn what_a_crash_leaves_of_a_restore_goes_at_the_next_start() -> anyhow::Result<()> {
    for point in ["restore-installed", "restore-switched"] {
        let mut subject = counted(Options::default())?;
        let begun: Value = subject.client.send("POST", "/v1/pipelines/tally/checkpoints", "application/json", b"{}")?;
        let path = format!("/v1/operations/{}?wait_ms=1000", begun["id"]);
        let taken = until(PATIENCE, "the savepoint", || {
            let now: Value = subject.client.get(&path)?;
            Ok((now["state"] == "succeeded").then_some(now))
        })?;
        let checkpoint = taken["result"]["checkpoint"].clone();
        subject.send(1)?;
        subject.server.stop()?;
        subject.server.start_armed(point, 1)?;
        let restore = json!({ "checkpoint": checkpoint }).to_string();
        drop(subject.client.send::<Value>(
            "POST",
            "/v1/pipelines/tally/restore",
            "application/json",
            restore.as_bytes(),
        ));
        until(PATIENCE, "the armed server to end", || subject.server.ended())?;
        subject.server.start_again()?;
        subject.client.drained("tally", PATIENCE)?;
        subject.has_no_orphans()?;
        let intents = subject.server.folder().join("catalog/tenants/default/intents");
        ensure!(fs::read_dir(&intents)?.count() == 0, "{point}");
    }
    Ok(())
}

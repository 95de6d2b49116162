//! Upgrades to a version that keeps its state in another layout, as a tenant makes them: a component is uploaded under
//! the name of the plugin, the manifest applied again.

use anyhow::{Context, ensure};
use e2e::PATIENCE;
use harness::{Client, Options, Server, component, refusal, until};
use serde_json::{Value, json};

/// Keys come with the records; `old` is what the next version does with the state of this one.
const MANIFEST: &str = r#"
name = "tally"
source = { topics = ["rows"] }
steps = [{ name = "tally", plugin = "tally", config = { every = 1, quiet_ms = 10000 } }]
output = { topic = "counts" }
"#;

/// A server with the first version, which has counted `a` twice and `b` once.
struct Subject {
    server: Server,
    client: Client,
    first: String,
}

fn counted(options: Options) -> anyhow::Result<Subject> {
    let server = Server::start_with(options)?;
    let client = server.client();
    let first = push(&client, "tally")?;
    client.create_topic("rows", 1)?;
    client.apply(MANIFEST)?;
    let subject = Subject { server, client, first };
    subject.send(&[("a", 0), ("b", 1), ("a", 2)])?;
    ensure!(subject.counts(0)? == ["a: count 1", "b: count 1", "a: count 2"]);
    Ok(subject)
}

/// Uploads a package of the workspace as the newest version of the plugin `tally`, and answers its digest.
fn push(client: &Client, package: &str) -> anyhow::Result<String> {
    let pushed = client.push("tally", &std::fs::read(component(package)?)?)?;
    Ok(pushed["version"]["digest"].as_str().context("a version has a digest")?.to_owned())
}

fn migrating(old: &str) -> String {
    MANIFEST.replace("quiet_ms = 10000", &format!("quiet_ms = 10000, old = \"{old}\""))
}

impl Subject {
    /// Sends rows of keys at times, and waits until they are processed.
    fn send(&self, rows: &[(&str, u64)]) -> anyhow::Result<()> {
        let line = |&(key, at): &(&str, u64)| json!({"key": key, "timestamp": at, "value": "x"}).to_string() + "\n";
        self.client.produce_json("rows", &rows.iter().map(line).collect::<String>())?;
        self.client.drained("tally", PATIENCE)?;
        Ok(())
    }

    /// What was counted, from that result on.
    fn counts(&self, from: usize) -> anyhow::Result<Vec<String>> {
        let all = self.client.all_records("counts")?.into_iter().skip(from);
        Ok(all.map(|row| format!("{}: {}", row.key.unwrap_or_default(), row.value.unwrap_or_default())).collect())
    }

    fn rollback(&self) -> anyhow::Result<Value> {
        let begun: Value = self.client.send("POST", "/v1/pipelines/tally/rollback", "application/json", b"")?;
        let path = format!("/v1/operations/{}?wait_ms=1000", begun["id"]);
        until(PATIENCE, "the end of the operation", || {
            let now: Value = self.client.get(&path)?;
            Ok((now["state"] != "running").then_some(now))
        })
    }

    /// The version that runs.
    fn runs(&self) -> anyhow::Result<String> {
        Ok(self.client.pipeline("tally")?.steps[0].digest.to_string())
    }

    fn checkpoints(&self) -> anyhow::Result<usize> {
        let listed: Value = self.client.get("/v1/pipelines/tally/checkpoints")?;
        Ok(listed["items"].as_array().context("a list")?.len())
    }
}

#[test]
fn state_in_another_layout_is_migrated_and_a_rollback_brings_the_old_one_back() -> anyhow::Result<()> {
    let mut subject = counted(Options::default())?;
    let first = subject.first.clone();
    let id = subject.client.pipeline("tally")?.id;
    let second = push(&subject.client, "tally-next")?;
    let applied = subject.client.apply(MANIFEST)?;
    ensure!(applied["change"] == "changed" && applied["checkpoint"].is_string(), "{applied:#}");
    ensure!(applied["pause_ms"].is_f64(), "{applied:#}");
    ensure!(subject.runs()? == second && subject.client.pipeline("tally")?.id != id);
    // Counts go on, also after a restart; the timer that the first version set for `b` comes due in the second.
    subject.send(&[("a", 5000)])?;
    ensure!(subject.counts(3)? == [format!("a: count 3, 2 before by {first}")], "{:?}", subject.counts(3)?);
    subject.server.kill()?;
    subject.server.start_again()?;
    subject.send(&[("c", 12_000), ("a", 12_001)])?;
    let expected = [
        "b: total 1, 1 before by ".to_owned() + &first,
        "c: count 1, 0 before".to_owned(),
        format!("a: count 4, 2 before by {first}"),
    ];
    let mut counts = subject.counts(4)?;
    counts.sort_by_key(|count| expected.iter().position(|expected| expected == count));
    ensure!(counts == expected, "{counts:?}");

    // Back: the first version takes up its own state, and what came since comes again.
    let written = subject.counts(0)?.len();
    let rolled = subject.rollback()?;
    ensure!(rolled["state"] == "succeeded" && rolled["result"]["checkpoint"] == applied["checkpoint"], "{rolled:#}");
    ensure!(rolled["result"]["pause_ms"].is_f64(), "{rolled:#}");
    subject.client.drained("tally", PATIENCE)?;
    ensure!(subject.runs()? == first);
    let mut again = subject.counts(written)?;
    again.sort();
    ensure!(again == ["a: count 3", "a: count 4", "b: total 1", "c: count 1"], "{again:?}");
    // And forward once more, dropping what has one row: `c` begins anew, its timer finds nothing.
    let written = subject.counts(0)?.len();
    subject.client.upgrade(&migrating("drop-singles"))?;
    subject.send(&[("c", 13_000), ("a", 13_001)])?;
    let counts = subject.counts(written)?;
    ensure!(counts == ["c: count 1, 0 before".to_owned(), format!("a: count 5, 4 before by {first}")], "{counts:?}");
    ensure!(subject.server.trouble().is_empty(), "{:?}", subject.server.trouble());
    Ok(())
}

#[test]
fn a_source_that_is_read_again_after_a_migration_goes_on_where_it_was() -> anyhow::Result<()> {
    let subject = counted(Options::default())?;
    let both = MANIFEST.replace(r#"["rows"]"#, r#"["rows", "more"]"#);
    subject.client.create_topic("more", 1)?;
    let row = json!({"key": "c", "timestamp": 3, "value": "x"}).to_string() + "\n";
    subject.client.produce_json("more", &row)?;
    subject.client.apply(&both)?;
    subject.client.drained("tally", PATIENCE)?;
    ensure!(subject.counts(3)? == ["c: count 1"], "{:?}", subject.counts(3)?);
    // It is removed, then state is written anew, then it is read again.
    subject.client.apply(MANIFEST)?;
    push(&subject.client, "tally-next")?;
    subject.client.apply(MANIFEST)?;
    subject.client.produce_json("more", &row)?;
    subject.client.apply(&both)?;
    subject.client.drained("tally", PATIENCE)?;
    let after = subject.counts(4)?;
    ensure!(after == [format!("c: count 2, 1 before by {}", subject.first)], "{after:?}");
    Ok(())
}

#[test]
fn a_migration_that_fails_leaves_the_old_version_as_if_nothing_had_happened() -> anyhow::Result<()> {
    let mut subject = counted(Options::expecting(&["2 rows are more than one"]))?;
    let (first, before) = (subject.first.clone(), subject.client.pipeline("tally")?);
    push(&subject.client, "tally-next")?;
    for (old, code, why) in [
        ("refuse", "migration_refused", "too-many: 2 rows are more than one"),
        ("trap", "migration_failed", "trap_unreachable: panicked"),
    ] {
        let refusal = refusal(subject.client.apply(&migrating(old)))?;
        ensure!(refusal.code == code && refusal.detail.contains(why), "{refusal}");
        ensure!(refusal.detail.contains("step `tally`"), "{refusal}");
        let now = subject.client.drained("tally", PATIENCE)?;
        ensure!((now.id, &now.usage, &now.manifest) == (before.id, &before.usage, &before.manifest), "{now:?}");
        ensure!(subject.runs()? == first && subject.checkpoints()? == 0);
        let rolled = subject.rollback()?;
        ensure!(rolled["error"]["code"] == "no_upgrade", "{rolled:#}");
    }
    subject.send(&[("a", 3)])?;
    subject.server.kill()?;
    subject.server.start_again()?;
    subject.send(&[("a", 4), ("b", 5)])?;
    ensure!(subject.counts(3)? == ["a: count 3", "a: count 4", "b: count 2"], "{:?}", subject.counts(3)?);
    ensure!(subject.server.trouble().is_empty(), "{:?}", subject.server.trouble());
    Ok(())
}

#[test]
fn a_crash_right_after_the_swap_leaves_the_new_version_with_a_way_back() -> anyhow::Result<()> {
    let mut subject = counted(Options::default())?;
    let first = subject.first.clone();
    let second = push(&subject.client, "tally-next")?;
    subject.server.stop()?;
    subject.server.start_armed("upgrade-switched", 1)?;
    let applied = subject.client.apply(MANIFEST);
    ensure!(applied.is_err(), "the server was to end: {applied:?}");
    until(PATIENCE, "the armed server to end", || subject.server.ended())?;
    subject.server.start_again()?;
    subject.send(&[("a", 3)])?;
    ensure!(subject.runs()? == second);
    ensure!(subject.counts(3)? == [format!("a: count 3, 2 before by {first}")], "{:?}", subject.counts(3)?);
    let rolled = subject.rollback()?;
    ensure!(rolled["state"] == "succeeded", "{rolled:#}");
    subject.client.drained("tally", PATIENCE)?;
    ensure!(subject.runs()? == first && subject.counts(4)? == ["a: count 3"], "{:?}", subject.counts(4)?);
    Ok(())
}

/// The host does not know what is in a state value: the SDK finds out, key by key, where the bytes do not fit.
#[test]
fn a_layout_that_nothing_migrates_fails_key_by_key_and_a_rollback_loses_nothing() -> anyhow::Result<()> {
    let subject = counted(Options::expecting(&["another version wrote it, and nothing migrates it"]))?;
    // Another state, no `migrate`; its rows are orders.
    push(&subject.client, "last-sums")?;
    let manifest = MANIFEST.replace("config = { every = 1, quiet_ms = 10000 }", "config = {}");
    subject.client.apply(&manifest)?;
    let order = r#"{"invoice":"1","amount":2.5}"#;
    let rows = ["a", "new", "a"].map(|key| json!({"key": key, "timestamp": 9, "value": order}).to_string() + "\n");
    subject.client.produce_json("rows", &rows.concat())?;
    subject.client.drained("tally", PATIENCE)?;
    // Keys that it has no state of go on; rows of the others are dead letters, and their state is left alone.
    ensure!(subject.counts(3)? == [r#"new: {"invoice":"1","orders":1,"sum":2500}"#], "{:?}", subject.counts(3)?);
    let letters = subject.client.all_records("tally.dead-letters")?;
    ensure!(letters.len() == 2, "{letters:?}");
    let trapped = letters.iter().all(|letter| letter.header("millstream.code") == Some("trap_unreachable"));
    ensure!(trapped, "{letters:?}");
    let message = subject.server.log().lines().iter().any(|line| line.contains("the key `a` has a state of"));
    ensure!(message, "the plugin's log says why");
    let rolled = subject.rollback()?;
    ensure!(rolled["state"] == "succeeded", "{rolled:#}");
    subject.client.drained("tally", PATIENCE)?;
    let counts = subject.counts(4)?;
    ensure!(counts == ["a: count 3", "new: count 1", "a: count 4"], "{counts:?}");
    Ok(())
}

#[test]
fn a_pipeline_with_a_reference_table_is_migrated_too_and_goes_on_if_it_is_not() -> anyhow::Result<()> {
    let server = Server::start()?;
    let client = server.client();
    let first = push(&client, "tally")?;
    client.push_plugins(&["look-up"])?;
    for topic in ["rows", "names"] {
        client.create_topic(topic, 1)?;
    }
    let named = |old: &str| {
        let config = format!("config = {{ every = 1, old = \"{old}\" }}").replace(", old = \"none\"", "");
        format!(
            r#"
name = "tally"
source = {{ topics = ["rows"] }}
tables = [{{ name = "names", topic = "names" }}]
steps = [
  {{ name = "look-up", plugin = "look-up", lookup = ["names"] }},
  {{ name = "tally", plugin = "tally", {config} }},
]
output = {{ topic = "counts" }}
"#
        )
    };
    client.produce_json("names", &(json!({"key": "a", "value": "Ada"}).to_string() + "\n"))?;
    client.apply(&named("none"))?;
    let subject = Subject { server, client, first };
    subject.send(&[("a", 0), ("b", 1), ("a", 2)])?;
    push(&subject.client, "tally-next")?;
    let refusal = refusal(subject.client.apply(&named("refuse")))?;
    ensure!(refusal.code == "migration_refused", "{refusal}");
    subject.send(&[("a", 3)])?;
    subject.client.apply(&named("keep"))?;
    subject.send(&[("b", 4), ("a", 5)])?;
    let last = format!("a: count 4, 3 before by {}", subject.first);
    let expected = ["a: count 1".to_owned(), "a: count 2".to_owned(), "a: count 3".to_owned(), last];
    ensure!(subject.counts(0)? == expected, "{:?}", subject.counts(0)?);
    Ok(())
}

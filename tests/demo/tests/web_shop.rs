//! The tenant `web-shop` by hand: the commands of its README are run, and what they print is compared with what stands
//! there. So neither the README nor the manifests nor the samples can rot.
//!
//! Of the commands only those that need no cargo are run: the server is the harness's, and plugins are pushed as the
//! harness builds them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::{Client, Server};
use millstream::pipeline::spec::Spec;

/// How long a pipeline may take to read a sample: so long only where something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the README and what it says that the command prints.
#[derive(Debug)]
struct Line {
    words: Vec<String>,
    printed: Option<String>,
}

fn tenant() -> PathBuf {
    harness::workspace().join("tenants/web-shop")
}

/// The commands in the blocks of a shell, each with the text that follows its block if it is the last of it.
fn commands(readme: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (fence, block) in blocks(readme) {
        match fence {
            "sh" => {
                let commands = block.lines().filter(|line| line.starts_with("millstream "));
                let commands = commands.map(|line| line.split('#').next().unwrap_or(line).split_whitespace());
                lines.extend(commands.map(|words| Line { words: words.map(str::to_owned).collect(), printed: None }));
            }
            _ => {
                if let Some(last) = lines.last_mut() {
                    last.printed = Some(block.to_owned());
                }
            }
        }
    }
    lines
}

/// The fenced blocks: what stands at the fence, and what is within.
fn blocks(readme: &str) -> Vec<(&str, &str)> {
    let mut parts = readme.split("```");
    let mut blocks = Vec::new();
    while let (Some(_), Some(block)) = (parts.next(), parts.next()) {
        blocks.extend(block.split_once('\n'));
    }
    blocks
}

/// Runs a command of the README, if it is one to run, and answers what it printed.
fn run(client: &Client, line: &Line) -> anyhow::Result<Option<String>> {
    let mut words: Vec<String> = line.words.iter().skip(1).cloned().collect();
    let names: Vec<&str> = words.iter().map(String::as_str).collect();
    match names[..] {
        ["serve", ..] | ["plugin", "build", ..] => return Ok(None),
        ["plugin", "push", file] => {
            let package =
                PathBuf::from(file).file_stem().context("a component has a name")?.to_string_lossy().into_owned();
            words[2] = harness::component(&package)?.display().to_string();
        }
        _ => {}
    }
    let output = Command::new(harness::binary()?)
        .args(&words)
        .env("MILLSTREAM_SERVER", client.address())
        .env_remove("RUST_LOG")
        .current_dir(harness::workspace())
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` ended with {}: {stderr}", line.words.join(" "), output.status);
    Ok(Some(String::from_utf8(output.stdout)?))
}

/// The lines without the places of their records and with single spaces, sorted: which of two windows that are complete
/// at once comes first is not promised.
fn records(text: &str) -> Vec<String> {
    let without_place = |line: &str| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).map(without_place).collect();
    lines.sort();
    lines
}

#[test]
fn the_readmes_commands_print_what_it_says() -> anyhow::Result<()> {
    let readme = fs::read_to_string(tenant().join("README.md"))?;
    let server = Server::start()?;
    let client = server.client();
    let mut pipelines: Vec<String> = Vec::new();
    let (mut commands_run, mut compared) = (0, 0);
    for line in commands(&readme) {
        for pipeline in &pipelines {
            client.drained(pipeline, PATIENCE)?;
        }
        let Some(printed) = run(&client, &line)? else { continue };
        commands_run += 1;
        if let [_, "pipeline", "apply", file] = line.words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            let spec: Spec = fs::read_to_string(harness::workspace().join(file))?.parse()?;
            pipelines.push(spec.name.as_str().to_owned());
        }
        if let Some(expected) = &line.printed {
            assert_eq!(records(&printed), records(expected), "`{}` printed\n{printed}", line.words.join(" "));
            compared += 1;
        }
    }
    assert!(commands_run >= 15 && compared >= 3, "{commands_run} commands were run and {compared} outputs compared");
    dead_letters_are_as_described(&client, &readme)?;
    every_manifest_was_applied(&pipelines)
}

/// The codes of the dead letters, which the README names without showing their tables, and where they came from.
fn dead_letters_are_as_described(client: &Client, readme: &str) -> anyhow::Result<()> {
    let expected = BTreeMap::from([
        ("bad-clicks", vec![("invalid-json", "6"), ("missing-field", "10")]),
        ("bad-requests", vec![("truncated-line", "5")]),
    ]);
    for (topic, letters) in expected {
        let records = client.all_records(topic)?;
        let header = |record, name| harness::Record::header(record, name).unwrap_or_default();
        let found: Vec<_> = records
            .iter()
            .map(|record| (header(record, "millstream.code"), header(record, "millstream.offset")))
            .collect();
        assert_eq!(found, letters, "the dead letters of `{topic}`");
        for (code, _) in letters {
            ensure!(readme.contains(&format!("`{code}`")), "the README names `{code}`");
        }
    }
    assert_eq!((client.count("late-clicks")?, client.count("late-requests")?), (1, 1));
    Ok(())
}

fn every_manifest_was_applied(pipelines: &[String]) -> anyhow::Result<()> {
    for entry in fs::read_dir(tenant().join("pipelines"))? {
        let path = entry?.path();
        let spec: Spec = fs::read_to_string(&path)?.parse()?;
        ensure!(
            pipelines.iter().any(|name| name == spec.name.as_str()),
            "the README does not apply {}",
            path.display()
        );
    }
    Ok(())
}

//! `millstream plugin check`: the server's checks of a component, run locally.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::super::Format;
use super::super::failure::Failure;
use super::super::output::{bytes, facts};
use super::super::progress;
use crate::api::records::Record;
use crate::clock::now_ms;
use crate::error::Kind;
use crate::pipeline::{Verdict, try_plugin};
use crate::plugin::{Certificate, Grant, Sandbox, SandboxConfig};
use crate::record::Batch;

/// Most rows that a plugin is tried on: calls of one row are many, and each is a fresh instance.
const ROWS_MAX: usize = 256;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  millstream plugin check my-filter.wasm\n  \
                        millstream plugin check my-filter.wasm --config '{\"field\": \"status\"}'\n  \
                        millstream plugin check my-filter.wasm --config config.json --rows rows.jsonl\n\n\
                        Limits and codes are the server's; with --config, `init` runs too, and then sample rows run \
                        through the plugin, all at once and few at a time: what differs is refused. \
                        Grants are not needed here; what a step must grant is shown.")]
pub(in crate::cli) struct Check {
    /// The component, or the project that it was built from
    #[arg(default_value = ".")]
    file: PathBuf,
    /// Configuration to initialize it with: JSON, or a file of it
    #[arg(long, value_name = "FILE|JSON")]
    config: Option<String>,
    /// Rows to try it on instead of made-up ones: the first 256 lines, as `topic tail -o json` prints them
    #[arg(long, value_name = "FILE", requires = "config")]
    rows: Option<PathBuf>,
}

/// What a check showed.
#[derive(Debug, Serialize)]
struct Checked {
    #[serde(flatten)]
    certificate: Certificate,
    /// What its step must grant.
    needs: Vec<Grant>,
    /// Whether `init` took the configuration; null if none was given.
    initialized: Option<bool>,
    /// What trying it on sample rows came to; null if no configuration was given.
    trial: Option<Verdict>,
}

impl Check {
    pub(super) fn run(self, format: Format) -> Result<(), Failure> {
        let config = self.config.as_deref().map(config).transpose()?;
        let rows = self.rows.as_deref().map(rows).transpose()?;
        let file = super::project::component(&self.file)?;
        let component = std::fs::read(&file).map_err(|error| Failure::file("read", &file, &error))?;
        let unavailable =
            |error: std::io::Error| Failure::new("sandbox_unavailable", Kind::Unavailable, error.to_string());
        // Artifacts are made by this process for this check, in a folder that nobody else can write to.
        let folder = Folder::make().map_err(unavailable)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unavailable)?;
        let bar = progress::spinner("certifying");
        let checked = runtime.block_on(async {
            let sandbox = Sandbox::new(SandboxConfig::new(&folder.0))?;
            let certificate = sandbox.certify(&component).await?;
            let (mut initialized, mut trial) = (None, None);
            if let Some(config) = config {
                sandbox.initialize(&component, &config).await?;
                initialized = Some(true);
                trial = Some(try_plugin(&sandbox, &component, &config, &certificate, rows.as_ref()).await?);
            }
            Ok::<_, Failure>(Checked { needs: certificate.needs(), certificate, initialized, trial })
        });
        bar.finish_and_clear();
        format.show(&checked?, show)
    }
}

fn show(checked: &Checked) -> String {
    let certificate = &checked.certificate;
    let snapshot = match &certificate.no_snapshot {
        Some(reason) => format!("{} ({reason})", super::snapshot(false)),
        None => super::snapshot(certificate.snapshot).to_owned(),
    };
    let mut about = vec![
        ("world", certificate.world.to_string()),
        ("summary", certificate.description.summary.clone()),
        ("digest", certificate.digest.to_string()),
        ("bytes", bytes(certificate.bytes)),
        ("snapshot", snapshot),
        ("imports", certificate.imports.join(", ")),
    ];
    if !checked.needs.is_empty() {
        let grants: Vec<_> = checked.needs.iter().map(|grant| grant.in_manifest()).collect();
        about.push(("needs", format!("{} in its step", grants.join(" and "))));
    }
    if checked.initialized == Some(true) {
        about.push(("config", "taken by init".to_owned()));
    }
    if let Some(trial) = checked.trial {
        let shown = match trial {
            Verdict::Same => "the same in large and in small calls",
            Verdict::Unfinished => "ended early: it costs too much on sample rows",
        };
        about.push(("trial", shown.to_owned()));
    }
    format!("{}\n\n{}", facts(about), super::outputs(&certificate.description))
}

/// A configuration: what looks like JSON is, the rest names a file.
fn config(text: &str) -> Result<serde_json::Value, Failure> {
    let inline = text.trim_start().starts_with(['{', '[', '"']);
    let (what, json) = match inline {
        true => ("--config".to_owned(), text.to_owned()),
        false => {
            let path = PathBuf::from(text);
            let json = std::fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error))?;
            (format!("`{text}`"), json)
        }
    };
    let wrong = |error| Failure::new("invalid_config", Kind::Invalid, format!("{what} is not valid JSON: {error}"));
    serde_json::from_str(&json).map_err(wrong)
}

/// The first rows of a file, in its order.
fn rows(path: &Path) -> Result<Batch, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let mut batch = Batch::default();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).take(ROWS_MAX) {
        let wrong = |error: &dyn std::fmt::Display| {
            let detail = format!("`{}`, line {number} is no record: {error}", path.display());
            Failure::new("invalid_record", Kind::Invalid, detail)
        };
        let record: Record = serde_json::from_str(line).map_err(|error| wrong(&error))?;
        let (_, row) = record.into_row(1, now_ms()).map_err(|error| wrong(&error))?;
        row.push_to(&mut batch);
    }
    Ok(batch)
}

/// A new folder that goes with this value.
struct Folder(PathBuf);

impl Folder {
    fn make() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("millstream-check-{}", std::process::id()));
        // Fails where the name is taken: whoever made it could put an artifact there.
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is small and in a folder for that.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_json_or_a_file_of_it() {
        assert_eq!(config("{\"a\":1}").expect("JSON")["a"], 1);
        assert_eq!(config("{\"a\":").expect_err("cut").code(), "invalid_config");
        assert_eq!(config("/nowhere/config.json").expect_err("no file").code(), "local_file");
    }
}

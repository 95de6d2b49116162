//! `millstream plugin`: from an idea to a version on the server.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::failure::Failure;
use super::output::{bytes, facts, table, time};
use super::progress::{self, Shown};
use super::{Format, Session};
use crate::api::List;
use crate::api::plugins::Pushed;
use crate::catalog::PluginVersion;
use crate::error::Kind;
use crate::ids::{PluginName, PluginRef};

mod build;
mod check;
mod component;
mod new;
mod project;

#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Write a new plugin project
    New(new::New),
    /// Build a plugin project into a component
    Build(build::Build),
    /// Run the tests of a plugin project natively
    Test(build::Test),
    /// Certify a component here, as a server would
    Check(check::Check),
    /// Send a component to the server
    #[command(
        after_help = "Examples:\n  millstream plugin push my-filter.wasm\n  millstream plugin push build/out.wasm --name my-filter"
    )]
    Push {
        /// The component, or the project that it was built from
        #[arg(default_value = ".")]
        file: PathBuf,
        /// Name of the plugin; the file's, unless given
        #[arg(long)]
        name: Option<PluginName>,
    },
    /// List plugins and their versions
    List,
    /// Show a version of a plugin, the newest unless its digest is given
    #[command(
        after_help = "Examples:\n  millstream plugin inspect count\n  millstream plugin inspect count@sha256:..."
    )]
    Inspect {
        /// The plugin, or `name@digest`
        plugin: PluginRef,
    },
}

impl Plugin {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let format = session.format;
        match self {
            Self::New(new) => new.run(),
            Self::Build(build) => build.run(format),
            Self::Test(test) => test.run(),
            Self::Check(check) => check.run(format),
            Self::Push { file, name } => push(session, &project::component(&file)?, name),
            Self::List => {
                let plugins: List<PluginVersion> = session.client()?.get("/v1/plugins")?;
                format.show(&plugins, |plugins| list(&plugins.items))
            }
            Self::Inspect { plugin } => {
                let digest = plugin.digest.map(|digest| format!("?digest={digest}")).unwrap_or_default();
                let version = session.client()?.get(&format!("/v1/plugins/{}{digest}", plugin.name))?;
                inspect(format, &version)
            }
        }
    }
}

fn push(session: &Session, file: &Path, name: Option<PluginName>) -> Result<(), Failure> {
    let name = match name {
        Some(name) => name,
        None => name_of(file)?,
    };
    let component = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
    let bar = progress::bytes("pushing", Some(component.len() as u64));
    let body = Shown::new(&component[..], bar.clone());
    let path = format!("/v1/plugins?name={name}");
    let pushed: Pushed = session.client()?.upload("POST", &path, "application/wasm", component.len() as u64, body)?;
    bar.finish_and_clear();
    session.format.show(&pushed, |pushed| {
        let how = if pushed.created { "pushed as" } else { "is already" };
        let version = &pushed.version;
        format!("plugin `{}` {how} version {}, {}", version.name, version.version, version.digest)
    })
}

/// The plugin that a file is named after.
fn name_of(file: &Path) -> Result<PluginName, Failure> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-");
    stem.parse().map_err(|error: crate::ids::InvalidName| {
        Failure::new("invalid_name", Kind::Invalid, format!("{error}: give a name with --name"))
    })
}

fn list(versions: &[PluginVersion]) -> String {
    table(
        ["NAME", "VERSION", "WORLD", "BYTES", "PUSHED", "DIGEST"],
        versions.iter().map(|version| {
            [
                version.name.to_string(),
                version.version.to_string(),
                version.world.to_string(),
                bytes(version.bytes),
                time(version.uploaded_at_ms),
                version.digest.to_string(),
            ]
        }),
    )
}

fn inspect(format: Format, version: &PluginVersion) -> Result<(), Failure> {
    format.show(version, |version| {
        let about = facts([
            ("name", version.name.to_string()),
            ("version", version.version.to_string()),
            ("digest", version.digest.to_string()),
            ("pushed", time(version.uploaded_at_ms)),
            ("world", version.world.to_string()),
            ("summary", version.description.summary.clone()),
            ("bytes", bytes(version.bytes)),
            ("snapshot", snapshot(version.snapshot).to_owned()),
            ("imports", version.imports.join(", ")),
        ]);
        format!("{about}\n\n{}\n\nconfig schema:\n{}", outputs(&version.description), version.description.config_schema)
    })
}

const fn snapshot(snapshot: bool) -> &'static str {
    if snapshot { "yes: init runs once, at deploy" } else { "no: init runs in every call" }
}

fn outputs(description: &crate::plugin::Description) -> String {
    let rows = description.outputs.iter().map(|output| [output.name.clone(), output.summary.clone()]);
    table(["OUTPUT", "WHAT LEAVES THERE"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_named_after_its_file() {
        assert_eq!(name_of(Path::new("a/my_filter.wasm")).map(|name| name.to_string()), Ok("my-filter".to_owned()));
        assert_eq!(name_of(Path::new("My.wasm")).expect_err("refused").code(), "invalid_name");
    }
}

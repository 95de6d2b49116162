//! `millstream plugin build` and `plugin test`: cargo, and what comes after it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::super::Format;
use super::super::failure::Failure;
use super::super::output::{self, bytes};
use super::super::progress;
use super::{component, project};
use crate::error::Kind;
use crate::ids::Digest;

/// What plugins are built for: nothing but what the SDK imports.
const TARGET: &str = "wasm32-unknown-unknown";
/// A profile of its own, so that a workspace's settings for shipping programs do not matter.
const PROFILE: &str = "millstream-plugin";
/// The settings of it: fast code without what a sandbox has no use for. Arithmetic that overflows ends the call, as it
/// ends a test: a plugin means the same in `plugin test` and on the server.
const PROFILE_SETTINGS: &[&str] = &[
    "inherits=\"release\"",
    "opt-level=3",
    "lto=true",
    "codegen-units=1",
    "panic=\"abort\"",
    "overflow-checks=true",
    "debug=false",
    "strip=false",
];

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  millstream plugin build\n  millstream plugin build plugins/my-filter --out my-filter.wasm"
)]
pub(in crate::cli) struct Build {
    /// The project
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The file to write; in the project, under its name, unless given
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  millstream plugin test\n  millstream plugin test my-filter -- --nocapture")]
pub(in crate::cli) struct Test {
    /// The project
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// What is given to `cargo test`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// A component that was built.
#[derive(Debug, Serialize)]
struct Built {
    file: PathBuf,
    digest: Digest,
    bytes: u64,
}

impl Test {
    pub(super) fn run(self) -> Result<(), Failure> {
        project::package(&self.dir)?;
        let status = cargo(&self.dir).arg("test").args(&self.arguments).status().map_err(|error| no_cargo(&error))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new("tests_failed", Kind::Invalid, format!("the tests of `{}` failed", self.dir.display())))
    }
}

impl Build {
    pub(super) fn run(self, format: Format) -> Result<(), Failure> {
        let package = project::package(&self.dir)?;
        check_target(&self.dir)?;
        let file = compile(&self.dir)?;
        let module = std::fs::read(&file).map_err(|error| Failure::file("read", &file, &error))?;
        let component = component::of_module(&module)?;
        let file = self.out.unwrap_or_else(|| project::component_of(&self.dir, &package));
        std::fs::write(&file, &component).map_err(|error| Failure::file("write", &file, &error))?;
        let built = Built { file, digest: Digest::of(&component), bytes: component.len() as u64 };
        format.show(&built, |built| format!("{} ({}, {})", built.file.display(), bytes(built.bytes), built.digest))
    }
}

/// The cargo of the project's toolchain. The one that runs us, if one does, says where it is.
fn cargo(dir: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(dir);
    cargo
}

fn no_cargo(error: &std::io::Error) -> Failure {
    Failure::new("cargo_missing", Kind::NotFound, format!("run `cargo`: {error}; install Rust from https://rustup.rs"))
}

/// Whether the project's toolchain has the standard library of the target.
fn check_target(dir: &Path) -> Result<(), Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let answer = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).current_dir(dir).output();
    let answer = answer.map_err(|error| no_cargo(&error))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
    if answer.status.success() && folder.is_dir() {
        return Ok(());
    }
    Err(Failure::new(
        "wasm_target_missing",
        Kind::NotFound,
        format!("Rust's standard library for {TARGET} is not installed"),
    ))
}

/// The messages of cargo that matter here.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The module that cargo makes of a project.
fn compile(dir: &Path) -> Result<PathBuf, Failure> {
    let manifest = std::fs::canonicalize(dir.join("Cargo.toml")).map_err(|error| Failure::file("read", dir, &error))?;
    let mut command = cargo(dir);
    command.args(["build", "--lib", "--target", TARGET, "--profile", PROFILE]);
    command.args(["--message-format", "json-render-diagnostics"]);
    for setting in PROFILE_SETTINGS {
        command.args(["--config", &format!("profile.{PROFILE}.{setting}")]);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| no_cargo(&error))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Cargo's own words are kept back: they are of use only where it fails.
    let words = std::thread::spawn(move || {
        let mut words = Vec::new();
        stderr.map(|mut stderr| stderr.read_to_end(&mut words)).transpose().map(|_| words)
    });
    let bar = progress::steps("building", crates(dir));
    let module = stdout.and_then(|stdout| follow(stdout, &manifest, &bar));
    let status = child.wait().map_err(|error| no_cargo(&error))?;
    bar.finish_and_clear();
    if !status.success() {
        let words = words.join().ok().and_then(Result::ok).unwrap_or_default();
        output::say(String::from_utf8_lossy(&words).trim_end());
        return Err(Failure::new("build_failed", Kind::Invalid, format!("`{}` does not build", dir.display())));
    }
    module.ok_or_else(|| {
        let detail =
            format!("`{}` makes no module: set `crate-type = [\"cdylib\"]` under [lib] in Cargo.toml", dir.display());
        Failure::new("not_a_plugin", Kind::Invalid, detail)
    })
}

/// Reads cargo's messages to their end and answers with the project's module.
fn follow(messages: impl std::io::Read, manifest: &Path, bar: &ProgressBar) -> Option<PathBuf> {
    let mut module = None;
    for line in BufReader::new(messages).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        if message.reason == "compiler-artifact" {
            bar.inc(1);
            if message.manifest_path == manifest {
                let found = message.filenames.into_iter().find(|file| file.extension() == Some(OsStr::new("wasm")));
                module = found.or(module);
            }
        }
    }
    module
}

/// About how many crates a build compiles, for its bar.
fn crates(dir: &Path) -> u64 {
    let tree = cargo(dir).args(["tree", "--edges", "normal,build", "--prefix", "none", "--target", TARGET]).output();
    let Ok(tree) = tree else { return 0 };
    let text = String::from_utf8_lossy(&tree.stdout);
    let names: std::collections::BTreeSet<_> =
        text.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty()).collect();
    names.len() as u64
}

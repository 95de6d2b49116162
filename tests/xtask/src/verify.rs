//! `cargo verify`: everything that must hold before a change is merged. Continuous integration runs this and nothing else.

use std::path::PathBuf;
use std::time::Instant;

use crate::command::{Shown, cache, cargo, command, loud, target, workspace};
use crate::prepare::{self, Machine};
use crate::programs;

/// Runs every check, goes on after a failure, and ends with a summary.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    if let Some(argument) = arguments.first() {
        return Err(format!("`verify` takes no arguments, not `{argument}`"));
    }
    let machine = prepare::run()?;
    let mut summary = Summary::default();
    summary.check("format", || cargo(&["fmt", "--all", "--check"]).run());
    summary.check("lints", || {
        cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()
    });
    summary.check("the engine without a server", || {
        cargo(&["clippy", "--locked", "--package", "millstream", "--no-default-features", "--", "-D", "warnings"]).run()
    });
    if machine.compiles_guests_itself() {
        summary.check("lints of plugins", guest_lints);
    } else {
        summary.skipped("lints of plugins: this machine's toolchain for them has no clippy");
    }
    dependencies(&mut summary);
    summary.check("programs", || programs::build(&machine));
    summary.check("simulation", programs::sim_of_fixed_seeds);
    summary.check("tests", || tests(&machine)?.run());
    summary.check("documentation", || {
        cargo(&["doc", "--locked", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings").run()
    });
    let data = std::env::var_os("MILLSTREAM_DATA").map_or_else(|| workspace().join("../shared/data"), PathBuf::from);
    if !data.exists() {
        summary.skipped("the tests over real data: MILLSTREAM_DATA names no folder with it");
    }
    let vectors = std::env::var_os("MILLSTREAM_VECTORS")
        .map_or_else(|| workspace().join("../shared/vectors/vectors.json"), PathBuf::from);
    if !vectors.exists() {
        summary.skipped("the shared event-time vectors: MILLSTREAM_VECTORS names no file of them");
    }
    if !machine.wasip2 {
        summary.skipped("the test of a plugin with WASI imports: no target wasm32-wasip2");
    }
    summary.end()
}

/// Unit tests, integration tests, the plugins' native tests and the examples in the documentation, with one selection of
/// crates so that nothing is built twice.
fn tests(machine: &Machine) -> Result<Shown, String> {
    programs::with_programs(machine, cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]))
}

/// What of the guest side exists only on wasm is seen by no native lint.
fn guest_lints() -> Result<(), String> {
    let plugins = workspace().join("plugins");
    let entries = plugins.read_dir().map_err(|error| format!("read `{}`: {error}", plugins.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut arguments = vec!["clippy", "--locked", "--target", "wasm32-unknown-unknown", "--package", "millstream-sdk"];
    arguments.extend(names.iter().flat_map(|name| ["--package", name]));
    arguments.extend(["--", "-D", "warnings"]);
    cargo(&arguments).env("CARGO_TARGET_DIR", target()?.join("guests")).run()
}

/// Licences, sources, bans and known vulnerabilities of what we depend on.
fn dependencies(summary: &mut Summary) {
    let deny = match cargo_deny() {
        Ok(deny) => deny,
        Err(message) => return summary.check("dependencies", || Err(message)),
    };
    let run = |arguments: &[&str]| command(&deny, arguments).within_workspace();
    // Fetching on its own tells a machine without internet from a vulnerability.
    if run(&["--locked", "fetch", "db"]).run().is_ok() {
        return summary.check("dependencies", || run(&["--locked", "check"]).run());
    }
    loud(&[
        "The database of security advisories cannot be fetched from this machine.",
        "SKIPPED: known vulnerabilities of dependencies. Bans, licences and sources are checked.",
    ]);
    summary.check("dependencies", || run(&["--locked", "check", "bans", "licenses", "sources"]).run());
    summary.skipped("security advisories of dependencies: their database cannot be fetched");
}

/// cargo-deny, built once into the cache folder. Speed matters little for it, so it is built as fast as can be.
fn cargo_deny() -> Result<PathBuf, String> {
    const VERSION: &str = "0.20.2";
    if command("cargo-deny", &["--version"]).works() {
        return Ok("cargo-deny".into());
    }
    let root = cache()?.join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        let root = root.to_string_lossy();
        cargo(&["install", "--locked", "--debug", "--root", &root, "--version", VERSION, "cargo-deny"])
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_TARGET_DIR", target()?.join("tools"))
            .run()?;
    }
    Ok(program)
}

/// What was checked and how it went.
#[derive(Default)]
struct Summary {
    lines: Vec<String>,
    failed: Vec<&'static str>,
}

impl Summary {
    fn check(&mut self, name: &'static str, work: impl FnOnce() -> Result<(), String>) {
        println!("\n\x1b[1m== {name}\x1b[0m");
        let start = Instant::now();
        let outcome = work();
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => self.lines.push(format!("  ok      {name} ({seconds:.1} s)")),
            Err(message) => {
                eprintln!("{message}");
                self.lines.push(format!("  FAILED  {name} ({seconds:.1} s): {message}"));
                self.failed.push(name);
            }
        }
    }

    fn skipped(&mut self, what: &str) {
        self.lines.push(format!("  SKIPPED {what}"));
    }

    fn end(self) -> Result<(), String> {
        println!("\n\x1b[1m== summary\x1b[0m\n{}", self.lines.join("\n"));
        if self.failed.is_empty() { Ok(()) } else { Err(format!("verify failed: {}", self.failed.join(", "))) }
    }
}

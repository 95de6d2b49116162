//! Building what is run: the server, and plugins as components.
//!
//! Tests run in several processes at once, and cargo's own lock serializes builds but not what follows them; so what is
//! made here is made under a file lock and put in place by a rename.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, bail};
use wit_component::ComponentEncoder;

/// What plugins are compiled for: no imports but those of their world.
const GUEST_TARGET: &str = "wasm32-unknown-unknown";

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("MILLSTREAM_WORKSPACE"))
}

/// A file of an example tenant.
pub fn tenant_file(tenant: &str, name: &str) -> anyhow::Result<String> {
    let path = workspace().join("tenants").join(tenant).join(name);
    fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))
}

/// The server's binary: the one that `MILLSTREAM_BIN` names, otherwise built now.
pub fn binary() -> anyhow::Result<PathBuf> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = BINARY.get_or_init(|| match std::env::var_os("MILLSTREAM_BIN") {
        Some(path) => Ok(path.into()),
        None => build_binary().map_err(|error| format!("{error:#}")),
    });
    made.clone().map_err(anyhow::Error::msg)
}

fn build_binary() -> anyhow::Result<PathBuf> {
    let (target, profile) = target()?;
    // The whole workspace's selection, so that features are those of the build that made this program.
    let mut build = cargo(&["build", "--workspace", "--bin", "millstream"]);
    if profile == "release" {
        build.arg("--release");
    }
    run(build.env("CARGO_TARGET_DIR", &target))?;
    Ok(target.join(profile).join("millstream"))
}

/// A plugin of the workspace as a component, by its package's name.
pub fn component(package: &str) -> anyhow::Result<PathBuf> {
    static MADE: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    // Held over the build: two threads that want the same plugin are one build.
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = made.get(package) {
        return Ok(path.clone());
    }
    let path = build_component(package).with_context(|| format!("build plugin `{package}`"))?;
    made.insert(package.to_owned(), path.clone());
    Ok(path)
}

/// Several plugins as components.
pub fn components(packages: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    packages.iter().map(|package| component(package)).collect()
}

fn build_component(package: &str) -> anyhow::Result<PathBuf> {
    let (target, _) = target()?;
    let folder = target.join("components");
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join(".lock"))?;
    lock.lock().context("wait for other processes that build plugins")?;
    let guests = target.join("guests");
    let mut build = cargo(&["build", "--release", "--target", GUEST_TARGET, "--package", package]);
    // As `millstream plugin build` does: what overflows natively overflows in the component.
    build.env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");
    // Names of functions stay for backtraces; lines of the source would only make the component larger.
    build.env("CARGO_TARGET_DIR", &guests).env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    if let Some(toolchain) = std::env::var_os("MILLSTREAM_GUEST_TOOLCHAIN") {
        build.env("RUSTUP_TOOLCHAIN", toolchain).env_remove("RUSTC").arg("--ignore-rust-version");
    }
    run(&mut build)?;
    let module = guests.join(GUEST_TARGET).join("release").join(package.replace('-', "_")).with_extension("wasm");
    let module = fs::read(&module).with_context(|| format!("read `{}`", module.display()))?;
    let component = ComponentEncoder::default().validate(true).module(&module)?.encode()?;
    let path = folder.join(package).with_extension("wasm");
    if fs::read(&path).ok().as_ref() != Some(&component) {
        let new = path.with_extension("wasm.new");
        fs::write(&new, component)?;
        fs::rename(&new, &path)?;
    }
    Ok(path)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg("--quiet").args(arguments).arg("--locked").current_dir(workspace()).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().context("run cargo")?;
    if !output.status.success() {
        bail!("cargo ended with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Cargo's target folder and the profile's folder in it: those that this program was built into.
fn target() -> anyhow::Result<(PathBuf, &'static str)> {
    let program = std::env::current_exe().context("find this program")?;
    for folder in program.ancestors() {
        for profile in ["debug", "release"] {
            if folder.ends_with(profile)
                && let Some(target) = folder.parent()
            {
                return Ok((target.to_owned(), profile));
            }
        }
    }
    bail!("`{}` is not in cargo's target folder", program.display())
}

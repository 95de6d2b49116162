//! Rust's own parts: formatter, linter, and the libraries of other targets.
//!
//! `rust-toolchain.toml` names them all, but rustup may be told not to install by itself; so this asks for each.

use std::path::Path;

use super::works;
use crate::command::command;

/// Makes sure of rustfmt and clippy.
pub(super) fn components() -> Result<(), String> {
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if works("cargo", &[subcommand, "--version"]) {
            continue;
        }
        if !works("rustup", &["--version"]) {
            return Err(format!("`cargo {subcommand}` is missing; install {component} where your Rust came from"));
        }
        command("rustup", &["component", "add", component]).run()?;
    }
    Ok(())
}

/// Makes sure of a target's standard library, if that can be done.
pub(super) fn target(target: &str) -> bool {
    has_library(target) || (works("rustup", &["target", "add", target]) && has_library(target))
}

fn has_library(target: &str) -> bool {
    let Some(sysroot) = sysroot() else { return false };
    let folder = Path::new(&sysroot).join("lib/rustlib").join(target).join("lib");
    let Ok(files) = folder.read_dir() else { return false };
    files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

/// The folder of the Rust that is in use.
pub(super) fn sysroot() -> Option<String> {
    command("rustc", &["--print", "sysroot"]).read()
}

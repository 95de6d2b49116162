//! Plugins without rustup's servers: the standard library for `wasm32-unknown-unknown`, built from a distribution's
//! sources.
//!
//! Debian and Ubuntu ship a compiler for the web with the matching library source. From both, and the linker of the
//! Rust in use, this makes a toolchain named [`NAME`] whose only other target is wasm, and links it to rustup. It takes
//! a minute, once.

use std::fs;
use std::path::{Path, PathBuf};

use super::{rust, works};
use crate::command::{cache, command};

/// The toolchain's name in rustup.
const NAME: &str = "millstream-guest";
const TARGET: &str = "wasm32-unknown-unknown";
/// The compiler of `rustc-web`.
const RUSTC: &str = "/usr/bin/rustc";

/// The name of a toolchain that can build plugins, made if it is not there yet.
pub(super) fn toolchain() -> Result<String, String> {
    println!("rustup cannot add {TARGET}; building its standard library from the distribution's sources");
    if !works("rustup", &["--version"]) || !works("apt-get", &["--version"]) {
        return Err(format!(
            "plugins need Rust's target {TARGET}; where rustup reaches its server, run\n\n    rustup target add {TARGET}\n\n\
             otherwise install your distribution's Rust for wasm (Fedora: rust-std-static-{TARGET})"
        ));
    }
    let folder = cache()?.join("guest-toolchain");
    let ready = folder.join("ready");
    if !ready.exists() {
        packages()?;
        build(&folder).map_err(|error| format!("build the standard library for {TARGET}: {error}"))?;
        fs::write(&ready, "").map_err(|error| format!("write `{}`: {error}", ready.display()))?;
    }
    command("rustup", &["toolchain", "link", NAME, &folder.to_string_lossy()]).run()?;
    Ok(NAME.to_owned())
}

fn packages() -> Result<(), String> {
    if works("dpkg", &["-s", "rustc-web", "rust-web-src"]) {
        return Ok(());
    }
    let install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "rustc-web", "rust-web-src"];
    if command("id", &["-u"]).read().as_deref() == Some("0") {
        command("apt-get", &["update", "-qq"]).run()?;
        return command("apt-get", &install[1..]).run();
    }
    if works("sudo", &["-n", "true"]) {
        command("sudo", &["-n", "apt-get", "update", "-qq"]).run()?;
        return command("sudo", &[&["-n"], &install[..]].concat()).run();
    }
    Err(format!("this needs root; run\n\n    sudo {}\n\nand then this command again", install.join(" ")))
}

/// Lays out a toolchain of links, then builds the library with it and keeps its files.
fn build(folder: &Path) -> Result<(), String> {
    let host = host()?;
    let sysroot = PathBuf::from(rust::sysroot().ok_or("`rustc` does not run")?);
    let linker = sysroot.join("lib/rustlib").join(&host).join("bin/rust-lld");
    let cargo = command("rustup", &["which", "cargo"]).read().ok_or("`rustup which cargo` fails")?;
    let library = library_source()?;
    let rustlib = folder.join("lib/rustlib");
    let wasm = rustlib.join(TARGET).join("lib");
    io(|| {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder.join("bin"))?;
        fs::create_dir_all(rustlib.join(&host).join("bin"))?;
        fs::create_dir_all(&wasm)?;
        link(&Path::new("/usr/lib/rustlib").join(&host).join("lib"), &rustlib.join(&host).join("lib"))?;
        link(&linker, &rustlib.join(&host).join("bin/rust-lld"))?;
        link(Path::new(&cargo), &folder.join("bin/cargo"))?;
        link(&library, &rustlib.join("src-root"))?;
        let rustc = folder.join("bin/rustc");
        fs::write(&rustc, format!("#!/bin/sh\nexec {RUSTC} --sysroot '{}' \"$@\"\n", folder.display()))?;
        executable(&rustc)
    })?;
    let work = folder.join("work");
    io(|| {
        fs::create_dir_all(work.join("src"))?;
        fs::write(work.join("Cargo.toml"), EMPTY_MANIFEST)?;
        fs::write(work.join("src/lib.rs"), "#![no_std]\n")
    })?;
    let target = work.join("target");
    command(&cargo, &["build", "--release", "--target", TARGET, "-Zbuild-std=std,panic_abort", "--manifest-path"])
        .arg(work.join("Cargo.toml"))
        .env("RUSTC", RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Cembed-bitcode=yes")
        .env("CARGO_TARGET_DIR", &target)
        .run()?;
    let built = target.join(TARGET).join("release/deps");
    io(|| {
        for file in built.read_dir()?.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if name.ends_with(".rlib") && !name.starts_with("libempty-") {
                fs::copy(file.path(), wasm.join(name))?;
            }
        }
        fs::remove_dir_all(&work)
    })
}

const EMPTY_MANIFEST: &str = "\
[package]
name = \"empty\"
version = \"0.0.0\"
edition = \"2021\"

[profile.release]
panic = \"abort\"

[workspace]
";

/// The platform of the Rust in use.
fn host() -> Result<String, String> {
    let version = command("rustc", &["-vV"]).read().ok_or("`rustc` does not run")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "`rustc -vV` names no host".to_owned())
}

/// The folder above `library/` in the sources that the distribution ships.
fn library_source() -> Result<PathBuf, String> {
    let files = command("dpkg", &["-L", "rust-web-src"]).read().ok_or("rust-web-src is not installed")?;
    let manifest = files.lines().find(|line| line.ends_with("/library/std/Cargo.toml"));
    let root = manifest.and_then(|manifest| Path::new(manifest).ancestors().nth(3));
    root.map(Path::to_owned).ok_or_else(|| "rust-web-src holds no library/std".to_owned())
}

fn io(work: impl FnOnce() -> std::io::Result<()>) -> Result<(), String> {
    work().map_err(|error| error.to_string())
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(unix)]
fn executable(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
}

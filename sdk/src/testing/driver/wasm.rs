//! The sandbox of all drivers of a test program.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use millstream::pipeline::driver::Components;

use super::Refused;

/// Uses the sandbox, which is made first if there is none yet.
pub(super) fn with_components<R>(act: impl FnOnce(&Components) -> R) -> Result<R, Refused> {
    static COMPONENTS: OnceLock<Result<Mutex<Components>, Refused>> = OnceLock::new();
    let components = COMPONENTS.get_or_init(|| {
        let made = Components::new(artifacts()?, server()?);
        made.map(Mutex::new).map_err(|error| Refused::of(&error))
    });
    let components = components.as_ref().map_err(Clone::clone)?;
    // One plugin is made at a time; a panic while one is made leaves the others as they are.
    Ok(act(&components.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Artifacts are kept beside the test program, in cargo's target folder, so that they are made once.
fn artifacts() -> Result<PathBuf, Refused> {
    let program = std::env::current_exe()
        .map_err(|error| Refused::new("sandbox_unavailable", format_args!("find this program: {error}")))?;
    Ok(program.parent().unwrap_or(Path::new(".")).join("millstream-artifacts"))
}

/// The server's binary, which compiles.
fn server() -> Result<PathBuf, Refused> {
    if let Some(program) = std::env::var_os("MILLSTREAM_BIN") {
        return Ok(program.into());
    }
    // Tests are in `deps` below the folder of their workspace's binaries.
    let test = std::env::current_exe().unwrap_or_default();
    let beside = test.ancestors().nth(2).map(Path::to_owned);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut programs =
        beside.into_iter().chain(std::env::split_paths(&folders)).map(|folder| folder.join("millstream"));
    let found = programs.find(|program| program.is_file());
    found.ok_or_else(|| {
        Refused::new(
            "sandbox_unavailable",
            "components are compiled by the binary `millstream`, which is not on the `PATH`: install it, or name it in `MILLSTREAM_BIN`",
        )
    })
}

//! What the build needs of a machine: checked each time, installed where it may be, and otherwise named with the exact
//! commands. When all is there this takes a fraction of a second.
//!
//! CMake is not among it: the C and C++ libraries that we build are compiled by their crates' build scripts.

use crate::command::{Shown, command, loud};

mod guest_std;
mod rust;
mod system;

/// What the machine turned out to have.
pub(crate) struct Machine {
    /// The toolchain that compiles plugins, where it is not the one that compiles the host.
    guest_toolchain: Option<String>,
    /// Whether `wasm32-wasip2` can be built. Only a test of the sandbox wants it.
    pub(crate) wasip2: bool,
}

impl Machine {
    /// Tells what is run from here which toolchain compiles plugins.
    pub(crate) fn inform(&self, shown: Shown) -> Shown {
        match &self.guest_toolchain {
            Some(name) => shown.env("MILLSTREAM_GUEST_TOOLCHAIN", name),
            None => shown,
        }
    }

    /// What compiles plugins, for clippy on their target.
    pub(crate) fn compiles_guests_itself(&self) -> bool {
        self.guest_toolchain.is_none()
    }
}

/// Checks the machine and installs what it lacks.
pub(crate) fn run() -> Result<Machine, String> {
    system::prepare()?;
    rust::components()?;
    let guest_toolchain = if rust::target("wasm32-unknown-unknown") { None } else { Some(guest_std::toolchain()?) };
    let wasip2 = rust::target("wasm32-wasip2");
    if !wasip2 {
        loud(&[
            "The Rust target wasm32-wasip2 is not there and could not be added.",
            "SKIPPED: the test that runs a plugin with WASI imports. Everything else runs.",
        ]);
    }
    Ok(Machine { guest_toolchain, wasip2 })
}

/// Whether a program can be run with these arguments.
fn works(program: &str, arguments: &[&str]) -> bool {
    command(program, arguments).works()
}

//! The commands that build programs of the workspace and run one of them.
//!
//! What is built is always the whole workspace's programs: with other selections cargo unifies features differently and
//! would compile the heavy libraries again.

use crate::command::{Shown, cargo, command, target};
use crate::prepare::{self, Machine};

/// `cargo demo`.
pub(crate) fn demo(arguments: &[String]) -> Result<(), String> {
    run("demo", arguments)
}

/// `cargo speed`: without the checks that tests are compiled with, as what is shipped has none.
pub(crate) fn speed(arguments: &[String]) -> Result<(), String> {
    const UNCHECKED: [&str; 4] =
        ["--config", "profile.dev.overflow-checks=false", "--config", "profile.dev.debug-assertions=false"];
    run_built("bench", &UNCHECKED, arguments)
}

/// `cargo vectors`.
pub(crate) fn vectors(arguments: &[String]) -> Result<(), String> {
    run("vectors", arguments)
}

/// Simulations, any number of seeds.
pub(crate) fn sim(arguments: &[String]) -> Result<(), String> {
    run("sim", arguments)
}

/// The simulations of `cargo verify`: the same seeds each time, which take less than two minutes.
pub(crate) fn sim_of_fixed_seeds() -> Result<(), String> {
    command(target()?.join("debug/sim"), &["--seeds", "1500"]).run()
}

/// The crash tests, any number of times.
pub(crate) fn crash(arguments: &[String]) -> Result<(), String> {
    let machine = prepare::run()?;
    build(&machine)?;
    let mut test =
        cargo(&["test", "--locked", "--workspace", "--test", "crash", "--test", "stateful_crash", "--", "--nocapture"]);
    for pair in arguments.chunks(2) {
        test = match pair {
            [name, value] if name == "--runs" => test.env("MILLSTREAM_CRASH_RUNS", value),
            [name, value] if name == "--seed" => test.env("MILLSTREAM_CRASH_SEED", value),
            _ => return Err(format!("`{}` is not `--runs N` or `--seed S`", pair.join(" "))),
        };
    }
    with_programs(&machine, test)?.run()
}

/// Builds the programs of the workspace.
pub(crate) fn build(machine: &Machine) -> Result<(), String> {
    build_with(machine, &[])
}

fn build_with(machine: &Machine, settings: &[&str]) -> Result<(), String> {
    let arguments = [&["build", "--locked", "--workspace", "--bins"], settings].concat();
    machine.inform(cargo(&arguments)).run()
}

/// Tells tests and programs where the binary is that was just built.
pub(crate) fn with_programs(machine: &Machine, shown: Shown) -> Result<Shown, String> {
    Ok(machine.inform(shown).env("MILLSTREAM_BIN", target()?.join("debug/millstream")))
}

fn run(program: &str, arguments: &[String]) -> Result<(), String> {
    run_built(program, &[], arguments)
}

/// Builds with some settings of cargo, and runs.
fn run_built(program: &str, settings: &[&str], arguments: &[String]) -> Result<(), String> {
    let machine = prepare::run()?;
    build_with(&machine, settings)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    with_programs(&machine, command(target()?.join("debug").join(program), &arguments))?.run()
}

//! What `cargo demo`, `cargo verify`, `cargo speed` and `cargo vectors` run.
//!
//! Every command first makes sure that the machine has what the build needs (see [`prepare`]), then runs cargo. This crate
//! uses the standard library alone: it is compiled before anything has been checked, on machines that may have nothing.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the terminal is the whole interface of this tool")]

use std::process::ExitCode;

mod command;
mod prepare;
mod programs;
mod verify;

const HELP: &str = "\
usage: cargo run -p xtask -- <command>

  demo            build everything, then count page views per minute through a SIGKILL   (cargo demo)
  verify          format, lints, dependencies, tests, documentation                      (cargo verify)
  speed [ARGS]    build and run the benchmarks; `--json FILE` writes them too            (cargo speed)
  vectors FILE..  run event-time test vectors on the engine; `--only ID`, `--quiet`      (cargo vectors)
  sim [ARGS]      simulate servers, each from a seed; `--seeds N` of them from `--seed S` on
  crash [ARGS]    kill the server at random moments; `--runs N` times, `--seed S`
  prepare         only install or check what the build needs
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match name.as_str() {
        "demo" => programs::demo(&rest),
        "verify" => verify::run(&rest),
        "speed" => programs::speed(&rest),
        "vectors" => programs::vectors(&rest),
        "sim" => programs::sim(&rest),
        "crash" => programs::crash(&rest),
        "prepare" => prepare::run().map(|_| ()),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => Err(format!("`{other}` is no command of xtask\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("\nerror: {message}");
            ExitCode::FAILURE
        }
    }
}

//! `vectors FILE..`: runs the event-time test vectors of files and says what became of each.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the terminal is the whole interface of this tool")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use vectors::{Plugins, Summary};

/// Runs event-time test vectors on the real engine, with plugins in the sandbox: straight, through restarts, and with
/// micro-batches cut at random.
#[derive(Debug, Parser)]
#[command(name = "cargo vectors")]
struct Arguments {
    /// Files of vectors.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Only the vectors whose names have this in them.
    #[arg(long, default_value = "")]
    only: String,
    /// Say nothing of vectors that hold.
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(Summary { failed: 0, .. }) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<Summary> {
    let plugins = Plugins::new()?;
    let mut all = Summary::default();
    for file in &arguments.files {
        let summary = vectors::run(file, &arguments.only, &plugins, |outcome| {
            if !arguments.quiet || outcome.verdict != vectors::Verdict::Passed {
                println!("{outcome}");
            }
        })?;
        all.passed += summary.passed;
        all.failed += summary.failed;
        all.not_applicable += summary.not_applicable;
    }
    println!("{all}");
    Ok(all)
}

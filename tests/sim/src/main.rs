//! Runs simulations: so many seeds, or one again with all that it did.
#![expect(clippy::print_stdout, reason = "the terminal is the whole interface of this tool")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use sim::operation::Range;
use sim::{Settings, run};

/// Simulates servers, each from a seed.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How much each does
    #[arg(long, default_value_t = 60)]
    operations: u64,
    /// Stop after so many seconds, even if there are seeds left
    #[arg(long)]
    seconds: Option<u64>,
    /// What is not done: concurrent, slow, full, failing, rewinds, restores, recreates, losses, crashes
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Show all that is done, of every seed
    #[arg(long)]
    trace: bool,
    /// Go on after a seed that fails
    #[arg(long)]
    go_on: bool,
}

impl Arguments {
    fn settings(&self, seed: u64) -> Settings {
        let does = |what: &str| !self.without.iter().any(|without| without == what);
        let range = Range {
            concurrent: does("concurrent"),
            slow: does("slow"),
            full: does("full"),
            failing: does("failing"),
            rewinds: does("rewinds"),
            restores: does("restores"),
            recreates: does("recreates"),
            losses: does("losses"),
        };
        Settings { operations: self.operations, range, crashes: does("crashes"), ..Settings::new(seed) }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let enough = arguments.seconds.map(Duration::from_secs);
    let (mut failed, mut ran, mut lives, mut commits) = (0, 0, 0, 0);
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
        if enough.is_some_and(|enough| started.elapsed() >= enough) {
            break;
        }
        let outcome = run(arguments.settings(seed));
        (ran, lives, commits) = (ran + 1, lives + outcome.lives, commits + outcome.commits);
        if arguments.trace || (!outcome.violations.is_empty() && !arguments.go_on) {
            outcome.trace.iter().for_each(|line| println!("{line}"));
        }
        if !outcome.violations.is_empty() {
            failed += 1;
            println!("seed {seed} fails:");
            outcome.violations.iter().for_each(|violation| println!("  {violation}"));
            println!(
                "  again: cargo run -p xtask -- sim --seed {seed} --seeds 1 --operations {}",
                arguments.operations
            );
            if !arguments.go_on {
                break;
            }
        }
    }
    println!(
        "{ran} seeds, {lives} servers, {commits} commits in {:.1} s: {failed} failed",
        started.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

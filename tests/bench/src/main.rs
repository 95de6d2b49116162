//! `cargo speed`: what Millstream costs, beside native loops over the same bytes in the same run.
//!
//! Machines are noisy, so each figure is the best of several rounds and stands beside a native figure from the same
//! rounds. Per-core figures divide by the CPU time of the whole process, helpers such as the log's writer included.

mod bench;
mod boundary;
mod checkpoints;
mod counts;
mod generator;
mod idle;
mod input;
mod joins;
mod larger;
mod measure;
mod paced;
mod recovery;
mod report;
mod restores;
mod stateless;
mod upgrades;
mod windows;

use std::path::PathBuf;

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    /// Write the figures to this file as JSON: name, value, unit, ratio to native.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only the rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Records of each keyed and log run.
    #[arg(long, default_value_t = 8_000_000)]
    records: u64,
    /// MiB of state that is restored.
    #[arg(long, default_value_t = 1024)]
    state_mib: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The sandbox compiles in a process of its own, which is this binary again.
    if std::env::args().nth(1).as_deref() == Some(millstream::plugin::WORKER_COMMAND) {
        std::process::exit(i32::from(millstream::plugin::run_worker() != std::process::ExitCode::SUCCESS));
    }
    let arguments = Arguments::parse();
    let mut report = report::Report::new(arguments.only.clone());
    boundary::run(&mut report).await?;
    stateless::run(&mut report, arguments.records).await?;
    counts::run(&mut report, arguments.records).await?;
    windows::run(&mut report, arguments.records).await?;
    joins::run(&mut report, arguments.records).await?;
    larger::run(&mut report, arguments.records).await?;
    checkpoints::run(&mut report).await?;
    restores::run(&mut report, arguments.state_mib).await?;
    upgrades::run(&mut report).await?;
    recovery::run(&mut report)?;
    idle::run(&mut report)?;
    report.print();
    if let Some(path) = arguments.json {
        std::fs::write(path, report.json()?)?;
    }
    Ok(())
}

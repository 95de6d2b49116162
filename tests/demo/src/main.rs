//! `cargo demo`: page views per minute over a durable log, through a SIGKILL, checked to the last window.
//!
//! A real server, real plugins and the pipeline of `tenants/web-shop`. [`stage`] sets them up, [`feed`] writes a stream
//! that knows its own answer, [`play`] watches and kills, [`probe`] measures latency, [`verdict`] compares. What is found
//! wrong makes the exit code 1; a signal ends everything cleanly with 130.

mod feed;
mod interrupt;
mod play;
mod probe;
mod results;
mod screen;
mod stage;
mod verdict;

use std::process::ExitCode;

use clap::Parser;

use interrupt::Interrupt;
use screen::Screen;

/// Counts page views per minute with WebAssembly plugins, kills the server in the middle, and checks every window.
#[derive(Debug, Clone, Copy, Parser)]
#[command(name = "demo")]
struct Flags {
    /// What the stream is made from: the same seed and number of records make the same stream
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clicks to write, unless the time is over before
    #[arg(long, default_value_t = 12_000_000)]
    records: u64,
    /// Seconds to write clicks for, unless all are written before
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// How often to kill the server
    #[arg(long, default_value_t = 1)]
    kills: u32,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let mut screen = Screen::new();
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => return screen.fail(&error),
    };
    match run(flags, &mut screen, &interrupt) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whatever went wrong, it did so because a signal ended the server too.
        Err(_) if interrupt.is_raised() => screen.interrupted(),
        Err(error) => screen.fail(&error),
    }
}

/// The whole demonstration, and whether everything was as it should be.
fn run(flags: Flags, screen: &mut Screen, interrupt: &Interrupt) -> anyhow::Result<bool> {
    screen.introduce(flags)?;
    let mut stage = stage::Stage::set(screen, interrupt)?;
    let played = play::play(flags, &mut stage, screen, interrupt)?;
    let verdict = verdict::Verdict::reach(&mut stage, played)?;
    screen.conclude(&verdict)?;
    Ok(verdict.is_good())
}

//! The command line: one binary that is the server and its client.
//!
//! Each file has the commands of one thing. Commands that speak to a server use its API and nothing else; what they print
//! with `-o json` is the API's object. `host/docs/cli.md` describes them.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

mod checkpoint;
mod client;
mod dead_letters;
mod failure;
mod output;
mod pipeline;
mod plugin;
mod progress;
mod serve;
mod topic;
mod when;

use client::Client;
use failure::Failure;
use output::Format;

#[derive(Debug, Parser)]
#[command(
    name = "millstream",
    version,
    about = "Runs stream processing written as WebAssembly plugins",
    after_help = "Examples:\n  millstream serve --data ./data\n  millstream topic create clicks --partitions 4\n  \
                  millstream plugin new my-filter && millstream plugin build my-filter\n  \
                  millstream plugin push my-filter/my-filter.wasm\n  millstream pipeline apply pipeline.toml\n  \
                  millstream topic tail results --follow",
    propagate_version = true
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Common {
    /// Address of the server that commands speak to
    #[arg(long, global = true, env = "MILLSTREAM_SERVER", default_value = "http://127.0.0.1:7070")]
    server: String,
    /// How data is printed
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
    /// What to log to standard error, such as `info` or `warn,millstream=debug`
    #[arg(long, global = true, env = "RUST_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server
    Serve(serve::Serve),
    /// Write, build, check and push plugins
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Deploy and control pipelines
    #[command(subcommand)]
    Pipeline(pipeline::Pipeline),
    /// Take, list, verify and delete checkpoints of pipelines
    #[command(subcommand)]
    Checkpoint(checkpoint::Checkpoint),
    /// Make topics, write and read their records
    #[command(subcommand)]
    Topic(topic::Topic),
    /// Look at records that a pipeline could not process
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
}

/// What commands share.
#[derive(Debug)]
struct Session {
    server: String,
    format: Format,
}

impl Session {
    /// The server.
    fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.server)
    }
}

/// Runs the command that the program was called with.
pub fn run() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let default = if matches!(command, Command::Serve(_)) { "info" } else { "warn" };
    let ended = log_to_stderr(common.log.as_deref().unwrap_or(default)).and_then(|()| {
        let session = Session { server: common.server, format: common.output };
        match command {
            Command::Serve(serve) => serve.run(),
            Command::Plugin(plugin) => plugin.run(&session),
            Command::Pipeline(pipeline) => pipeline.run(&session),
            Command::Checkpoint(checkpoint) => checkpoint.run(&session),
            Command::Topic(topic) => topic.run(&session),
            Command::DeadLetters(dead_letters) => dead_letters.run(&session),
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::say(&failure);
            failure.exit_code()
        }
    }
}

fn log_to_stderr(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::new("invalid_log_filter", crate::error::Kind::Invalid, format!("--log `{filter}`: {error}"))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_is_for() {
        fn check(command: &clap::Command, path: &str) {
            for command in command.get_subcommands() {
                let path = format!("{path} {}", command.get_name());
                assert!(command.get_about().is_some(), "`{path}` has no help");
                for argument in command.get_arguments() {
                    assert!(argument.get_help().is_some(), "`{path}` does not explain `{}`", argument.get_id());
                }
                check(command, &path);
            }
        }
        check(&Cli::command(), "millstream");
    }
}

//! The binary: the command line, and the process that compiles plugins for the server.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First: the process that compiles untrusted components starts nothing else of the program.
    if std::env::args_os().nth(1).is_some_and(|command| command == millstream::plugin::WORKER_COMMAND) {
        return millstream::plugin::run_worker();
    }
    millstream::cli::run()
}

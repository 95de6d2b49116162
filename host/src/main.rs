//! The binary: the command line, and the process that compiles plugins for the server.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: the process that compiles what strangers uploaded has nothing of the rest.
    if std::env::args_os().nth(1).is_some_and(|command| command == millstream::plugin::WORKER_COMMAND) {
        return millstream::plugin::run_worker();
    }
    millstream::cli::run()
}

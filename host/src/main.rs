//! The binary `millstream`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the process that compiles uploads has nothing of the server in it.
    if std::env::args_os().nth(1).is_some_and(|command| command == millstream::plugin::WORKER_COMMAND) {
        return millstream::plugin::run_worker();
    }
    ExitCode::SUCCESS
}

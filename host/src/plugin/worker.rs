//! The compiling process, from the outside: started for one request, killed when it takes too long.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::error::Error;
use super::limits::CompileLimits;
use super::wire::{self, HEAD_BYTES_MAX, Reply, Request};

/// The hidden command of the binary that serves one request; see [`run_worker`](super::run_worker).
pub const WORKER_COMMAND: &str = "compile-worker";

/// Compilations at once. Each may take a whole core and a gigabyte; uploads can wait, records cannot.
const WORKERS_MAX: usize = 2;

/// How much of its standard error is read.
const STDERR_BYTES_MAX: u64 = 64 << 10;

/// What Rust's runtime writes before it aborts for want of memory; there is no other sign.
const NO_MEMORY_TEXT: &str = "memory allocation of";

/// Starts compiling processes.
#[derive(Debug)]
pub(super) struct Workers {
    program: PathBuf,
    slots: Semaphore,
}

impl Workers {
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, slots: Semaphore::new(WORKERS_MAX) }
    }

    /// Has a request served. Dropping the future kills the process.
    pub(super) async fn serve(&self, request: &Request, component: &[u8]) -> Result<(Reply, Vec<u8>), Error> {
        let limits = &request.limits.compile;
        let failed = |error: std::io::Error| Error::host("talk to the compiling process", error);
        let message = wire::encode(request, component).map_err(failed)?;
        let _slot = self.slots.acquire().await.map_err(|error| Error::host("wait for a compiling process", error))?;
        let mut child = Command::new(&self.program)
            .arg(WORKER_COMMAND)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::host(&format!("start `{} {WORKER_COMMAND}`", self.program.display()), error))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let send = async {
            if let Some(mut stdin) = stdin {
                // A process that ended early closed the pipe; its status says why.
                drop(stdin.write_all(&message).await);
            }
        };
        let answer_max = (limits.artifact_bytes + HEAD_BYTES_MAX) as u64;
        let receive = async {
            let mut answer = Vec::new();
            match stdout {
                Some(stdout) => stdout.take(answer_max).read_to_end(&mut answer).await.map(|_| answer),
                None => Ok(answer),
            }
        };
        let listen = async {
            let mut message = Vec::new();
            if let Some(stderr) = stderr {
                drop(stderr.take(STDERR_BYTES_MAX).read_to_end(&mut message).await);
            }
            String::from_utf8_lossy(&message).into_owned()
        };
        let served = async { tokio::join!(send, receive, listen, child.wait()) };
        let served = tokio::time::timeout(Duration::from_millis(limits.wall_ms), served).await;
        let Ok(((), answer, message, status)) = served else {
            return Err(Error::CompileTimeout { limit_ms: limits.wall_ms });
        };
        let status = status.map_err(failed)?;
        if !status.success() {
            return Err(died(status, &message, limits));
        }
        let answer = answer.map_err(failed)?;
        let (reply, artifact) = wire::decode::<Result<Reply, Error>>(&answer).map_err(failed)?;
        Ok((reply?, artifact.to_vec()))
    }
}

/// Why a process died.
fn died(status: ExitStatus, message: &str, limits: &CompileLimits) -> Error {
    use rustix::process::Signal;
    let signal = status.signal();
    if signal == Some(Signal::XCPU.as_raw()) {
        return Error::CompileTimeout { limit_ms: limits.cpu_seconds * 1_000 };
    }
    if signal == Some(Signal::ABORT.as_raw()) && message.contains(NO_MEMORY_TEXT) {
        return Error::CompileMemory { limit_bytes: limits.memory_bytes };
    }
    let last = message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed nothing");
    let last = super::failure::clip(last);
    Error::CompileCrash { how: format!("{status}; {last}") }
}

//! A server: a process of the real binary on a data folder of its own.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use millstream::fail;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{Client, Endpoint};
use crate::log::Log;
use crate::wait::until;

/// How long a server may take to start or stop: machines that run many tests at once are slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// What stands before the address in the line that says that the server is ready.
const READY: &str = "listening on ";

/// How a server is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// More arguments of `serve`.
    pub arguments: Vec<String>,
    /// Texts of warnings and errors that are expected.
    pub allowed: Vec<String>,
}

impl Options {
    /// Expects warnings and errors that contain one of these texts.
    pub fn expecting(texts: &[&str]) -> Self {
        Self { allowed: texts.iter().map(|&text| text.to_owned()).collect(), ..Self::default() }
    }
}

/// A server. When it is dropped it is killed, and what it logged is looked through.
pub struct Server {
    process: Option<Child>,
    endpoint: Endpoint,
    options: Options,
    log: Log,
    folder: TempDir,
}

impl Server {
    /// Starts a server on a fresh folder.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default())
    }

    /// Starts a server on a fresh folder.
    pub fn start_with(options: Options) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("millstream-").tempdir().context("make a data folder")?;
        let (endpoint, log) = (Endpoint::default(), Log::default());
        let mut server = Self { process: None, endpoint, options, log, folder };
        server.start_again()?;
        Ok(server)
    }

    /// Starts it again on its folder, and answers how long it took until it was ready.
    pub fn start_again(&mut self) -> anyhow::Result<Duration> {
        if self.process.is_some() {
            bail!("the server runs already");
        }
        let start = Instant::now();
        let mut process = serve(self.folder.path(), &self.options.arguments, None)?;
        if let Some(stderr) = process.stderr.take() {
            self.log.collect(stderr);
        }
        let address = ready(&mut process, &self.log);
        self.process = Some(process);
        match address {
            Ok(address) => self.endpoint.set(address),
            Err(error) => bail!("{error:#}; its log ends:\n{}", self.log.tail()),
        }
        self.client().health()?;
        Ok(start.elapsed())
    }

    /// Starts it on its folder so that it aborts when it reaches a point of [`millstream::fail`] for the `count`th time.
    /// Whether it was ready before: the point can be one that it reaches while it starts.
    pub fn start_armed(&mut self, point: &str, count: u64) -> anyhow::Result<bool> {
        if self.process.is_some() {
            bail!("the server runs already");
        }
        let armed = format!("{point}@{count}");
        let mut process = serve(self.folder.path(), &self.options.arguments, Some(&armed))?;
        if let Some(stderr) = process.stderr.take() {
            self.log.collect(stderr);
        }
        let address = ready(&mut process, &self.log);
        self.process = Some(process);
        if let Ok(address) = address {
            self.endpoint.set(address);
            return Ok(true);
        }
        until(PATIENCE, "the armed server to end, as it is not ready", || Ok((!self.is_alive()).then_some(())))?;
        Ok(false)
    }

    /// Whether it has ended by itself, and if so, how. Then it can be started again.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let process = self.process.as_mut().context("the server does not run")?;
        let status = process.try_wait().context("look at the server")?;
        if status.is_some() {
            self.process = None;
        }
        Ok(status)
    }

    /// Starts it on its folder and kills it after that time, ready or not.
    pub fn start_and_kill(&mut self, after: Duration) -> anyhow::Result<()> {
        if self.process.is_some() {
            bail!("the server runs already");
        }
        let mut process = serve(self.folder.path(), &self.options.arguments, None)?;
        if let Some(stderr) = process.stderr.take() {
            self.log.collect(stderr);
        }
        std::thread::sleep(after);
        self.process = Some(process);
        self.kill()
    }

    /// Kills it as a loss of power would: it can do nothing about it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("the server does not run")?;
        process.kill().context("kill the server")?;
        process.wait().context("wait for the killed server")?;
        Ok(())
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("the server does not run")?;
        kill_process(Pid::from_child(&process), Signal::TERM).context("ask the server to stop")?;
        let status = until(PATIENCE, "the server to stop", || Ok(process.try_wait()?))?;
        if !status.success() {
            bail!("the server stopped with {status}; its log ends:\n{}", self.log.tail());
        }
        Ok(())
    }

    /// Tries to run another server on the same folder, and answers its exit code and what it wrote to stderr.
    pub fn rival(&self) -> anyhow::Result<(Option<i32>, String)> {
        let mut process = serve(self.folder.path(), &self.options.arguments, None)?;
        let log = Log::default();
        if let Some(stderr) = process.stderr.take() {
            log.collect(stderr);
        }
        let ended = until(PATIENCE, "the second server to give up", || Ok(process.try_wait()?));
        if ended.is_err() {
            process.kill()?;
        }
        let status = ended?;
        let text = until(PATIENCE, "the second server's last words", || {
            Ok(Some(log.lines()).filter(|lines| !lines.is_empty()))
        })?;
        Ok((status.code(), text.join("\n")))
    }

    /// A client that follows the server through restarts.
    pub fn client(&self) -> Client {
        Client::new(self.endpoint.clone())
    }

    /// The process it runs as; 0 while it does not.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    /// Its data folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has logged.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Warnings and errors that were not expected.
    pub fn trouble(&self) -> Vec<String> {
        self.log.trouble(&self.options.allowed)
    }

    /// Ends it for good, and answers the warnings and errors that were not expected instead of failing on them.
    pub fn leave(mut self) -> anyhow::Result<Vec<String>> {
        self.stop()?;
        let trouble = self.trouble();
        self.options.allowed.extend(trouble.iter().cloned());
        Ok(trouble)
    }

    /// Whether its process is alive.
    pub fn is_alive(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("folder", &self.folder.path()).field("process", &self.process).finish()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some()
            && let Err(error) = self.kill()
        {
            assert!(std::thread::panicking(), "{error:#}");
        }
        if std::thread::panicking() {
            return;
        }
        let trouble = self.trouble();
        assert!(trouble.is_empty(), "the server logged what the test does not expect:\n{}", trouble.join("\n"));
    }
}

fn serve(folder: &Path, arguments: &[String], armed: Option<&str>) -> anyhow::Result<Child> {
    let binary: PathBuf = crate::binary()?;
    Command::new(&binary)
        .envs(armed.map(|armed| (fail::VARIABLE, armed)))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder)
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run `{}`", binary.display()))
}

/// Waits for the line with the address.
fn ready(process: &mut Child, log: &Log) -> anyhow::Result<String> {
    let stdout = process.stdout.take().context("the server has a stdout")?;
    let (send, receive) = mpsc::channel();
    let rest = log.clone();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        let address = match lines.read_line(&mut line) {
            Ok(_) => line.trim().strip_prefix(READY).map(str::to_owned),
            Err(_) => None,
        };
        // Nobody waits any more if the deadline has passed; then there is nothing to tell.
        let _ = send.send(address);
        rest.collect(lines);
    });
    match receive.recv_timeout(PATIENCE) {
        Ok(Some(address)) => Ok(address),
        Ok(None) => bail!("the server ended before it was ready"),
        Err(_) => bail!("the server was not ready after {PATIENCE:?}"),
    }
}

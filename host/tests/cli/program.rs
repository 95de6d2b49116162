//! Running the program, and a server of it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Its data, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// Its data as JSON, if it succeeded.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What it says, if it failed with this exit code and this stable code, in two lines and without data.
    #[track_caller]
    pub(crate) fn failed(self, exit: i32, code: &str) -> String {
        assert_eq!(self.code, Some(exit), "{self:?}");
        assert!(self.stderr.contains(&format!("[{code}]\n  help: ")), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        self.stderr
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.env_remove("RUST_LOG").env_remove("MILLSTREAM_SERVER").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Ended {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = stdin.to_owned();
    // A command that fails does not read everything: what it leaves is no matter.
    let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server on a folder of its own. Killed when it is dropped.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) url: String,
    pub(crate) folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (process, url) = serve(folder.path(), "127.0.0.1:0");
        Self { process, url, folder }
    }

    /// Kills the server and starts it again, at the same address.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let address = self.url.trim_start_matches("http://").to_owned();
        (self.process, self.url) = serve(self.folder.path(), &address);
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.env("MILLSTREAM_SERVER", &self.url).args(arguments);
        command
    }

    /// Runs a command against this server.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        run(&mut self.command(arguments), b"")
    }

    /// Runs a command against this server that reads something.
    pub(crate) fn feed(&self, arguments: &[&str], stdin: &[u8]) -> Ended {
        run(&mut self.command(arguments), stdin)
    }

    /// Starts a command against this server that goes on reading.
    pub(crate) fn open(&self, arguments: &[&str]) -> (Child, ChildStdin) {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        (child, stdin)
    }

    /// The values of all records of a topic, partition by partition.
    pub(crate) fn values(&self, topic: &str) -> Vec<String> {
        let lines = self.run(&["topic", "tail", topic, "--offset", "earliest", "-o", "json"]).ok();
        let value = |line: &str| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["value"].as_str().unwrap().to_owned()
        };
        lines.lines().map(value).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that a test has stopped is gone already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn serve(folder: &Path, address: &str) -> (Child, String) {
    let mut command = program();
    command.args(["serve", "--log", "warn", "--listen", address, "--data"]).arg(folder).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    until("an answer", || ureq::get(format!("{url}/healthz")).call().ok());
    (process, url)
}

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("MILLSTREAM_WORKSPACE"))
}

/// A plugin of this repository, built by the program itself.
pub(crate) fn built(plugin: &str) -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap());
    let file = folder.path().join(format!("{plugin}.wasm"));
    if !file.exists() {
        let project = workspace().join("plugins").join(plugin);
        run(program().args(["plugin", "build"]).arg(project).arg("--out").arg(&file), b"").ok();
    }
    file
}

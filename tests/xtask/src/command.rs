//! Running other programs, visibly.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A command that is shown before it runs.
pub(crate) struct Shown {
    command: Command,
    environment: Vec<(String, OsString)>,
}

/// A program with its arguments.
pub(crate) fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Shown {
    let mut command = Command::new(program);
    command.args(arguments);
    Shown { command, environment: Vec::new() }
}

/// The cargo that runs this tool, in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Shown {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut shown = command(program, arguments).within_workspace();
    // What cargo says to this tool of its package. Build scripts that ask for it would run again, and all that depends on
    // them be compiled anew, each time that cargo is run by hand and by this tool in turns.
    let own = std::env::vars_os().map(|(name, _)| name);
    for name in
        own.filter(|name| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.to_string_lossy().starts_with(of)))
    {
        shown.command.env_remove(name);
    }
    shown
}

impl Shown {
    /// Sets a variable, which is shown too.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.to_owned(), value.as_ref().to_owned()));
        self.command.env(name, value);
        self
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Runs it in the root of the workspace.
    pub(crate) fn within_workspace(mut self) -> Self {
        self.command.current_dir(workspace());
        self
    }

    /// Runs it on this terminal; anything but success is an error.
    pub(crate) fn run(mut self) -> Result<(), String> {
        let line = self.line();
        println!("\x1b[2m$ {line}\x1b[0m");
        let status = self.command.status().map_err(|error| format!("cannot run `{line}`: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("`{line}` ended with {status}")) }
    }

    /// Runs it unseen and answers what it wrote to stdout, if it succeeded.
    pub(crate) fn read(mut self) -> Option<String> {
        let output = self.command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Whether it can be run and succeeds, unseen.
    pub(crate) fn works(self) -> bool {
        self.read().is_some()
    }

    /// What a person would type.
    fn line(&self) -> String {
        let program = Path::new(self.command.get_program());
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
        let variables = self.environment.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let arguments = self.command.get_args().map(quoted);
        let words: Vec<String> = variables.chain([name.into_owned()]).chain(arguments).collect();
        words.join(" ")
    }
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.contains(char::is_whitespace) { format!("'{word}'") } else { word.into_owned() }
}

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    PathBuf::from(env!("MILLSTREAM_WORKSPACE"))
}

/// Where tools that outlive a checkout are kept: `$XDG_CACHE_HOME/millstream` or `~/.cache/millstream`.
pub(crate) fn cache() -> Result<PathBuf, String> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.map(|cache| cache.join("millstream")).ok_or_else(|| "set HOME: it says where tools are kept".to_owned())
}

/// Where cargo puts what it builds: the folder that this tool itself was built into.
pub(crate) fn target() -> Result<PathBuf, String> {
    let executable = std::env::current_exe().map_err(|error| format!("where is this program: {error}"))?;
    let target = executable.ancestors().nth(2).map(Path::to_owned);
    target.ok_or_else(|| format!("`{}` is not in cargo's target folder", executable.display()))
}

/// Says something that must not be overlooked.
pub(crate) fn loud(lines: &[&str]) {
    let rule = "=".repeat(80);
    eprintln!("\n\x1b[1;33m{rule}");
    for line in lines {
        eprintln!("  {line}");
    }
    eprintln!("{rule}\x1b[0m\n");
}

//! How a command ends that did not succeed: what happened, what to do, and an exit code that scripts can rely on.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::api::Details;
use crate::error::{Coded, Kind};

/// What went wrong with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    code: String,
    kind: Kind,
    detail: String,
    request_id: Option<String>,
}

impl Failure {
    /// What goes wrong in the command itself.
    pub(super) fn new(code: &str, kind: Kind, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), kind, detail: detail.into(), request_id: None }
    }

    /// The system refused to read or write a file.
    pub(super) fn file(action: &str, path: &Path, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::AlreadyExists => Kind::Conflict,
            std::io::ErrorKind::StorageFull => Kind::StorageFull,
            _ => Kind::Invalid,
        };
        Self::new("local_file", kind, format!("{action} `{}`: {error}", path.display()))
    }

    /// The stable code.
    #[cfg(test)]
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// Whether the same may succeed later.
    pub(super) const fn retry(&self) -> bool {
        self.kind.retry()
    }

    /// The exit code.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit_code())
    }

    /// What to do about it, in one line.
    fn advice(&self) -> &'static str {
        match self.code.as_str() {
            "server_unreachable" => "start one with `millstream serve --data DIR`, or name another with --server",
            "checkpoint_not_found" => "`millstream checkpoint list PIPELINE` shows what there is",
            "topic_not_found" => "`millstream topic list` shows what there is, `topic create` makes one",
            "plugin_not_found" | "plugin_version_not_found" => "`millstream plugin list` shows what there is",
            "pipeline_not_found" => "`millstream pipeline list` shows what there is",
            "wasm_target_missing" => "install it with `rustup target add wasm32-unknown-unknown`",
            "offset_out_of_range" => "`millstream topic describe` shows where partitions begin and end",
            "topic_conflict" => "`millstream topic describe` shows how it was made",
            "data_folder_in_use" => "stop the other server, or choose another folder with --data",
            "listen_not_loopback" => "listen on 127.0.0.1, and let a proxy with access control stand before it",
            "build_failed" | "tests_failed" => "correct what the compiler or the tests say above",
            _ => match self.kind {
                Kind::Invalid => "correct it and try again; the code is explained in host/docs/errors.md",
                Kind::Unauthenticated => "the server does not know who asks: its log says more",
                Kind::Forbidden => "ask for the right that the error names",
                Kind::NotFound => "name something that exists",
                Kind::Conflict => "look at what is there now and decide again",
                Kind::TooLarge => "send less at once",
                Kind::Limit => "stay inside the limit: host/docs/limits.md has all of them",
                Kind::Quota => "remove what is not needed, or have the quota raised: host/docs/limits.md",
                Kind::Throttled => "try again later, and with less at once",
                Kind::Unavailable => "try again later; the server's log says more",
                Kind::StorageFull => "free space on the server's disk",
                Kind::Corrupt => "restore from a copy; the server's log says what is damaged",
                Kind::Internal => "report this with the server's log",
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {} [{}]", self.detail, self.code)?;
        write!(f, "  help: {}", self.advice())?;
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.code(), error.kind(), error.to_string())
    }
}

impl From<Details> for Failure {
    fn from(problem: Details) -> Self {
        let request_id = Some(problem.request_id).filter(|id| !id.is_empty());
        Self { code: problem.code, kind: problem.kind, detail: problem.detail, request_id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Problem;
    use crate::log;

    #[test]
    fn a_problem_of_the_server_ends_a_command_as_the_error_itself_would() {
        let error = log::Error::TopicNotFound { topic: "clicks".parse().expect("a name") };
        let local = Failure::from(error.clone());
        let remote = Failure::from(*Problem::from(error).0);
        assert_eq!(local, remote);
        assert_eq!(local.exit_code(), ExitCode::from(3));
        let lines: Vec<_> = local.to_string().lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "error: topic `clicks` does not exist [topic_not_found]");
        assert!(lines[1].starts_with("  help: `millstream topic list`"));
    }
}

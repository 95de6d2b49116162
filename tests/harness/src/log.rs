//! The log lines of a server, collected while it runs.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

/// The lines of a server, over all of its restarts, in order.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Collects lines until their source ends.
    pub(crate) fn collect(&self, source: impl Read + Send + 'static) {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines() {
                let Ok(line) = line else { break };
                log.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Warnings and errors that contain none of these texts.
    pub fn trouble(&self, allowed: &[String]) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| is_trouble(line) && !allowed.iter().any(|text| line.contains(text)));
        lines
    }

    /// The last lines, to explain a failure.
    pub fn tail(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// Whether a line is a warning, an error, or the message of a panic.
pub fn is_trouble(line: &str) -> bool {
    // Time, level, target, message: the level is among the first words.
    let level = line.split_whitespace().take(3).any(|word| word == "WARN" || word == "ERROR");
    level || line.contains("panicked at")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_errors_and_panics_are_trouble() {
        for line in [
            "2026-01-01T00:00:00.000000Z  WARN millstream::pipeline: backing off",
            "2026-01-01T00:00:00.000000Z ERROR millstream::log: the disk is full",
            "thread 'main' panicked at src/main.rs:1:1:",
        ] {
            assert!(is_trouble(line), "{line}");
        }
        assert!(!is_trouble("2026-01-01T00:00:00.000000Z  INFO millstream::api: a word: ERROR"));
    }
}

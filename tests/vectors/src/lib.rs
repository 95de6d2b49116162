//! Runs event-time test vectors on the real engine, with plugins in the sandbox.
//!
//! A vector says in the words of another engine what happens and what must come of it. `translate` says the same in ours:
//! a manifest, records and marks, rows. `play` lets it happen through a driver of pipelines, straight, through restarts and
//! with micro-batches cut at random. What the format does not know, or we do not, is a failure with a reason.

mod format;
mod play;
mod plugins;
mod translate;
mod trial;

use std::fmt;
use std::path::Path;

use serde_json::Value;

use crate::format::{File, Vector};
pub use crate::plugins::Plugins;
use crate::translate::{How, translate};

/// What became of a vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not, and why.
    Failed(String),
    /// There is no such thing here, and why.
    NotApplicable(String),
}

/// A vector and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its name.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// What became of it.
    pub verdict: Verdict,
    /// What a reader should know of how it was run.
    pub notes: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, title, verdict, notes } = self;
        let word = match verdict {
            Verdict::Passed => "pass",
            Verdict::Failed(_) => "FAIL",
            Verdict::NotApplicable(_) => "n/a ",
        };
        write!(f, "{word}  {id}  {title}")?;
        if !notes.is_empty() {
            write!(f, "  [{}]", notes.join("; "))?;
        }
        match verdict {
            Verdict::Passed => Ok(()),
            Verdict::NotApplicable(reason) => write!(f, ": {reason}"),
            Verdict::Failed(what) => what.lines().try_for_each(|line| write!(f, "\n        {line}")),
        }
    }
}

/// Counts of verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Vectors that hold.
    pub passed: u64,
    /// Vectors that do not.
    pub failed: u64,
    /// Vectors of which there is no such thing here.
    pub not_applicable: u64,
}

impl Summary {
    /// Counts a verdict.
    pub fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(_) => self.failed += 1,
            Verdict::NotApplicable(_) => self.not_applicable += 1,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, not_applicable } = self;
        let all = passed + failed + not_applicable;
        write!(f, "{all} vectors: {passed} passed, {failed} failed, {not_applicable} not applicable")
    }
}

/// Runs the vectors of a file, of whose names `only` is a part, and hands over each outcome.
pub fn run(path: &Path, only: &str, plugins: &Plugins, mut each: impl FnMut(Outcome)) -> anyhow::Result<Summary> {
    let file = File::read(path)?;
    let mut summary = Summary::default();
    for vector in file.vectors.iter().filter(|vector| Vector::name_of(vector).contains(only)) {
        let outcome = outcome(vector, plugins);
        summary.add(&outcome.verdict);
        each(outcome);
    }
    Ok(summary)
}

fn outcome(value: &Value, plugins: &Plugins) -> Outcome {
    let refused = |title: String, what| Outcome {
        id: Vector::name_of(value),
        title,
        verdict: Verdict::Failed(what),
        notes: Vec::new(),
    };
    let vector = match Vector::read(value) {
        Ok(vector) => vector,
        Err(what) => return refused(String::new(), what),
    };
    let title = match &vector.divergence {
        Some(divergence) => format!("{} ({divergence})", vector.title),
        None => vector.title.clone(),
    };
    let translated = match translate(&vector) {
        Ok(translated) => translated,
        Err(what) => return refused(title, what),
    };
    let verdict = match (&translated.how, translated.run(plugins)) {
        (How::NotApplicable(reason), _) => Verdict::NotApplicable(reason.clone()),
        (_, Ok(())) => Verdict::Passed,
        (_, Err(what)) => Verdict::Failed(what),
    };
    Outcome { id: vector.id, title, verdict, notes: translated.notes }
}

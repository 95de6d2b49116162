//! Lines that plugins write: bounded a line, a call and a second, and written to the server's log under the target
//! `plugin` with the names of their tenant, pipeline and step.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::limits::CallLimits;
use crate::ids::{PipelineName, StepName, TenantId};

/// Levels of a line, as in the contract.
pub(super) const WARN: u8 = 2;
pub(super) const INFO: u8 = 3;

/// Over which time the lines of a step are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Whose code runs: the names that its log lines carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub tenant: TenantId,
    pub pipeline: PipelineName,
    pub step: StepName,
    /// Whether it is a trial on samples, of which no lines are written.
    pub is_trial: bool,
}

/// A line that a plugin wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    level: u8,
    text: String,
}

/// The lines of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lines {
    lines: Vec<Line>,
    bytes: usize,
    suppressed: u64,
}

impl Lines {
    /// Takes a line, or as much of it as the limits allow.
    pub(super) fn push(&mut self, limits: &CallLimits, level: u8, text: &str) {
        let text = &text[..text.floor_char_boundary(limits.log_line_bytes)];
        if self.lines.len() >= limits.log_lines || self.bytes + text.len() > limits.log_bytes {
            self.suppressed += 1;
            return;
        }
        self.bytes += text.len();
        self.lines.push(Line { level, text: escape(text) });
    }

    /// Counts a line that cannot be written.
    pub(super) fn suppress(&mut self) {
        self.suppressed += 1;
    }
}

/// A line must stay a line, and may not drive a terminal.
fn escape(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    escaped
}

/// Where the lines of a step go.
#[derive(Debug)]
pub(super) struct Sink {
    owner: Owner,
    lines_second: u32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
    suppressed: u64,
}

impl Window {
    /// How many lines were suppressed before this moment, if it begins a new window.
    fn turn(&mut self, now: Instant) -> u64 {
        if now.duration_since(self.began) < WINDOW {
            return 0;
        }
        self.began = now;
        self.lines = 0;
        std::mem::take(&mut self.suppressed)
    }

    fn admit(&mut self, lines_second: u32) -> bool {
        let admitted = self.lines < lines_second;
        if admitted {
            self.lines += 1;
        } else {
            self.suppressed += 1;
        }
        admitted
    }
}

impl Sink {
    pub(super) fn new(owner: Owner, limits: &CallLimits) -> Self {
        let window = Window { began: Instant::now(), lines: 0, suppressed: 0 };
        Self { owner, lines_second: limits.log_lines_second, window: Mutex::new(window) }
    }

    /// Writes the lines of a call, as many as the step may write in this second.
    pub(super) fn write(&self, lines: &Lines) {
        if self.owner.is_trial || (lines.lines.is_empty() && lines.suppressed == 0) {
            return;
        }
        let (admitted, suppressed) = {
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            let suppressed = window.turn(Instant::now());
            let admitted = lines.lines.iter().take_while(|_| window.admit(self.lines_second)).count();
            // `take_while` counted the first line that was not admitted; here come those after it.
            let unseen = (lines.lines.len() - admitted).saturating_sub(1) as u64;
            window.suppressed += unseen + lines.suppressed;
            (admitted, suppressed)
        };
        if suppressed > 0 {
            self.line(WARN, &format!("{suppressed} log lines suppressed"));
        }
        for line in lines.lines.iter().take(admitted) {
            self.line(line.level, &line.text);
        }
    }

    fn line(&self, level: u8, text: &str) {
        let Owner { tenant, pipeline, step, is_trial: _ } = &self.owner;
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: "plugin",
                    tracing::Level::$level,
                    %tenant,
                    %pipeline,
                    %step,
                    "{text}"
                )
            };
        }
        match level {
            0 | 1 => event!(ERROR),
            2 => event!(WARN),
            3 => event!(INFO),
            4 => event!(DEBUG),
            _ => event!(TRACE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_at_a_character() {
        let limits = CallLimits { log_line_bytes: 3, ..CallLimits::default() };
        let mut lines = Lines::default();
        lines.push(&limits, INFO, "aéé");
        assert_eq!(lines.lines, [Line { level: INFO, text: "aé".to_owned() }]);
    }

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(escape("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(escape("käse"), "käse");
    }

    #[test]
    fn lines_over_the_limits_of_a_call_are_counted() {
        let limits = CallLimits { log_lines: 2, log_bytes: 5, ..CallLimits::default() };
        let mut lines = Lines::default();
        for text in ["aaaa", "bb", "c", "d"] {
            lines.push(&limits, INFO, text);
        }
        assert_eq!((lines.lines.len(), lines.suppressed), (2, 2));
    }

    #[test]
    fn lines_over_the_limit_of_a_second_are_counted_and_told_in_the_next() {
        let began = Instant::now();
        let mut window = Window { began, lines: 0, suppressed: 0 };
        let admitted = (0..5).filter(|_| window.admit(3)).count();
        assert_eq!((admitted, window.turn(began)), (3, 0));
        assert_eq!(window.turn(began + WINDOW), 2);
        assert!(window.admit(3));
    }
}

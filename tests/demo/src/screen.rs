//! What is shown: in place on a terminal, a line a second anywhere else.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::Flags;
use crate::verdict::Verdict;

/// Time between two pictures on a terminal.
const PICTURE: Duration = Duration::from_millis(200);
/// Time between two lines elsewhere.
const LINE: Duration = Duration::from_secs(1);
/// The exit code after a signal, as shells have it for SIGINT.
const INTERRUPTED: u8 = 130;

/// The terminal, or what stands for it.
#[derive(Debug)]
pub(crate) struct Screen {
    is_terminal: bool,
    /// Lines of the picture that the next one is to replace.
    lines: usize,
    shown: Option<Instant>,
}

/// How things are at a moment.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) elapsed: Duration,
    pub(crate) written: u64,
    pub(crate) counted: u64,
    pub(crate) rate: f64,
    pub(crate) windows: u64,
    pub(crate) late: u64,
    pub(crate) dead_letters: u64,
    /// The start of the newest minute that has results, and its most viewed pages.
    pub(crate) newest: Option<(i64, Vec<(String, u64)>)>,
}

impl Screen {
    /// The terminal as it is.
    pub(crate) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), lines: 0, shown: None }
    }

    /// What is going to happen.
    pub(crate) fn introduce(&mut self, flags: Flags) -> io::Result<()> {
        let Flags { seed, records, seconds, kills } = flags;
        let (records, times) = (count(records), if kills == 1 { "once".to_owned() } else { format!("{kills} times") });
        self.print(&format!(
            "\
{bold}Millstream counts the page views of a web shop, minute by minute.{plain}

  1. A server starts on an empty folder: one process, its log on disk.
  2. Two plugins, compiled to WebAssembly, become a pipeline: parse each click, count each page and minute.
  3. Up to {records} clicks are written over HTTP for up to {seconds} s, as fast as it goes. Some come out of order, some
     too late, some come again, some are no JSON at all; some batches are sent twice. (seed {seed})
  4. In the middle the server is killed {times} with SIGKILL, which it can do nothing about, and started again.
  5. Every window is compared with the answer that the generator kept beside the clicks.

Ctrl-C ends it at any time and leaves nothing behind.
",
            bold = self.style("1"),
            plain = self.style("0"),
        ))
    }

    /// Something that had to be done and took that long.
    pub(crate) fn step(&mut self, what: &str, took: Duration) -> io::Result<()> {
        self.print(&format!("  {:>6}  {what}", seconds(took)))
    }

    /// Something that happened at that time.
    pub(crate) fn note(&mut self, at: Duration, what: &str) -> io::Result<()> {
        let line = format!("{}  {:>6}  {what}{}", self.style("1"), seconds(at), self.style("0"));
        self.print(&line)
    }

    /// Whether it is time for the next picture.
    pub(crate) fn is_due(&self) -> bool {
        let period = if self.is_terminal { PICTURE } else { LINE };
        self.shown.is_none_or(|shown| shown.elapsed() >= period)
    }

    /// Shows how things are.
    pub(crate) fn show(&mut self, scene: &Scene) -> io::Result<()> {
        self.shown = Some(Instant::now());
        let minute = scene.newest.as_ref().map(|(start, pages)| {
            let pages: Vec<_> = pages.iter().map(|(page, views)| format!("{page} {}", count(*views))).collect();
            format!("{}: {}", clock(*start), pages.join(", "))
        });
        let minute = minute.unwrap_or_else(|| "no minute is complete yet".to_owned());
        let (time, rate) = (seconds(scene.elapsed), count(scene.rate as u64));
        let (written, counted) = (count(scene.written), count(scene.counted));
        let (windows, late, dead) = (count(scene.windows), count(scene.late), count(scene.dead_letters));
        if !self.is_terminal {
            return self.print(&format!(
                "  {time:>6}  {written} written, {counted} counted, {rate}/s; {windows} windows, {late} late, \
                 {dead} dead letters; {minute}"
            ));
        }
        self.erase()?;
        let lines = [
            format!("  {time:>6}  {written:>12} clicks written   {counted:>12} counted   {rate:>11}/s"),
            format!("          {windows:>12} windows complete {late:>12} late      {dead:>11} dead letters"),
            format!("          {minute}"),
        ];
        writeln!(io::stdout(), "{}", lines.join("\n"))?;
        self.lines = lines.len();
        Ok(())
    }

    /// The end.
    pub(crate) fn conclude(&mut self, verdict: &Verdict) -> io::Result<()> {
        let (colour, word) = match verdict.is_good() {
            true => ("1;32", "Everything is as it should be."),
            false => ("1;31", "This is not as it should be; please report it with the seed."),
        };
        let lines = summary(verdict).into_iter().chain(differences(verdict)).collect::<Vec<_>>().join("\n");
        self.print(&format!("\n{lines}\n\n{}{word}{}", self.style(colour), self.style("0")))
    }

    /// An error that ended the run.
    pub(crate) fn fail(&mut self, error: &anyhow::Error) -> ExitCode {
        // Where stderr is gone, the exit code has to do.
        drop(writeln!(io::stderr(), "\nerror: {error:#}"));
        ExitCode::FAILURE
    }

    /// A signal that ended the run.
    pub(crate) fn interrupted(&mut self) -> ExitCode {
        drop(writeln!(io::stderr(), "\ninterrupted: the server is stopped and its folder removed"));
        INTERRUPTED.into()
    }

    /// Lines that stay, above the next picture.
    fn print(&mut self, text: &str) -> io::Result<()> {
        self.erase()?;
        writeln!(io::stdout(), "{text}")
    }

    fn erase(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.lines) {
            0 => Ok(()),
            // Up to its first line, and clear from there on.
            lines => write!(io::stdout(), "\x1b[{lines}A\x1b[J"),
        }
    }

    fn style(&self, code: &str) -> String {
        if self.is_terminal { format!("\x1b[{code}m") } else { String::new() }
    }
}

/// What the run came to, in numbers and what they mean.
fn summary(verdict: &Verdict) -> Vec<String> {
    let (played, windows) = (&verdict.played, &verdict.windows);
    let answer = &played.written.answer;
    let mut lines = Vec::new();
    let mut fact = |name: &str, value: String| lines.push(format!("  {name:<18}{value}"));
    fact("clicks", count(played.clicks));
    fact("wall time", format!("{}, first click written to last window counted", seconds(played.wall)));
    fact("rate", format!("{} clicks/s; the generator runs on the same machine", count(verdict.rate() as u64)));
    for kill in &played.kills {
        fact("after SIGKILL", format!("answering in {:.2?}, counting on in {:.2?}", kill.answers, kill.counts));
    }
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|quantile| milliseconds(verdict.latency(quantile)));
    fact("latency", format!("p50 {p50}, p99 {p99}, max {max}: from sending a click over HTTP"));
    let measured = count(played.latency.0.len());
    fact("", format!("to reading over HTTP the count that it completes; {measured} clicks, one at a time,"));
    fact("", "the server otherwise idle, click and count both synced to disk".to_owned());
    fact("windows checked", format!("{}, right {}", count(answer.views.len() as u64), count(windows.right)));
    fact("late", count(answer.late));
    fact("dead letters", count(answer.malformed));
    fact("clicks again", format!("{}, each counted: the stream is what it is", count(answer.repeated)));
    fact("sent twice", format!("{} batches, on purpose", count(played.written.twice)));
    fact("no answer", format!("{} times a batch had to be sent again", count(verdict.retries)));
    fact("stored once", format!("{} batches that were there already when they came", count(verdict.stored_once)));
    fact("lost", count(windows.lost));
    fact("doubled", count(windows.doubled + windows.repeated));
    lines
}

/// What is not as it should be.
fn differences(verdict: &Verdict) -> Vec<String> {
    let windows = verdict.windows.examples.iter().map(|example| format!("  wrong window      {example}"));
    let checks = verdict.checks.iter().filter(|check| !check.is_good());
    let checks =
        checks.map(|check| format!("  wrong number      {}: {} instead of {}", check.what, check.got, check.expected));
    let logged = verdict.trouble.iter().map(|line| format!("  server log        {line}"));
    windows.chain(checks).chain(logged).collect()
}

/// A number with its thousands apart.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// The time of day of an event time, in UTC.
fn clock(time_ms: i64) -> String {
    let minutes = time_ms.div_euclid(60_000).rem_euclid(24 * 60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let numbers = [0, 999, 1_000, 12_345, 123_456, 1_000_000].map(count);
        assert_eq!(numbers, ["0", "999", "1,000", "12,345", "123,456", "1,000,000"]);
    }

    #[test]
    fn minutes_are_those_of_the_day() {
        assert_eq!(
            [clock(1_767_225_600_000), clock(1_767_225_600_000 + 61 * 60_000), clock(-1)],
            ["00:00", "01:01", "23:59"]
        );
    }
}

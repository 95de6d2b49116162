//! What commands print: data to standard output, as a table for people or as the API's JSON for programs; the rest to
//! standard error. The only place that writes to either.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::failure::Failure;
use crate::error::Kind;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// The API's objects, unchanged.
    Json,
}

impl Format {
    /// Prints an answer of the API: as it is, or as `table` shows it.
    pub(super) fn show<T: Serialize>(self, answer: &T, table: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self {
            Self::Table => line(table(answer)),
            Self::Json => line(json(answer)?),
        }
    }
}

fn json<T: Serialize>(answer: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(answer)
        .map_err(|error| Failure::new("unreadable_answer", Kind::Internal, error.to_string()))
}

/// One line of JSON.
pub(super) fn json_line<T: Serialize>(answer: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(answer);
    line(text.map_err(|error| Failure::new("unreadable_answer", Kind::Internal, error.to_string()))?)
}

/// Prints data, and a newline. Ends the program silently if the reader has closed the pipe.
pub(super) fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::new("local_file", Kind::Invalid, format!("write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints a message to standard error; that it cannot be written is ignored.
pub(super) fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A table without lines: columns under their names.
pub(super) fn table<const N: usize>(names: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    let arrangement = match io::stdout().is_terminal() {
        true => ContentArrangement::Dynamic,
        false => ContentArrangement::Disabled,
    };
    table.load_style(presets::NOTHING).set_content_arrangement(arrangement).set_header(names);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    table
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Names and what they are, one a line.
pub(super) fn facts(facts: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let facts: Vec<_> = facts.into_iter().collect();
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, fact): &(&str, String)| format!("{name:width$}  {}", printable(fact)).trim_end().to_owned();
    facts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Text of others without what a terminal would take as a command.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| match c.is_control() && c != '\n' {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// A number of bytes for people.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut shown = format!("{count} B");
    for unit in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        shown = format!("{value:.1} {unit}");
    }
    shown
}

/// A time in UTC, as RFC 3339 writes it.
pub(super) fn time(ms: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    let (days, of_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a day counted from 1970-01-01. Years are taken to begin in March, so that a leap day is the
/// last of its year, and 400 of them always have the same number of days.
const fn civil(days: i64) -> (i64, i64, i64) {
    let since_march_0000 = days + 719_468;
    let era = since_march_0000.div_euclid(146_097);
    let day_of_era = since_march_0000.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(time(ms), text);
        }
    }

    #[test]
    fn a_table_has_no_lines_and_no_terminal_commands() {
        let text = table(["NAME", "N"], [["a\u{1b}[31m".to_owned(), "1".to_owned()]]);
        assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}[31m") && text.contains("NAME"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn bytes_are_rounded_for_people() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    }
}

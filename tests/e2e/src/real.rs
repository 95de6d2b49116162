//! Real data, and the plain code that reads it: apart from what plugins read it with, so that neither can hide a fault
//! of the other.
//!
//! The files are not part of the repository. They are looked for where `MILLSTREAM_DATA` says, otherwise in
//! `../shared/data` beside the workspace; tests without them pass and say loudly that they tested nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::Context;
use flate2::read::GzDecoder;

/// The lines of a packed file of the data folder; none, and a loud word, if it is not there.
pub fn lines(file: &str) -> anyhow::Result<Option<Vec<String>>> {
    let beside = || harness::workspace().join("../shared/data");
    let path = std::env::var_os("MILLSTREAM_DATA").map_or_else(beside, PathBuf::from).join(file);
    if !path.exists() {
        shout(&format!(
            "SKIPPED, NOTHING WAS TESTED: there is no `{}`; MILLSTREAM_DATA may name its folder",
            path.display()
        ));
        return Ok(None);
    }
    let mut text = String::new();
    GzDecoder::new(File::open(&path)?).read_to_string(&mut text).with_context(|| format!("read `{file}`"))?;
    Ok(Some(text.lines().map(str::to_owned).collect()))
}

/// A row of a table, by the names of its columns.
pub type Cells = BTreeMap<String, String>;

/// The rows of a table whose first line names the columns and in which nothing is quoted.
pub fn table(file: &str, separator: char) -> anyhow::Result<Option<Vec<Cells>>> {
    let Some(lines) = lines(file)? else { return Ok(None) };
    let (head, rows) = lines.split_first().context("the file has a first line")?;
    let row = |line: &String| {
        anyhow::ensure!(!line.contains('"'), "`{line}` has quotes");
        Ok(head.split(separator).map(str::to_owned).zip(line.split(separator).map(str::to_owned)).collect())
    };
    rows.iter().map(row).collect::<anyhow::Result<_>>().map(Some)
}

/// A request of the NASA's server.
#[derive(Debug)]
pub struct Request {
    /// Who asked.
    pub host: String,
    /// When, in milliseconds since the epoch.
    pub time: i64,
    /// For what.
    pub path: String,
    /// The line, as the server would have written it.
    pub line: String,
}

/// The requests to the NASA's server, as lines of the common format.
pub fn nasa_requests() -> anyhow::Result<Option<Vec<Request>>> {
    let Some(lines) = lines("01_web_access_logs/nasa_19950801.tsv.gz")? else { return Ok(None) };
    let mut requests = Vec::new();
    for line in &lines[1..] {
        let cells: Vec<&str> = line.split('\t').collect();
        let &[host, _, time, method, path, status, bytes, ..] = cells.as_slice() else { anyhow::bail!("`{line}`") };
        let time = time.parse::<i64>()? * 1000;
        // Seconds since the day began in UTC: the file begins at 04:00 and ends before midnight.
        let second = (time - civil_ms([1995, 8, 1], [0, 0, 0])) / 1000;
        let clock = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        let quoted = path.replace('\\', r"\\").replace('"', r#"\""#);
        let line = format!("{host} - - [01/Aug/1995:{clock} +0000] \"{method} {quoted} HTTP/1.0\" {status} {bytes}");
        requests.push(Request { host: host.to_owned(), time, path: path.to_owned(), line });
    }
    assert_eq!(requests.len(), 33_996, "the file is the one we know");
    Ok(Some(requests))
}

/// `2010-12-01T08:26:00` in milliseconds since the epoch, taken as UTC; a fraction of three digits and `Z` may follow.
pub fn iso_ms(text: &str) -> anyhow::Result<i64> {
    let numbers: Vec<i64> =
        text.trim_end_matches('Z').split(['-', 'T', ':', '.']).map(str::parse).collect::<Result<_, _>>()?;
    match *numbers.as_slice() {
        [year, month, day, hour, minute, second] => Ok(civil_ms([year, month, day], [hour, minute, second])),
        [year, month, day, hour, minute, second, ms] => Ok(civil_ms([year, month, day], [hour, minute, second]) + ms),
        _ => anyhow::bail!("`{text}` is no time"),
    }
}

/// Milliseconds since the epoch of a date from 1970 on (year, month, day) and a time, by counting days year by year and
/// month by month.
pub fn civil_ms([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3]) -> i64 {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years: i64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let days = years + lengths.iter().take(month as usize - 1).sum::<i64>() + day - 1;
    (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000
}

/// Writes past the test runner, which swallows what a passing test prints.
fn shout(message: &str) {
    let rule = "!".repeat(100);
    let written = writeln!(std::io::stderr(), "\n{rule}\n{message}\n{rule}\n");
    written.expect("stderr can be written");
}

//! What must come out of records, computed as plainly as can be: all at once, record by record, without micro-batches,
//! partitions of state, watermarks of several inputs that move while rows are under way, or anything else that could be
//! wrong in the same way as the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use millstream::ids::TopicPartition;
use millstream::pipeline::spec::Spec;
use millstream::time::{Kind as WindowKind, Source};

use crate::guests::{POISON, link};
use crate::simulation::SMALL;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Its event time.
    pub time: i64,
    /// Its key.
    pub key: Option<String>,
    /// Its value.
    pub value: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} `{}`)", self.time, self.key.as_deref().unwrap_or("-"), self.value)
    }
}

/// What came out of a pipeline, in the order of its commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Results.
    pub results: Vec<Row>,
    /// Late rows.
    pub late: Vec<Row>,
    /// Dead letters.
    pub dead: Vec<Row>,
}

/// The records that a pipeline has read, by partition; those that it reads and has nothing of yet are there too.
pub type Read = BTreeMap<TopicPartition, Vec<Row>>;

/// What a pipeline had done of what was due when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All.
    Whole,
    /// It may have been stopped between two commits that work off a backlog of windows that are due, the last of which gave so
    /// many results.
    MayBeCut {
        /// Results in the last commit.
        last: usize,
    },
}

/// Says how what came out differs from what must come out, if it does. `late_needs_key` says whether the topic of late rows
/// takes none without a key; if there were several topics, they are not told from dead letters.
pub fn compare(
    spec: &Spec,
    read: &Read,
    late_needs_key: Option<bool>,
    end: End,
    actual: &Output,
) -> Result<(), String> {
    let plugin = spec.steps.last().map(|step| step.plugin.name.as_str().to_owned()).unwrap_or_default();
    let mut expected = match plugin.as_str() {
        "chain" => return chains(read, actual),
        "collect" => windows(spec, read)?,
        "look" => each(read, |row| Some(format!("{} {}", row.value, name_of(row.key.as_deref()?)))),
        _ => each(read, |row| Some(row.value.clone())),
    };
    let mut actual = actual.clone();
    match late_needs_key {
        Some(false) => {}
        Some(true) => {
            let (late, dead): (Vec<_>, Vec<_>) = expected.late.into_iter().partition(|row| row.key.is_some());
            expected.late = late;
            expected.dead.extend(dead);
        }
        None => [&mut expected, &mut actual].into_iter().for_each(|output| output.dead.append(&mut output.late)),
    }
    if let End::MayBeCut { last } = end
        && plugin == "collect"
        && last >= least_of_a_part(spec)
    {
        cut(&mut expected.results, &actual.results);
    }
    same("results", &expected.results, &actual.results)?;
    same("late rows", &expected.late, &actual.late)?;
    same("dead letters", &expected.dead, &actual.dead)
}

/// How many results a commit has at least that leaves windows behind that are due: where nothing is done but to give windows
/// their results, a full part. Elsewhere what has no result counts too.
fn least_of_a_part(spec: &Spec) -> usize {
    let window = spec.steps.iter().find_map(|step| step.window.as_ref());
    let plain = window.is_some_and(|window| {
        matches!(window.windowing.kind, WindowKind::Tumbling(_)) && window.windowing.lateness_ms == 0
    });
    if plain { SMALL.closing_groups } else { 0 }
}

/// Takes off what had not come when a pipeline was stopped. Windows that are due come in the order of their ends, their
/// beginnings and their keys, however many commits it takes: so what is missing is behind all that came.
fn cut(expected: &mut Vec<Row>, actual: &[Row]) {
    let newest = actual.iter().map(order).max();
    let mut came: BTreeMap<&Row, usize> = BTreeMap::new();
    actual.iter().for_each(|row| *came.entry(row).or_default() += 1);
    expected.retain(|row| match came.get_mut(row) {
        Some(count @ 1..) => {
            *count -= 1;
            true
        }
        _ => newest.as_ref().is_some_and(|newest| order(row) <= *newest),
    });
}

/// Where a window has its turn.
fn order(row: &Row) -> (i64, Option<i64>, Option<&str>) {
    let start = row.value.split(' ').next().and_then(|start| start.parse().ok());
    (row.time, start, row.key.as_deref())
}

/// What the table has for a key.
pub fn name_of(key: &str) -> String {
    format!("name-of-{key}")
}

/// Whether rows are the same, in any order.
fn same(what: &str, expected: &[Row], actual: &[Row]) -> Result<(), String> {
    let mut counts: BTreeMap<&Row, i64> = BTreeMap::new();
    expected.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    actual.iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    let wrong: Vec<String> = counts
        .iter()
        .filter(|(_, count)| **count != 0)
        .map(|(row, count)| match *count {
            1.. => format!("{count} x {row} is missing"),
            _ => format!("{} x {row} too many", -count),
        })
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let shown = wrong.iter().take(4).cloned().collect::<Vec<_>>().join("; ");
    Err(format!("{} of {} {what}, {} differ: {shown}", actual.len(), expected.len(), wrong.len()))
}

/// One row of each.
fn each(read: &Read, result: impl Fn(&Row) -> Option<String>) -> Output {
    let mut output = Output::default();
    for row in read.values().flatten() {
        if row.value.starts_with(POISON) {
            output.dead.push(row.clone());
        } else {
            let value = result(row).unwrap_or_else(|| format!("{} -", row.value));
            output.results.push(Row { value, ..row.clone() });
        }
    }
    output
}

/// The rows of a key come in the order of their partitions, however these were read in turns, and each says all that came
/// before it.
fn chains(read: &Read, actual: &Output) -> Result<(), String> {
    let (mut expected, mut dead) = (Vec::new(), Vec::new());
    let mut place_of = BTreeMap::new();
    for (at, rows) in read {
        for (place, row) in rows.iter().enumerate() {
            match row.value.parse::<u64>() {
                Ok(number) => {
                    place_of.insert(number, (at, place));
                    expected.push(row.clone());
                }
                Err(_) => dead.push(row.clone()),
            }
        }
    }
    let number = |row: &Row| row.value.split(' ').next().unwrap_or_default().to_owned();
    let came: Vec<Row> = actual.results.iter().map(|row| Row { value: number(row), ..row.clone() }).collect();
    same("results", &expected, &came)?;
    same("dead letters", &dead, &actual.dead)?;
    let mut chains: BTreeMap<&Option<String>, (u64, u64)> = BTreeMap::new();
    let mut newest: BTreeMap<(&Option<String>, &TopicPartition), usize> = BTreeMap::new();
    for (row, number) in
        actual.results.iter().zip(&came).filter_map(|(row, came)| Some((row, came.value.parse().ok()?)))
    {
        let Some(&(at, place)) = place_of.get(&number) else { continue };
        // Numbers need not ascend: two producers may have appended at once.
        let before = newest.insert((&row.key, at), place);
        if let Some(before) = before.filter(|before| *before > place) {
            return Err(format!("key {:?}: {number}, record {place} of {at}, comes after record {before}", row.key));
        }
        let (count, hash) = chains.entry(&row.key).or_default();
        (*count, *hash) = (*count + 1, link(*hash, number));
        let right = format!("{number} {count} {hash:016x}");
        if row.value != right {
            return Err(format!("key {:?}: `{}` should be `{right}`", row.key, row.value));
        }
    }
    Ok(())
}

/// Whether the watermark of a partition, a millisecond less than its newest time less the disorder, covers a time.
fn covers(newest: Option<i64>, disorder: i64, time: i64) -> bool {
    newest.is_some_and(|newest| newest - disorder > time)
}

/// What is in a window.
#[derive(Debug, Default)]
struct Collected {
    numbers: Vec<u64>,
    /// Whether it has given its result.
    given: bool,
}

type Open = BTreeMap<(i64, Option<String>), Collected>;

fn windows(spec: &Spec, read: &Read) -> Result<Output, String> {
    let Source::Disorder(disorder) = spec.watermark.source else { return Err("it has no disorder".to_owned()) };
    let window = spec.steps.iter().find_map(|step| step.window.as_ref()).ok_or("it has no window")?;
    match &window.windowing.kind {
        WindowKind::Tumbling(tumbling) => {
            let size = tumbling.size_ms();
            Ok(aligned(read, disorder.bound_ms, size, size, window.windowing.lateness_ms))
        }
        WindowKind::Hopping(hopping) => {
            let (size, slide) = (hopping.size_ms(), hopping.slide_ms());
            Ok(aligned(read, disorder.bound_ms, size, slide, window.windowing.lateness_ms))
        }
        WindowKind::Session(session) => sessions(read, disorder.bound_ms, session.gap_ms),
        kind => Err(format!("its windows are {kind:?}")),
    }
}

/// Windows of a size that begin every `slide` milliseconds since the epoch.
fn aligned(read: &Read, disorder: i64, size: i64, slide: i64, lateness: i64) -> Output {
    let (mut output, mut open) = (Output::default(), Open::new());
    for rows in read.values() {
        let mut newest: Option<i64> = None;
        for row in rows {
            if lateness > 0 {
                // There is one partition: what is complete at this place comes before the row.
                fire(&mut output, &mut open, size, |last| covers(newest, disorder, last));
            }
            let latest = row.time.div_euclid(slide) * slide;
            let starts = (0..).map(|hop| latest - hop * slide).take_while(|start| row.time < start + size);
            let takes: Vec<i64> =
                starts.filter(|start| !covers(newest, disorder, start + size - 1 + lateness)).collect();
            match row.value.parse() {
                _ if takes.is_empty() => output.late.push(row.clone()),
                Err(_) => output.dead.push(row.clone()),
                Ok(number) => {
                    for start in takes {
                        let (key, last) = ((start, row.key.clone()), start + size - 1);
                        let collected = open.entry(key.clone()).or_default();
                        collected.numbers.push(number);
                        if lateness > 0 && covers(newest, disorder, last) {
                            collected.given = true;
                            output.results.push(result(&key, last, &collected.numbers));
                        }
                    }
                }
            }
            newest = newest.max(Some(row.time));
        }
    }
    let least = least_newest(read);
    fire(&mut output, &mut open, size, |last| covers(least, disorder, last));
    output
}

/// A row of a session.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    time: i64,
    /// Its number, if it has one.
    number: Option<u64>,
    /// Whether a session that ends just where it begins was still open, by what its own partition knew when it came.
    joins: bool,
}

/// Rows of a key that are less than a gap apart, or just a gap if one of the later time says so. Whether a row that comes
/// too late finds its session is known to nobody, so none may come.
fn sessions(read: &Read, disorder: i64, gap: i64) -> Result<Output, String> {
    let mut output = Output::default();
    let mut keys: BTreeMap<&Option<String>, Vec<Member>> = BTreeMap::new();
    for (at, rows) in read {
        let mut newest = None;
        for row in rows {
            if covers(newest, disorder, row.time) {
                return Err(format!("what comes of {row} of {at} is not known, as it comes late"));
            }
            let number = row.value.parse().ok();
            if number.is_none() {
                output.dead.push(row.clone());
            }
            // A row that is rejected did come: the session lasts as long.
            let joins = !covers(newest, disorder, row.time - 1);
            keys.entry(&row.key).or_default().push(Member { time: row.time, number, joins });
            newest = newest.max(Some(row.time));
        }
    }
    let least = least_newest(read);
    for (key, mut rows) in keys {
        rows.sort_unstable();
        let joined: BTreeSet<i64> = rows.iter().filter(|row| row.joins).map(|row| row.time).collect();
        let together = |one: i64, next: i64| next - one < gap || next - one == gap && joined.contains(&next);
        for session in rows.chunk_by(|one, next| together(one.time, next.time)) {
            let (Some(first), Some(last)) = (session.first(), session.last()) else { continue };
            let numbers: Vec<u64> = session.iter().filter_map(|row| row.number).collect();
            let last = last.time + gap - 1;
            if covers(least, disorder, last) && !numbers.is_empty() {
                output.results.push(result(&(first.time, key.clone()), last, &numbers));
            }
        }
    }
    Ok(output)
}

/// The newest event time of the partition that is furthest behind; nothing, if one has none.
fn least_newest(read: &Read) -> Option<i64> {
    read.values().map(|rows| rows.iter().map(|row| row.time).max()).min().flatten()
}

/// Lets the windows give their results that are complete and have not.
fn fire(output: &mut Output, open: &mut Open, size: i64, complete: impl Fn(i64) -> bool) {
    for (key, collected) in open.iter_mut().filter(|(_, collected)| !collected.given) {
        let last = key.0 + size - 1;
        if complete(last) {
            collected.given = true;
            output.results.push(result(key, last, &collected.numbers));
        }
    }
}

fn result((start, key): &(i64, Option<String>), last: i64, numbers: &[u64]) -> Row {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    Row { time: last, key: key.clone(), value: format!("{start} {}", numbers.join(",")) }
}

#[cfg(test)]
mod tests;

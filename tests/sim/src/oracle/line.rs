//! The lines of deployments: whose state each goes on with.

use std::collections::BTreeMap;

use millstream::ids::{Offset, PipelineId, TopicPartition};

use super::seen::Seen;
use super::{Cause, Deployed, State};
use crate::naive::{self, End, Output, Read};

type Positions = BTreeMap<TopicPartition, Offset>;

/// Commits that follow one another, of one deployment and of those before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Line {
    /// Where it began to read, with empty state.
    start: Positions,
    /// Runs of commits: a deployment, the place of the first commit, and that after the last.
    runs: Vec<(PipelineId, usize, usize)>,
    /// Where it is.
    end: Positions,
}

impl Line {
    /// How it ends if it was stopped.
    fn may_be_cut(&self, state: &State) -> End {
        let last = self.runs.iter().rev().find(|(_, first, end)| first < end);
        let last = last.map(|&(id, _, end)| state.deployments[&id][end - 1].rows.len());
        End::MayBeCut { last: last.unwrap_or_default() }
    }
}

/// What is wrong with what came out. At rest, what runs has done all that was due; what was stopped, or a crash, need not.
pub(super) fn compare(state: &State, at_rest: bool) -> Vec<String> {
    let mut known = BTreeMap::new();
    let mut wrong = Vec::new();
    for (&id, named) in &state.named {
        let rests = at_rest && state.current.get(&named.name) == Some(&id);
        let checked = lines(state, id, &mut known).and_then(|lines| {
            if !rests || lines.is_empty() {
                return Ok(());
            }
            let right = lines.iter().map(|line| right(state, named, line, End::Whole)).collect::<Vec<_>>();
            let reasons: Vec<String> = right.iter().filter_map(|right| right.clone().err()).collect();
            if reasons.len() < right.len() { Ok(()) } else { Err(format!("at rest: {}", reasons.join(" | "))) }
        });
        if let Err(reason) = checked {
            wrong.push(format!("deployment {id} of `{}`: {reason}", named.name));
        }
    }
    wrong
}

type Known = BTreeMap<PipelineId, Result<Vec<Line>, String>>;

/// The lines of a deployment that are right: what it gave may be explained in several ways, and only what follows it tells
/// which is the true one. None, if it has no commits.
fn lines(state: &State, id: PipelineId, known: &mut Known) -> Result<Vec<Line>, String> {
    if let Some(lines) = known.get(&id) {
        return lines.clone();
    }
    let (Some(named), Some(commits)) = (state.named.get(&id), state.deployments.get(&id)) else {
        return Ok(Vec::new());
    };
    let (mut reasons, mut found) = (Vec::new(), Vec::new());
    // What was asked for after it was in place is not why it is there.
    let asked = state.causes.get(&named.name).map_or(&[][..], |causes| &causes[..named.asked.min(causes.len())]);
    let causes: Vec<Cause> = asked.iter().rev().cloned().chain([Cause::Applied]).collect();
    let mut tried: Vec<Cause> = Vec::new();
    for cause in causes {
        if tried.contains(&cause) {
            continue;
        }
        for line in begun(state, id, named, &cause, known) {
            match line.and_then(|line| right(state, named, &line, line.may_be_cut(state)).map(|()| line)) {
                Ok(line) if found.contains(&line) => {}
                Ok(line) => found.push(line),
                Err(reason) => reasons.push(format!("{cause}: {reason}")),
            }
        }
        tried.push(cause);
    }
    reasons.dedup();
    let lines = if found.is_empty() {
        let reasons = reasons.join(" | ");
        Err(format!("{} commits are explained by nothing that was asked for: {reasons}", commits.len()))
    } else {
        Ok(found)
    };
    known.insert(id, lines.clone());
    lines
}

/// The lines that a deployment may have begun for a cause.
fn begun(
    state: &State,
    id: PipelineId,
    named: &Deployed,
    cause: &Cause,
    known: &mut Known,
) -> Vec<Result<Line, String>> {
    let commits = &state.deployments[&id];
    let all = commits.len();
    // A deployment that was put together beside a running one: blocks, and then a commit that only says where it is.
    let placed = commits.iter().position(|seen| !seen.positions.is_empty());
    let placed = placed.filter(|&placed| commits[..=placed].iter().all(|seen| seen.rows.is_empty()));
    let place = || {
        let placed = placed.ok_or("it does not begin with a place")?;
        Ok::<_, String>((placed, commits[placed].positions.clone()))
    };
    let anew = |check: &dyn Fn(&Positions) -> Result<(), String>| {
        let (placed, start) = place()?;
        check(&start)?;
        let end = commits[all - 1].positions.clone();
        Ok(Line { start, runs: vec![(id, placed + 1, all)], end })
    };
    let before = named.before.and_then(|before| state.deployments.get(&before)?.last());
    match cause {
        Cause::Applied => {
            let end = commits.last().map(|seen| seen.positions.clone()).unwrap_or_default();
            let made = Line { start: Positions::new(), runs: vec![(id, 0, all)], end };
            let migrated = before.into_iter().flat_map(|last| {
                let from = CommitOf { id: named.before.unwrap_or(id), sequence: last.sequence };
                follow(state, id, place(), from, known)
            });
            std::iter::once(Ok(made)).chain(migrated).collect()
        }
        Cause::Restored(checkpoint) => {
            let from = CommitOf { id: checkpoint.deployment, sequence: checkpoint.commit };
            follow(state, id, place(), from, known)
        }
        Cause::RolledBack => {
            let same_name = state.named.iter().filter(|(other, of)| **other != id && of.name == named.name);
            let others: Vec<PipelineId> = same_name.map(|(other, _)| *other).collect();
            let commits = others.into_iter().flat_map(|other| {
                let commits = state.deployments.get(&other).into_iter().flatten();
                commits.map(move |seen| CommitOf { id: other, sequence: seen.sequence })
            });
            commits.collect::<Vec<_>>().into_iter().flat_map(|from| follow(state, id, place(), from, known)).collect()
        }
        Cause::RewoundTo(asked) => vec![anew(&|start| {
            for (at, offset) in start {
                // A topic that was made again begins at its start.
                let id = placed.and_then(|placed| commits[placed].ids.get(at));
                let stood = |before: &Seen| match before.positions.get(at) {
                    Some(stood) if before.ids.get(at) == id => *stood,
                    _ => 0,
                };
                let asked = asked.iter().find(|(asked, _)| asked == at).map(|(_, asked)| *asked);
                let expected = asked.or_else(|| before.map(stood));
                if let Some(expected) = expected.filter(|expected| expected != offset) {
                    return Err(format!("it begins at {at}:{offset} and not at {expected}"));
                }
            }
            Ok(())
        })],
        Cause::RewoundToTime { time, asked } => vec![anew(&|start| {
            for (at, &offset) in start.iter().filter(|(at, _)| named.spec.sources.contains(&at.topic)) {
                let rows = state.records.get(at).map(Vec::as_slice).unwrap_or_default();
                let (read, rest) = rows.split_at(rows.len().min(offset as usize));
                if let Some(place) = read.iter().position(|seen| seen.row.time >= *time) {
                    return Err(format!("it begins at {at}:{offset}, behind {place}, which is not before {time}"));
                }
                if rest.first().is_some_and(|seen| seen.row.time < *time && seen.order < *asked) {
                    return Err(format!("it begins at {at}:{offset}, which is before {time}"));
                }
            }
            Ok(())
        })],
    }
}

/// A commit of a deployment.
#[derive(Debug, Clone, Copy)]
struct CommitOf {
    id: PipelineId,
    sequence: u64,
}

/// Goes on with the state that another deployment had at a commit.
fn follow(
    state: &State,
    id: PipelineId,
    place: Result<(usize, Positions), String>,
    from: CommitOf,
    known: &mut Known,
) -> Vec<Result<Line, String>> {
    let before = place.and_then(|(placed, start)| {
        goes_on(state, id, &start, from)?;
        Ok((placed, lines(state, from.id, known)?))
    });
    let (placed, before) = match before {
        Ok(before) => before,
        Err(reason) => return vec![Err(reason)],
    };
    let commits = state.deployments.get(&from.id).map(Vec::as_slice).unwrap_or_default();
    let upto = commits.partition_point(|seen| seen.sequence <= from.sequence);
    let all = &state.deployments[&id];
    let extended = |mut line: Line| {
        if let Some(last) = line.runs.last_mut() {
            last.2 = last.2.min(upto).max(last.1);
        }
        line.runs.push((id, placed + 1, all.len()));
        line.end = all[all.len() - 1].positions.clone();
        Ok(line)
    };
    // A deployment without commits has left nothing, from nowhere.
    let before = if before.is_empty() { vec![Line::default()] } else { before };
    before.into_iter().map(extended).collect()
}

/// Whether a deployment that begins at a place may go on with a commit.
fn goes_on(state: &State, id: PipelineId, start: &Positions, from: CommitOf) -> Result<(), String> {
    if from.id >= id {
        return Err("it cannot follow a younger one".to_owned());
    }
    let commits = state.deployments.get(&from.id).map(Vec::as_slice).unwrap_or_default();
    let upto = commits.partition_point(|seen| seen.sequence <= from.sequence);
    let last = upto.checked_sub(1).map(|last| &commits[last]);
    let stood = last.map(|last| last.positions.clone()).unwrap_or_default();
    if stood != *start {
        let (CommitOf { id, sequence }, stood, start) = (from, places(&stood), places(start));
        return Err(format!("deployment {id} stood at {stood} with commit {sequence}, and it begins at {start}"));
    }
    let moved = state.deployments[&id].last();
    if let Some(place) = last.zip(moved).and_then(|(last, moved)| last.outlived(moved)) {
        return Err(format!("it goes on behind {place}, which is in a topic that was deleted and made again"));
    }
    Ok(())
}

fn places(positions: &Positions) -> String {
    let places: Vec<String> = positions.iter().map(|(at, offset)| format!("{at}:{offset}")).collect();
    format!("[{}]", places.join(" "))
}

/// Whether what the commits of a line gave is what must come of what they read.
fn right(state: &State, named: &Deployed, line: &Line, end: End) -> Result<(), String> {
    let commits = line.runs.iter().flat_map(|&(id, first, end)| &state.deployments[&id][first.min(end)..end]);
    let mut ids = commits.flat_map(|seen| &seen.ids).filter(|(at, _)| named.spec.sources.contains(&at.topic));
    if !ids.all(|(at, id)| state.ids.get(&at.topic) == Some(id)) {
        // What it has read is not there any more.
        return Ok(());
    }
    let mut read = Read::new();
    for (at, rows) in state.records.iter().filter(|(at, _)| named.spec.sources.contains(&at.topic)) {
        let from = line.start.get(at).copied().unwrap_or_default() as usize;
        let to = line.end.get(at).copied().unwrap_or_default() as usize;
        if from > to || to > rows.len() {
            return Err(format!("it has read {at} from {from} to {to} of {}", rows.len()));
        }
        read.insert(at.clone(), rows[from..to].iter().map(|seen| seen.row.clone()).collect());
    }
    let mut output = Output::default();
    let mut needs_key = Vec::new();
    for &(id, first, last) in &line.runs {
        let Some(of) = state.named.get(&id) else { return Err(format!("deployment {id} has no name")) };
        let late = of.spec.steps.iter().find_map(|step| step.window.as_ref()).map(|window| &window.late);
        needs_key.push(late.is_some_and(|late| state.compacted.contains(late)));
        for (topic, row) in state.deployments[&id][first..last].iter().flat_map(|seen| &seen.rows) {
            if *topic == of.spec.output {
                output.results.push(row.clone());
            } else if *topic == of.spec.dead_letters {
                output.dead.push(row.clone());
            } else if Some(topic) == late {
                output.late.push(row.clone());
            } else {
                return Err(format!("deployment {id} wrote to `{topic}`"));
            }
        }
    }
    needs_key.dedup();
    let needs_key = if let [needs_key] = needs_key.as_slice() { Some(*needs_key) } else { None };
    naive::compare(&named.spec, &read, needs_key, end, &output)
}

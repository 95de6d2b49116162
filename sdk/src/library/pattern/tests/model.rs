//! Every way to take events, by definition: stage by stage, with a look at each event that is skipped.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A stage as data.
#[derive(Debug, Clone)]
struct Spec {
    letter: char,
    not: bool,
    contiguity: Contiguity,
    repeats: Contiguity,
    least: u32,
    most: u32,
    optional: bool,
}

/// What there is to find: stages by their place, and the bound.
#[derive(Debug, Clone)]
struct Case {
    stages: Vec<Spec>,
    within: i64,
}

impl Case {
    fn pattern(&self) -> Pattern<String> {
        let mut stages = (0..).zip(&self.stages);
        let (_, first) = stages.next().expect("there is a stage");
        let mut pattern = shape(Pattern::begin("0", has(first.letter)), first);
        for (name, spec) in stages {
            let name: i32 = name;
            pattern = match spec.not {
                true => pattern.not(name.to_string(), has(spec.letter)),
                false => shape(pattern.followed_by(spec.contiguity, name.to_string(), has(spec.letter)), spec),
            };
        }
        let within = u64::try_from(self.within).expect("it is above zero");
        pattern.within(Duration::from_millis(within)).partial_matches_max(1_000_000)
    }
}

fn shape(pattern: Pattern<String>, spec: &Spec) -> Pattern<String> {
    let pattern = pattern.times(spec.least..=spec.most).repeated(spec.repeats);
    if spec.optional { pattern.optional() } else { pattern }
}

/// A way on: to a stage, or to the end of time.
struct Way {
    to: Option<usize>,
    contiguity: Contiguity,
    nots: Vec<char>,
}

type Event = (String, i64);
/// Places of events, with their stages.
type Taken = Vec<(usize, usize)>;

#[derive(Debug, Default)]
struct Expected {
    /// When it is found, by which event if it is by one, and what.
    matches: Vec<(i64, Option<usize>, Taken)>,
    timed_out: Vec<(i64, Taken)>,
}

/// Tries all ways to go on after `taken`.
fn search(case: &Case, events: &[Event], taken: &Taken, expected: &mut Expected) {
    let ways = ways(case, taken);
    let from = taken.last().map_or(0, |&(place, _)| place + 1);
    let end = taken.first().map(|&(place, _)| events[place].1 + case.within);
    let in_time = |time: i64| end.is_none_or(|end| time < end);
    let mut waits = false;
    let mut decided_by_time = false;
    for way in &ways {
        let breaks = |(event, _): &Event| {
            way.nots.iter().any(|&not| event.contains(not))
                || match (way.contiguity, way.to) {
                    (Contiguity::Strict, _) => true,
                    (Contiguity::Relaxed, Some(to)) => event.contains(case.stages[to].letter),
                    _ => false,
                }
        };
        // Everything begins anywhere.
        let breaks = |event: &Event| !taken.is_empty() && breaks(event);
        let stays = events[from..].iter().filter(|&&(_, time)| in_time(time)).all(|event| !breaks(event));
        let Some(to) = way.to else {
            decided_by_time |= stays;
            continue;
        };
        waits |= stays;
        for (place, (event, time)) in events.iter().enumerate().skip(from) {
            if in_time(*time) && event.contains(case.stages[to].letter) && !events[from..place].iter().any(breaks) {
                let mut longer = taken.clone();
                longer.push((place, to));
                search(case, events, &longer, expected);
            }
        }
    }
    let (Some(end), Some(&(last, stage))) = (end, taken.last()) else { return };
    let enough = count(taken) >= case.stages[stage].least;
    if enough && case.stages[stage + 1..].iter().all(|spec| spec.optional) {
        expected.matches.push((events[last].1, Some(last), taken.clone()));
    } else if decided_by_time {
        expected.matches.push((end, None, taken.clone()));
    } else if waits {
        expected.timed_out.push((end, taken.clone()));
    }
}

/// How many of the last stage's events were taken.
fn count(taken: &Taken) -> u32 {
    let stage = taken.last().map(|&(_, stage)| stage);
    u32::try_from(taken.iter().filter(|&&(_, other)| Some(other) == stage).count()).expect("there are few")
}

fn ways(case: &Case, taken: &Taken) -> Vec<Way> {
    let mut ways = Vec::new();
    let mut next = 0;
    if let Some(&(_, stage)) = taken.last() {
        let spec = &case.stages[stage];
        if count(taken) < spec.most {
            ways.push(Way { to: Some(stage), contiguity: spec.repeats, nots: Vec::new() });
        }
        if count(taken) < spec.least {
            return ways;
        }
        next = stage + 1;
    }
    for to in next..=case.stages.len() {
        let before = &case.stages[next..to];
        if before.iter().any(|spec| !spec.not && !spec.optional) {
            break;
        }
        let nots: Vec<char> = before.iter().filter(|spec| spec.not).map(|spec| spec.letter).collect();
        match case.stages.get(to) {
            Some(spec) if spec.not => {}
            Some(spec) => ways.push(Way { to: Some(to), contiguity: spec.contiguity, nots }),
            None if nots.is_empty() => {}
            None => ways.push(Way { to: None, contiguity: Contiguity::Any, nots }),
        }
    }
    ways
}

fn shown(events: &[Event], taken: &Taken) -> String {
    let taken: Vec<String> = taken.iter().map(|&(place, stage)| format!("{stage}@{}", events[place].1)).collect();
    taken.join(" ")
}

/// What stays of all matches: in the order of their beginnings, each leaves out what the skip says.
fn skipped(mut matches: Vec<(i64, Option<usize>, Taken)>, skip: &Skip) -> Vec<Taken> {
    matches.sort_by_key(|(time, by, taken)| (taken[0].0, *time, *by, taken.clone()));
    let mut matches: Vec<Taken> = matches.into_iter().map(|(_, _, taken)| taken).collect();
    let mut kept = Vec::new();
    while !matches.is_empty() {
        let found = matches.remove(0);
        let of = |name: &str| -> Vec<usize> {
            found.iter().filter(|(_, stage)| stage.to_string() == name).map(|&(place, _)| place).collect()
        };
        let first_that_stays = match skip {
            Skip::NoSkip => 0,
            Skip::ToNext => found[0].0 + 1,
            Skip::PastLast => found[found.len() - 1].0 + 1,
            Skip::ToFirst(stage) => of(stage).first().copied().unwrap_or(0),
            Skip::ToLast(stage) => of(stage).last().copied().unwrap_or(0),
        };
        matches.retain(|taken| taken[0].0 >= first_that_stays);
        kept.push(found);
    }
    kept
}

fn contiguity() -> impl Strategy<Value = Contiguity> {
    prop::sample::select(vec![Contiguity::Strict, Contiguity::Relaxed, Contiguity::Any])
}

fn spec() -> impl Strategy<Value = Spec> {
    let letter = prop::sample::select(vec!['a', 'b', 'c']);
    let times = (1..3_u32, 0..3_u32);
    (letter, prop::bool::weighted(0.2), contiguity(), contiguity(), times, prop::bool::weighted(0.2)).prop_map(
        |(letter, not, contiguity, repeats, (least, more), optional)| match not {
            true => Spec { letter, not, contiguity, repeats, least: 1, most: 1, optional: false },
            false => Spec { letter, not, contiguity, repeats, least, most: least + more, optional },
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let case = (prop::collection::vec(spec(), 1..4), 1..25_i64);
    let case = case.prop_map(|(stages, within)| Case { stages, within });
    case.prop_filter("the pattern makes sense", |case| !case.stages[0].not && case.pattern().build().is_ok())
}

/// Rows as they come: an event, its time, and where the watermark is put before it.
fn rows() -> impl Strategy<Value = Vec<(String, i64, i64)>> {
    let letters = prop::sample::select(vec!["a", "b", "c", "ab", "bc", "abc", "-"]);
    let row = (letters, -2..12_i64, prop::bool::weighted(0.3), 0..6_i64);
    prop::collection::vec(row, 0..11).prop_map(|rows| {
        let mut watermark = -10;
        let row = |(event, ahead, moves, by): (&str, i64, bool, i64)| {
            watermark += if moves { by } else { 0 };
            (event.to_owned(), watermark + ahead, watermark)
        };
        rows.into_iter().map(row).collect()
    })
}

fn run(pattern: Pattern<String>, rows: &[(String, i64, i64)]) -> Outcome {
    let probe = Probe(pattern.build().expect("the pattern makes sense"));
    let mut run = keyed(&probe);
    for (event, time, watermark) in rows {
        run.watermark(*watermark);
        run.row(Input::value(event.as_str()).key("k").at(*time));
    }
    run.watermark(1_000);
    assert_eq!(run.keys(), 0, "nothing is left");
    run.end()
}

/// The events that are not late, in the order in which they are matched.
fn in_order(rows: &[(String, i64, i64)]) -> Vec<Event> {
    let in_time = rows.iter().filter(|(_, time, watermark)| time > watermark);
    let mut events: Vec<Event> = in_time.map(|(event, time, _)| (event.clone(), *time)).collect();
    events.sort_by_key(|&(_, time)| time);
    events
}

fn by_output(out: &Outcome, output: &str) -> Vec<(i64, String)> {
    out.output(output).map(|row| (row.timestamp, row.value_text())).collect()
}

fn sorted(mut found: Vec<(i64, String)>) -> Vec<(i64, String)> {
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_match_and_every_time_out_is_found_once(case in case(), rows in rows()) {
        let events = in_order(&rows);
        let mut expected = Expected::default();
        search(&case, &events, &Vec::new(), &mut expected);
        let out = run(case.pattern(), &rows);
        prop_assert!(out.rejected.is_empty());
        let shown = |found: Vec<(i64, Taken)>| sorted(
            found.into_iter().map(|(time, taken)| (time, shown(&events, &taken))).collect()
        );
        let matches = expected.matches.into_iter().map(|(time, _, taken)| (time, taken)).collect();
        prop_assert_eq!(sorted(by_output(&out, "match")), shown(matches));
        prop_assert_eq!(sorted(by_output(&out, "timed-out")), shown(expected.timed_out));
        prop_assert_eq!(out.output("late").count(), rows.len() - events.len());
    }

    #[test]
    fn skips_leave_out_what_their_definition_says(case in case(), rows in rows(), kind in 0..4_usize) {
        let last = case.stages.iter().rposition(|spec| !spec.not).unwrap_or(0).to_string();
        let skip = [Skip::ToNext, Skip::PastLast, Skip::ToFirst(last.clone()), Skip::ToLast(last)][kind].clone();
        let events = in_order(&rows);
        let mut expected = Expected::default();
        search(&case, &events, &Vec::new(), &mut expected);
        let out = run(case.pattern().skip(skip.clone()), &rows);
        let found: Vec<String> = out.output("match").map(|row| row.value_text()).collect();
        let expected: Vec<String> =
            skipped(expected.matches, &skip).iter().map(|taken| shown(&events, taken)).collect();
        prop_assert_eq!(found, expected);
    }
}

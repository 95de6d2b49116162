//! Trials refuse guests whose answers depend on calls, and no others.

use std::sync::Arc;

use proptest::prelude::*;

use super::guests::{answer, description};
use super::harness::{COUNTING, load};
use super::process::TRACKING;
use crate::error::Coded as _;
use crate::ids::Digest;
use crate::pipeline::Error;
use crate::pipeline::engine::plan::Loaded;
use crate::pipeline::engine::references::References;
use crate::pipeline::spec::{Spec, StepSpec};
use crate::pipeline::trial::{Samples, Verdict, run};
use crate::plugin::{
    AS_SOURCE, Aggregator, Answer, Call, Closed, Contribution, Description, Done, Emitted, Folded, Guest, Plugin,
    Processor, Stateful, Transformer, Work, World,
};
use crate::record::{Batch, BatchRef, Column, ColumnRef};

/// What an unsteady guest counts, in memory that a call begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// Nothing: it is steady.
    Nothing,
    /// Rows that a transform emits.
    Rows,
    /// Rows that are folded.
    Folded,
    /// Parts of windows that are merged.
    Merged,
    /// Windows that are finished.
    Windows,
    /// Rows of whatever key, in the emitted values.
    Processed,
    /// The same in the state, which it does not show.
    Kept,
}

/// A guest that numbers what it does within a call.
#[derive(Debug)]
struct Unsteady(Description, Counts);

impl Unsteady {
    fn guest(counts: Counts, world: World) -> Guest {
        let guest = Arc::new(Self(description(world, &["rows"]), counts));
        match world {
            World::Transform => Guest::Transform(guest),
            World::Aggregate => Guest::Aggregate(guest),
            World::Process => Guest::Process(guest),
        }
    }

    /// The number of something in a call, if that is what it counts.
    fn number(&self, what: Counts, number: usize) -> String {
        if self.1 == what { number.to_string() } else { "x".to_owned() }
    }
}

impl Plugin for Unsteady {
    fn description(&self) -> &Description {
        &self.0
    }
}

impl Transformer for Unsteady {
    fn transform<'a>(&'a self, rows: BatchRef<'a>) -> Call<'a, Answer> {
        let mut emitted = Emitted { source_rows: (0..rows.len() as u32).collect(), ..Emitted::default() };
        (0..rows.len()).for_each(|row| emitted.values.push(Some(self.number(Counts::Rows, row).as_bytes())));
        answer(Ok(Answer { emitted, ..Answer::default() }))
    }
}

impl Stateful for Unsteady {}

impl Aggregator for Unsteady {
    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded> {
        let mut groups: Vec<Vec<u8>> = rows.groups.iter().map(|group| group.unwrap_or_default().to_vec()).collect();
        for (row, &group) in rows.row_groups.iter().enumerate() {
            groups[group as usize].extend_from_slice(self.number(Counts::Folded, row).as_bytes());
        }
        let groups = groups.into_iter().map(Some).collect();
        answer(Ok(Folded { groups, ..Folded::default() }))
    }

    fn merge<'a>(&'a self, left: ColumnRef<'a>, right: ColumnRef<'a>) -> Call<'a, Column> {
        let merged = left.iter().zip(right.iter()).enumerate().map(|(pair, (left, right))| {
            let number = self.number(Counts::Merged, pair);
            Some([left.unwrap_or_default(), right.unwrap_or_default(), number.as_bytes()].concat())
        });
        answer(Ok(merged.collect()))
    }

    fn finish<'a>(&'a self, windows: Closed<'a>) -> Call<'a, Answer> {
        let mut emitted = Emitted { source_rows: (0..windows.groups.len() as u32).collect(), ..Emitted::default() };
        for window in 0..windows.groups.len() {
            emitted.timestamps.push(windows.ends[window]);
            emitted.keys.lengths.push(AS_SOURCE);
            emitted.values.push(Some(self.number(Counts::Windows, window).as_bytes()));
        }
        answer(Ok(Answer { emitted, ..Answer::default() }))
    }
}

impl Processor for Unsteady {
    fn process<'a>(&'a self, work: Work<'a>) -> Call<'a, Done> {
        let rows = work.rows.len();
        let mut emitted = Emitted { source_rows: (0..rows as u32).collect(), ..Emitted::default() };
        (0..rows).for_each(|row| emitted.values.push(Some(self.number(Counts::Processed, row).as_bytes())));
        let states = work.state.iter().zip(work.group_rows).enumerate().map(|(group, (state, &rows))| {
            let kept = self.number(Counts::Kept, group);
            Some([state.unwrap_or_default(), kept.repeat(rows as usize).as_bytes()].concat())
        });
        answer(Ok(Done { emitted, state: states.collect(), ..Done::default() }))
    }
}

/// Tries rows on a manifest, each topic's in its first partition; `unsteady` steps count this.
fn tried(manifest: &str, rows: &[Vec<String>], counts: Counts) -> Result<Verdict, Error> {
    let spec: Spec = manifest.parse().expect("it is a manifest");
    let references = References::new(&spec);
    let load = |step: &StepSpec| {
        let loaded = load(step, references.grants(step)).expect("the tests know their guests");
        match step.plugin.name.as_str() {
            "unsteady" => {
                let world = match (&step.window, step.name.as_str()) {
                    (Some(_), _) => World::Aggregate,
                    (None, "parse") => World::Transform,
                    (None, _) => World::Process,
                };
                Loaded { digest: Digest::of(b"unsteady"), guest: Unsteady::guest(counts, world) }
            }
            _ => loaded,
        }
    };
    let loaded = spec.steps.iter().map(load).collect();
    let samples: Samples = spec.sources.iter().cloned().zip(rows.iter().map(|values| batch(values))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(&spec, references, loaded, &samples, 0))
}

fn batch(values: &[String]) -> Batch {
    let mut batch = Batch::default();
    values.iter().for_each(|value| batch.push(0, Some(b"k"), Some(value.as_bytes())));
    batch
}

fn numbered(rows: i64) -> Vec<String> {
    (0..rows).map(|row| format!("{} {}", row * 3, ["a", "b", "c"][row as usize % 3])).collect()
}

#[test]
fn a_guest_that_counts_what_is_in_a_call_is_refused_in_each_of_its_functions() {
    let windows = "plugin = \"unsteady\"\nwindow = { tumbling = \"10ms\" }";
    let hopping = "plugin = \"unsteady\"\nwindow = { hopping = \"20ms\", slide = \"10ms\" }";
    let count = "plugin = \"count\"\nwindow = { tumbling = \"10ms\" }";
    let track = "plugin = \"track\"\ngrants = [\"table\"]\noutputs = { side = \"side\" }";
    let cases = [
        (Counts::Rows, COUNTING, "plugin = \"parse\"\noutputs = { side = \"side\" }", "plugin = \"unsteady\"", "parse"),
        (Counts::Folded, COUNTING, count, windows, "count"),
        (Counts::Windows, COUNTING, count, windows, "count"),
        (Counts::Merged, COUNTING, count, hopping, "count"),
        (Counts::Processed, TRACKING, track, "plugin = \"unsteady\"", "track"),
        (Counts::Kept, TRACKING, track, "plugin = \"unsteady\"", "track"),
    ];
    for (counts, manifest, was, is, step) in cases {
        assert!(manifest.contains(was), "{counts:?}");
        let manifest = manifest.replace(was, is);
        assert_eq!(tried(&manifest, &[numbered(40)], Counts::Nothing).ok(), Some(Verdict::Same), "{counts:?}");
        let error = tried(&manifest, &[numbered(40)], counts).expect_err("its answers depend on calls");
        assert_eq!(error.code(), "answers_differ", "{counts:?}: {error}");
        let message = error.to_string();
        assert!(message.starts_with(&format!("step `{step}`: plugin `unsteady` answers")), "{message}");
    }
}

#[test]
fn an_error_names_the_row_and_both_answers() {
    let manifest = TRACKING
        .replace("plugin = \"track\"\ngrants = [\"table\"]\noutputs = { side = \"side\" }", "plugin = \"unsteady\"");
    let rows = ["1 a", "2 b"].map(str::to_owned);
    let message = tried(&manifest, &[rows.into()], Counts::Processed).expect_err("refused").to_string();
    let expected = "To row 1 of key `b` with the value `2 b` at 2 it gave value `1`, key `b`, at 2 with all rows, and value `0`, \
                    key `b`, at 2 with fewer at a time";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_guest_that_costs_more_than_a_trial_may_is_not_refused() {
    let rows: Vec<String> = (0..128).map(|row| format!("{row} a t")).collect();
    assert!(tried(TRACKING, &[rows], Counts::Nothing).is_ok(), "each of its rows fails");
}

fn row() -> impl Strategy<Value = String> {
    let action = prop_oneof![
        4 => Just(String::new()),
        2 => (0_u64..8, 0_i64..120).prop_map(|(id, time)| format!(" s{id}@{time}")),
        1 => (0_u64..4, 0_i64..120).prop_map(|(id, time)| format!(" p{id}@{time}")),
        1 => (0_u64..8).prop_map(|id| format!(" d{id}")),
        2 => ("[xyz]", 0_u8..9).prop_map(|(name, value)| format!(" w{name}@{value}")),
        1 => Just(" g".to_owned()),
        1 => Just(" b".to_owned()),
        1 => Just(" t".to_owned()),
        1 => Just(" c".to_owned()),
    ];
    (0_i64..100, "[abcd]", proptest::collection::vec(action, 0..3))
        .prop_map(|(time, key, actions)| format!("{time} {key}{}", actions.concat()))
}

proptest! {
    // Each case is four trials of three runs.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn guests_that_keep_to_the_contract_are_never_refused(
        first in proptest::collection::vec(row(), 0..40),
        second in proptest::collection::vec(row(), 0..40),
    ) {
        let joined = TRACKING.replace("[\"in\"]", "[\"in\", \"more\"]");
        let sessions = COUNTING.replace("{ tumbling = \"10ms\" }", "{ session = \"10ms\", lateness = \"20ms\" }");
        let collect = sessions.replace("plugin = \"count\"", "plugin = \"collect\"");
        for (manifest, sources) in [(TRACKING, 1), (joined.as_str(), 2), (COUNTING, 1), (collect.as_str(), 1)] {
            let rows = [first.clone(), second.clone()];
            let tried = tried(manifest, &rows[..sources], Counts::Nothing);
            prop_assert!(tried.is_ok(), "{}", tried.expect_err("it is not"));
        }
    }
}

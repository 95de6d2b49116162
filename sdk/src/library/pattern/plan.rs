//! A pattern as it is run: stages, and for each place that a partial match can be at, the steps that lead on.

use std::fmt;

use super::events::Events;
use super::run::Run;

/// How far apart an event and the one taken before it may lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Contiguity {
    /// It has to be the very next event of the key.
    Strict,
    /// Events in between that do not fulfil the stage's condition are skipped: the first one that does is taken.
    #[default]
    Relaxed,
    /// Any events in between may be skipped: each one that fulfils the condition is taken by a match of its own.
    Any,
}

/// A condition on an event alone.
pub(super) type Own<E> = Box<dyn Fn(&E) -> bool + Send + Sync>;
/// A condition on an event and those that were taken before it.
pub(super) type Provided<E> = Box<dyn Fn(&E, &Events<'_, E>) -> bool + Send + Sync>;

/// A stage of a pattern.
pub(super) struct Stage<E> {
    pub(super) name: String,
    /// Whether it says what must not come.
    pub(super) not: bool,
    pub(super) own: Own<E>,
    pub(super) provided: Option<Provided<E>>,
    /// How it follows the stage before.
    pub(super) contiguity: Contiguity,
    /// How often it comes.
    pub(super) least: u32,
    pub(super) most: u32,
    /// How its events follow one another.
    pub(super) repeats: Contiguity,
    pub(super) optional: bool,
}

impl<E> fmt::Debug for Stage<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("name", &self.name)
            .field("not", &self.not)
            .field("contiguity", &self.contiguity)
            .field("times", &(self.least..=self.most))
            .field("repeats", &self.repeats)
            .field("optional", &self.optional)
            .finish_non_exhaustive()
    }
}

/// A way on from a place.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// The stage whose condition the next event has to fulfil; none to wait until time runs out.
    pub(super) to: Option<u8>,
    pub(super) contiguity: Contiguity,
    /// The stages that do not allow events in between.
    pub(super) nots: Vec<u8>,
}

/// A place that a partial match can be at.
#[derive(Debug, Clone, Default)]
pub(super) struct Transitions {
    pub(super) steps: Vec<Step>,
    /// Whether it is a match already.
    pub(super) complete: bool,
}

impl Transitions {
    /// All steps, as bits.
    pub(super) fn all(&self) -> u32 {
        self.steps.iter().enumerate().fold(0, |bits, (place, _)| bits | 1 << place)
    }
}

/// A pattern as it is run.
#[derive(Debug)]
pub(super) struct Plan<E> {
    pub(super) stages: Vec<Stage<E>>,
    /// Where every match begins.
    pub(super) start: Transitions,
    /// For each stage the places with fewer events of it than it needs, with enough, and with all it can have.
    places: Vec<[Transitions; 3]>,
    /// Milliseconds from the first event to the last, exclusive.
    pub(super) within: Option<i64>,
    /// Whether every event matters: one that fulfils no condition can break off a match.
    every: bool,
}

impl<E> Plan<E> {
    pub(super) fn new(stages: Vec<Stage<E>>, within: Option<i64>) -> Self {
        let start = Transitions { steps: steps_from(&stages, 0), complete: false };
        let places = (0..).zip(&stages).map(|(number, stage)| places_of(&stages, number, stage)).collect();
        let every = stages.iter().any(|stage| {
            stage.contiguity == Contiguity::Strict || (stage.repeats == Contiguity::Strict && stage.most > 1)
        });
        Self { stages, start, places, within, every }
    }

    /// The place that a partial match is at.
    pub(super) fn place(&self, run: &Run) -> &Transitions {
        let Some(stage) = run.stage() else { return &self.start };
        let (stage, places) = (&self.stages[usize::from(stage)], &self.places[usize::from(stage)]);
        match run.count {
            count if count < stage.least => &places[0],
            count if count < stage.most => &places[1],
            _ => &places[2],
        }
    }

    /// Whether the event can make a difference.
    pub(super) fn concerns(&self, event: &E) -> bool {
        self.every || self.stages.iter().any(|stage| (stage.own)(event))
    }

    /// When a partial match times out.
    pub(super) fn end(&self, run: &Run) -> Option<i64> {
        Some(run.start()?.0.saturating_add(self.within?))
    }
}

fn places_of<E>(stages: &[Stage<E>], number: u8, stage: &Stage<E>) -> [Transitions; 3] {
    let again = Step { to: Some(number), contiguity: stage.repeats, nots: Vec::new() };
    let next = usize::from(number) + 1;
    let complete = stages.iter().skip(next).all(|stage| stage.optional);
    let on = steps_from(stages, next);
    [
        Transitions { steps: vec![again.clone()], complete: false },
        Transitions { steps: std::iter::once(again).chain(on.iter().cloned()).collect(), complete },
        Transitions { steps: on, complete },
    ]
}

/// The steps to the stages that can come next, of those from `next` on.
fn steps_from<E>(stages: &[Stage<E>], next: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut nots = Vec::new();
    for (number, stage) in (0..).zip(stages).skip(next) {
        if stage.not {
            nots.push(number);
            continue;
        }
        steps.push(Step { to: Some(number), contiguity: stage.contiguity, nots: nots.clone() });
        if !stage.optional {
            return steps;
        }
    }
    if !nots.is_empty() {
        steps.push(Step { to: None, contiguity: Contiguity::Any, nots });
    }
    steps
}

//! The configuration, and the pattern that it stands for.

use std::time::Duration;

use millstream_sdk::expression::{Expression, Names};
use millstream_sdk::library::pattern::{Contiguity, Matcher, Pattern, Skip};
use millstream_sdk::prelude::*;

use crate::event::Event;

/// The configuration.
#[config]
pub struct Config {
    /// What follows one another.
    stages: Vec<StageConfig>,
    /// The time from the first event to the last is below so many milliseconds. Without it, what has begun is never over.
    within_ms: Option<u64>,
    /// Which matches are left out once one was found.
    #[serde(default)]
    skip: Skip,
    /// Paths of the fields of each event that are in the result, such as `order.id`.
    #[serde(default)]
    pub(crate) fields: Vec<String>,
    /// How many events a key may keep; a row beyond is rejected. Without it, any number.
    events_max: Option<usize>,
    /// How many partial matches a key may have; beyond, the key begins anew, and the output `overflow` says so.
    partial_matches_max: Option<usize>,
}

/// A stage: an event, or several in a row, or what must not come.
#[config]
pub struct StageConfig {
    /// Its name in the result.
    name: String,
    /// The expression that its events fulfil, such as `amount > 1000`.
    #[serde(rename = "where")]
    condition: String,
    /// Whether such an event must not come before the next stage's; at the end, before time runs out.
    #[serde(default)]
    not: bool,
    /// How it follows the stage before: as the very next event, as the next one that fulfils the expression, or each one.
    contiguity: Option<Contiguity>,
    /// How often it comes.
    times: Option<u32>,
    /// How often it comes at least, if not a certain number of times.
    at_least: Option<u32>,
    /// How often it comes at most; without it any number of times from `at_least` on.
    at_most: Option<u32>,
    /// How its events follow one another, if it comes several times.
    repeat: Option<Contiguity>,
    /// Whether it may be left out.
    #[serde(default)]
    optional: bool,
}

/// What is made of the stages.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) matcher: Matcher<Event>,
    /// The stages' expressions, in their order.
    pub(crate) conditions: Vec<Expression>,
}

impl Config {
    pub(crate) fn make(&self, names: &mut Names) -> Result<Made> {
        let mut conditions = Vec::new();
        let mut pattern: Option<Pattern<Event>> = None;
        for (place, stage) in (0..).zip(&self.stages) {
            stage.check(place)?;
            conditions.push(names.expression(&format!("stages[{place}].where"), &stage.condition)?);
            let (name, fulfils) = (stage.name.clone(), move |event: &Event| event.fulfils(place));
            let longer = match pattern {
                None if stage.not => {
                    reject!("bad-config", "stage `{name}` says what must not come, and nothing has come before it")
                }
                None => Pattern::begin(name, fulfils),
                Some(pattern) if stage.not => pattern.not(name, fulfils),
                Some(pattern) => pattern.followed_by(stage.contiguity.unwrap_or_default(), name, fulfils),
            };
            pattern = Some(stage.shape(longer));
        }
        let Some(mut pattern) = pattern else { reject!("bad-config", "`stages` is empty: there is nothing to find") };
        pattern = pattern.skip(self.skip.clone());
        if let Some(within) = self.within_ms {
            pattern = pattern.within(Duration::from_millis(within));
        }
        if let Some(events) = self.events_max {
            pattern = pattern.events_max(events);
        }
        if let Some(partial_matches) = self.partial_matches_max {
            pattern = pattern.partial_matches_max(partial_matches);
        }
        Ok(Made { matcher: pattern.build()?, conditions })
    }
}

impl StageConfig {
    /// Refuses settings that say nothing together. What makes no pattern, the SDK refuses.
    fn check(&self, place: u32) -> Result<()> {
        let name = &self.name;
        let several = self.at_least.is_some() || self.at_most.is_some();
        if several && self.times.is_some() {
            reject!("bad-config", "stage `{name}` has `times` and a range of times: it is one of them");
        }
        if self.contiguity.is_some() && (self.not || place == 0) {
            let why = if self.not { "says what must not come" } else { "is the first one" };
            reject!("bad-config", "stage `{name}` {why}, for which `contiguity` has no meaning");
        }
        if self.repeat.is_some() && !several && self.times.is_none_or(|times| times == 1) {
            reject!("bad-config", "stage `{name}` comes once, for which `repeat` has no meaning");
        }
        Ok(())
    }

    fn shape(&self, pattern: Pattern<Event>) -> Pattern<Event> {
        let pattern = match (self.times, self.at_least, self.at_most) {
            (Some(times), ..) => pattern.times(times),
            (None, least, Some(most)) => pattern.times(least.unwrap_or(1)..=most),
            (None, Some(least), None) => pattern.times(least..),
            (None, None, None) => pattern,
        };
        let pattern = if let Some(repeat) = self.repeat { pattern.repeated(repeat) } else { pattern };
        if self.optional { pattern.optional() } else { pattern }
    }
}

//! A pattern as an author writes it.

use std::ops::{RangeFrom, RangeInclusive};
use std::time::Duration;

use super::events::Events;
use super::matcher::{Limits, Matcher};
use super::plan::{Contiguity, Plan, Stage};
use super::skip::{Skip, SkipTo};
use crate::library::{PATTERN, timer_id};
use crate::{Error, Result};

/// The steps of a place are bits of a number of 32: one for each stage, one to repeat, one to wait.
const STAGES_MAX: usize = 30;

/// How often a stage comes: `3`, `2..=4` or `2..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    least: u32,
    most: u32,
}

impl From<u32> for Times {
    fn from(times: u32) -> Self {
        Self { least: times, most: times }
    }
}

impl From<RangeInclusive<u32>> for Times {
    fn from(times: RangeInclusive<u32>) -> Self {
        Self { least: *times.start(), most: *times.end() }
    }
}

impl From<RangeFrom<u32>> for Times {
    fn from(times: RangeFrom<u32>) -> Self {
        Self { least: times.start, most: u32::MAX }
    }
}

/// A sequence of stages that events of a key can follow. Settings after a stage apply to it.
///
/// ```
/// use millstream_sdk::library::pattern::{Pattern, Skip};
/// use std::time::Duration;
///
/// // A login that failed three times and then went well from another country, without a reset of the password.
/// struct Login { ok: bool, reset: bool, country: String }
/// # impl millstream_sdk::Accumulator for Login {
/// #     fn encode(&self, _: &mut Vec<u8>) {}
/// #     fn decode(_: &mut &[u8]) -> Option<Self> { None }
/// # }
/// # impl std::fmt::Debug for Login {
/// #     fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) }
/// # }
/// let pattern = Pattern::begin("failed", |login: &Login| !login.ok)
///     .times(3..)
///     .not("reset", |login| login.reset)
///     .then("entered", |login| login.ok)
///     .provided(|login, before| before.last().is_some_and(|failed| failed.country != login.country))
///     .within(Duration::from_mins(10))
///     .skip(Skip::PastLast);
/// assert!(pattern.build().is_ok());
/// ```
#[derive(Debug)]
pub struct Pattern<E> {
    stages: Vec<Stage<E>>,
    within: Option<Duration>,
    skip: Skip,
    limits: Limits,
    number: u32,
}

impl<E: 'static> Pattern<E> {
    /// A pattern that begins with a stage of that name: an event that fulfils the condition.
    pub fn begin(name: impl Into<String>, condition: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        let empty = Self { stages: Vec::new(), within: None, skip: Skip::NoSkip, limits: Limits::DEFAULT, number: 0 };
        empty.then(name, condition)
    }

    /// Then an event that fulfils the condition, those in between that do not being skipped: [`Contiguity::Relaxed`].
    pub fn then(self, name: impl Into<String>, condition: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.stage(name.into(), Contiguity::Relaxed, false, condition)
    }

    /// Then, as the very next event, one that fulfils the condition: [`Contiguity::Strict`].
    pub fn next(self, name: impl Into<String>, condition: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.stage(name.into(), Contiguity::Strict, false, condition)
    }

    /// Then each event that fulfils the condition, for a match of its own: [`Contiguity::Any`].
    pub fn then_any(self, name: impl Into<String>, condition: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.stage(name.into(), Contiguity::Any, false, condition)
    }

    /// Then, as the contiguity says, an event that fulfils the condition.
    pub fn followed_by(
        self,
        contiguity: Contiguity,
        name: impl Into<String>,
        condition: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.stage(name.into(), contiguity, false, condition)
    }

    /// Then no event that fulfils the condition before the next stage's event; at the end, before time runs out, which is
    /// when the match is found.
    pub fn not(self, name: impl Into<String>, condition: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.stage(name.into(), Contiguity::Relaxed, true, condition)
    }

    fn stage(
        mut self,
        name: String,
        contiguity: Contiguity,
        not: bool,
        condition: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.stages.push(Stage {
            name,
            not,
            own: Box::new(condition),
            provided: None,
            contiguity,
            least: 1,
            most: 1,
            repeats: Contiguity::Relaxed,
            optional: false,
        });
        self
    }

    fn last(mut self, change: impl FnOnce(&mut Stage<E>)) -> Self {
        if let Some(stage) = self.stages.last_mut() {
            change(stage);
        }
        self
    }

    /// The stage's condition holds only if this one does as well, which sees the events taken so far.
    pub fn provided(self, condition: impl Fn(&E, &Events<'_, E>) -> bool + Send + Sync + 'static) -> Self {
        self.last(|stage| stage.provided = Some(Box::new(condition)))
    }

    /// The stage comes so often.
    pub fn times(self, times: impl Into<Times>) -> Self {
        let Times { least, most } = times.into();
        self.last(|stage| (stage.least, stage.most) = (least, most))
    }

    /// The stage's events follow one another like that; without this they are [`Contiguity::Relaxed`].
    pub fn repeated(self, contiguity: Contiguity) -> Self {
        self.last(|stage| stage.repeats = contiguity)
    }

    /// The stage's events come without any other event between them.
    pub fn consecutive(self) -> Self {
        self.repeated(Contiguity::Strict)
    }

    /// Of the events that fulfil the stage's condition, every choice is a match of its own.
    pub fn combinations(self) -> Self {
        self.repeated(Contiguity::Any)
    }

    /// The stage may be left out.
    pub fn optional(self) -> Self {
        self.last(|stage| stage.optional = true)
    }

    /// The time from the first event to the last is below this, which is taken in whole milliseconds. Without it, partial
    /// matches stay for good.
    pub fn within(self, within: Duration) -> Self {
        Self { within: Some(within), ..self }
    }

    /// Which matches are left out once one was found.
    pub fn skip(self, skip: Skip) -> Self {
        Self { skip, ..self }
    }

    /// How many events a key may keep; without it any number. A row beyond is rejected.
    pub fn events_max(self, events: usize) -> Self {
        Self { limits: Limits { events, ..self.limits }, ..self }
    }

    /// How many partial matches a key may have; the default is 16,384. They may have 32 times as many events, each one
    /// counted in each of them. Beyond that the key starts over.
    pub fn partial_matches_max(self, partial_matches: usize) -> Self {
        Self { limits: Limits { partial_matches, ..self.limits }, ..self }
    }

    /// One of several patterns of a plugin, each of which has a number of its own; without this it is 0.
    pub fn numbered(self, number: u32) -> Self {
        Self { number, ..self }
    }

    /// The pattern, ready to be found.
    ///
    /// # Errors
    /// `bad-pattern`: one that cannot be found, or not in a bounded time.
    pub fn build(self) -> Result<Matcher<E>> {
        self.check()?;
        let within = self.within.map(|within| i64::try_from(within.as_millis()).unwrap_or(i64::MAX));
        if within == Some(0) {
            return bad("`within` is less than 1 ms: no two times are that near");
        }
        let place = |name: &String| {
            let place = (0..).zip(&self.stages).find(|(_, stage)| stage.name == *name && !stage.not);
            place.map(|(place, _)| place).ok_or_else(|| {
                Error::new("bad-pattern", format_args!("the skip names the stage `{name}`, which takes no events here"))
            })
        };
        let skip = match &self.skip {
            Skip::NoSkip => SkipTo::None,
            Skip::ToNext => SkipTo::Next,
            Skip::PastLast => SkipTo::PastLast,
            Skip::ToFirst(name) => SkipTo::First(place(name)?),
            Skip::ToLast(name) => SkipTo::Last(place(name)?),
        };
        let plan = Plan::new(self.stages, within);
        Ok(Matcher { plan, skip, limits: self.limits, timer: timer_id(PATTERN, self.number) })
    }

    fn check(&self) -> Result<()> {
        if self.stages.len() > STAGES_MAX {
            return bad(format_args!("{} stages are more than {STAGES_MAX}, the limit", self.stages.len()));
        }
        if self.limits.events == 0 || self.limits.partial_matches == 0 {
            return bad("`events_max` and `partial_matches_max` are 1 at least");
        }
        // What must not come, until a stage that has to come ends it, and what may be left out after it.
        let (mut open_not, mut left_out) = (None, None);
        for (place, stage) in self.stages.iter().enumerate() {
            let name = &stage.name;
            if name.is_empty() {
                return bad(format_args!("stage {} has no name", place + 1));
            }
            if self.stages.iter().take(place).any(|earlier| earlier.name == *name) {
                return bad(format_args!("two stages are named `{name}`"));
            }
            if stage.least == 0 || stage.most < stage.least {
                let (least, most) = (stage.least, stage.most);
                return bad(format_args!("stage `{name}` comes {least} to {most} times: 1 or more, in this order"));
            }
            if stage.not && (stage.most != 1 || stage.optional) {
                return bad(format_args!("stage `{name}` says what must not come: it is not repeated or left out"));
            }
            if stage.not && place == 0 {
                return bad(format_args!("stage `{name}` says what must not come, and nothing has come before it"));
            }
            if stage.not {
                (open_not, left_out) = (Some(name), None);
            } else if stage.optional {
                left_out = Some(name);
            } else {
                open_not = None;
            }
        }
        match (open_not, left_out) {
            (Some(not), Some(stage)) => {
                bad(format_args!("`{stage}` may be left out after `{not}`, which then would not have an end"))
            }
            (Some(not), None) if self.within.is_none() => {
                bad(format_args!("nothing comes after `{not}`, which only ends with the time: set `within`"))
            }
            _ => Ok(()),
        }
    }
}

fn bad<T>(reason: impl std::fmt::Display) -> Result<T> {
    Err(Error::new("bad-pattern", reason))
}

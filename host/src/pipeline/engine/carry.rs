//! What becomes of the state of one deployment under the manifest of the next: `host/docs/changes.md` has the rules.
//!
//! Most changes need nothing: blocks name the steps that their state is of, and what a step has is read back under its
//! name. The others are written down here, from the two manifests alone. Where state is not what it was (another name, left
//! behind, other times) it is written whole under a deployment of its own, so nothing needs to be known of the change
//! once it is made.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{KEYED, Keyed, Plan};
#[cfg(feature = "server")]
use crate::ids::TopicPartition;
use crate::ids::{Digest, StepName, TopicName};
use crate::pipeline::error::Error;
use crate::pipeline::spec::{Spec, StepSpec};
use crate::state::Store;
use crate::time::Windowing;

/// What becomes of state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::pipeline) struct Carry {
    /// The names that steps have now, by those that they had.
    renamed: BTreeMap<String, StepName>,
    /// Steps, by the names that they had, whose state is left behind.
    dropped: BTreeSet<String>,
    /// Steps, by the names that they had, whose state their plugins cannot use now, and why.
    refused: BTreeMap<String, String>,
    /// Steps whose windows gave results at other times, or were open for a shorter time, and how it was.
    pub(super) retimed: BTreeMap<StepName, Windowing>,
    /// Reference tables that are not there any more as they were.
    tables: BTreeSet<String>,
    /// Topics whose places in them are forgotten with the tables.
    forgotten: BTreeSet<TopicName>,
}

impl Carry {
    /// What becomes of the state of `before` under `plan`, which is the plan of `after`. The state of the steps that `drop`
    /// names, by the names that they had, is left behind.
    pub(in crate::pipeline) fn between(
        before: &Spec,
        after: &Spec,
        plan: &Plan,
        drop: &[StepName],
    ) -> Result<Self, Error> {
        let mut carry = Self::default();
        for step in drop {
            if !before.steps.iter().any(|had| had.name == *step) {
                return Err(Error::StepNotFound { name: before.name.clone(), step: step.clone() });
            }
            carry.dropped.insert(step.to_string());
        }
        let had = |name: &StepName| before.steps.iter().find(|had| had.name == *name);
        for step in &after.steps {
            let Some(old) = had(&step.name).or_else(|| had(step.was.as_ref()?)) else { continue };
            if old.name != step.name {
                carry.renamed.insert(old.name.to_string(), step.name.clone());
            }
            if carry.dropped.contains(old.name.as_str()) {
                continue;
            }
            if let Some(reason) = misfit(old, step, (before, after), plan) {
                carry.refused.insert(old.name.to_string(), reason);
            }
            if let (Some(was), Some(is)) = (&old.window, &step.window)
                && is_retimed(&was.windowing, &is.windowing)
            {
                carry.retimed.insert(step.name.clone(), was.windowing.clone());
            }
        }
        for (name, topic) in &before.tables {
            if after.tables.get(name) != Some(topic) {
                carry.tables.insert(name.to_string());
                carry.forgotten.insert(topic.clone());
            }
        }
        // What was read of a topic as a source, lately or long ago, says nothing of what a table of it has.
        let had = |name| before.tables.get(name);
        carry.forgotten.extend(
            after.tables.iter().filter(|(name, topic)| had(*name) != Some(*topic)).map(|(_, topic)| topic.clone()),
        );
        Ok(carry)
    }

    /// Leaves the content of a table behind, to be read anew from the beginning of its topic.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn begin_table(&mut self, table: &TopicName, topic: &TopicName) {
        self.tables.insert(table.to_string());
        self.forgotten.insert(topic.clone());
    }

    /// Forgets no places but those that there are.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn of_places<'a>(mut self, places: impl Iterator<Item = &'a TopicPartition>) -> Self {
        let known: BTreeSet<&TopicName> = places.map(|at| &at.topic).collect();
        self.forgotten.retain(|topic| known.contains(topic));
        self
    }

    /// Whether state has to be written again: it is not what it was.
    pub(in crate::pipeline) fn rewrites(&self) -> bool {
        let Self { renamed, dropped, refused: _, retimed, tables, forgotten } = self;
        !(renamed.is_empty() && dropped.is_empty() && retimed.is_empty() && tables.is_empty() && forgotten.is_empty())
    }

    /// Whether what is in memory may be handed over as it is.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The step that has the state now that this one had.
    pub(in crate::pipeline) fn name_now<'a>(&'a self, step: &'a str) -> &'a str {
        self.renamed.get(step).map_or(step, StepName::as_str)
    }

    /// Whether the state of a step is left behind.
    pub(in crate::pipeline) fn drops(&self, step: &str) -> bool {
        self.dropped.contains(step)
    }

    /// Whether the content of a table is left behind.
    pub(in crate::pipeline) fn drops_table(&self, table: &str) -> bool {
        self.tables.contains(table)
    }

    /// Why the state of a step cannot be used, if it cannot.
    pub(in crate::pipeline) fn refuses(&self, step: &str) -> Option<&str> {
        self.refused.get(step).map(String::as_str)
    }

    /// The versions that wrote the state, by the names that steps have now.
    pub(in crate::pipeline) fn wrote(&self, digests: &BTreeMap<StepName, Digest>) -> BTreeMap<StepName, Digest> {
        let kept = digests.iter().filter(|(step, _)| !self.drops(step.as_str()));
        kept.map(|(step, digest)| (self.renamed.get(step.as_str()).unwrap_or(step).clone(), *digest)).collect()
    }

    /// Whether the place in a topic counts under the new manifest.
    pub(in crate::pipeline) fn keeps_place(&self, topic: &TopicName) -> bool {
        !self.forgotten.contains(topic)
    }
}

/// Why the state of a step cannot go on as that of another, as far as manifests and plugins say it. What blocks say of
/// their windows is compared when they are read.
fn misfit(old: &StepSpec, new: &StepSpec, (before, after): (&Spec, &Spec), plan: &Plan) -> Option<String> {
    let keyed = plan.keyed().find(|keyed| keyed.step().name == new.name)?;
    if old.plugin.name != new.plugin.name && keyed.guest().migrator().is_none() {
        let (old, new) = (&old.plugin.name, &new.plugin.name);
        return Some(format!("it was written by plugin `{old}`, and `{new}` does not export `migrate`"));
    }
    let is_first = plan
        .stages
        .first()
        .and_then(|stage| stage.keyed.as_ref())
        .is_some_and(|first| matches!(first, Keyed::Process(_)) && first.step().name == new.name);
    if !is_first {
        return None;
    }
    let place = |topic: &TopicName| before.sources.iter().position(|source| source == topic);
    let moved = (0..).zip(&after.sources).find(|(now, topic)| place(topic).is_some_and(|before| before != *now))?;
    Some(format!(
        "its plugin knows source topics by their places, and `{}` has another; add topics at the end",
        moved.1
    ))
}

/// Whether windows that are open are to give results at other times, or to stay open for longer.
fn is_retimed(before: &Windowing, after: &Windowing) -> bool {
    before.describe() == after.describe() && (before.early != after.early || before.lateness_ms < after.lateness_ms)
}

/// A store that reads what a step of that description wrote, to be left behind.
pub(in crate::pipeline) fn unwanted(description: &str) -> Box<dyn Store> {
    use crate::state::{Keyed, KeyedWindows, Windows};
    use crate::time::{Early, Kind, Mode};
    if let Some(tumbling) = Windowing::plain_tumbling_of(description) {
        return Box::new(Windows::new(tumbling));
    }
    if description == KEYED {
        return Box::new(Keyed::new(None));
    }
    let any = Windowing { kind: Kind::Global, lateness_ms: 0, early: Some(Early::Rows(1)), mode: Mode::Accumulating };
    Box::new(KeyedWindows::new(any))
}

//! What may be deployed now, after what was asked for and answered, or not answered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use millstream::ids::Digest;

/// A pipeline that is deployed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deployed {
    /// Its manifest.
    pub manifest: String,
    /// Whether it is paused.
    pub paused: bool,
}

impl fmt::Debug for Deployed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", short(&self.manifest), if self.paused { " paused" } else { "" })
    }
}

/// A manifest, as short as it can be told from others.
fn short(manifest: &str) -> String {
    Digest::of(manifest.as_bytes()).hex()[..6].to_owned()
}

/// What an operation makes of a pipeline.
#[derive(Clone, PartialEq, Eq)]
pub enum Effect {
    /// It runs this manifest; one that is paused stays so.
    Runs(String),
    /// It is paused or not.
    Paused(bool),
    /// It is not there any more.
    Gone,
    /// It runs one of the manifests that it had.
    RunsAgain(BTreeSet<String>),
    /// It runs the same, from another place.
    Same,
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs(manifest) => write!(f, "runs {}", short(manifest)),
            Self::Paused(paused) => f.write_str(if *paused { "pause" } else { "resume" }),
            Self::Gone => f.write_str("delete"),
            Self::RunsAgain(_) => f.write_str("runs what it ran"),
            Self::Same => f.write_str("runs the same"),
        }
    }
}

impl Effect {
    fn on(&self, before: Option<&Deployed>) -> Vec<Option<Deployed>> {
        let runs = |manifest: &String| {
            let paused = before.is_some_and(|before| before.paused);
            Some(Deployed { manifest: manifest.clone(), paused })
        };
        match (self, before) {
            (Self::Runs(manifest), _) => vec![runs(manifest)],
            (Self::RunsAgain(manifests), _) => manifests.iter().map(runs).collect(),
            (Self::Paused(paused), Some(before)) => vec![Some(Deployed { paused: *paused, ..before.clone() })],
            (Self::Gone, _) => vec![None],
            (Self::Same | Self::Paused(_), before) => vec![before.cloned()],
        }
    }
}

type Possible = BTreeSet<Option<Deployed>>;

/// A pipeline: what it may be, and what is under way.
#[derive(Debug, Clone)]
struct Pipeline {
    /// What it may have been when the first of what is under way began.
    before: Possible,
    under_way: Vec<Effect>,
    /// How many of these have not ended.
    open: usize,
}

/// All pipelines by name.
#[derive(Debug, Clone, Default)]
pub struct Wanted(BTreeMap<String, Pipeline>);

impl Wanted {
    /// An operation begins.
    pub fn begin(&mut self, name: &str, effect: Effect) {
        let nothing = || Pipeline { before: BTreeSet::from([None]), under_way: Vec::new(), open: 0 };
        let pipeline = self.0.entry(name.to_owned()).or_insert_with(nothing);
        pipeline.under_way.push(effect);
        pipeline.open += 1;
    }

    /// An operation ends, and this is what is deployed. Whether it was alone, or what is wrong.
    pub fn end(&mut self, name: &str, done: bool, now: Option<&Deployed>) -> Result<bool, String> {
        let Some(pipeline) = self.0.get_mut(name) else { return Ok(true) };
        pipeline.open -= 1;
        let alone = pipeline.under_way.len() == 1;
        if pipeline.open > 0 {
            return Ok(false);
        }
        let possible = match pipeline.under_way.as_slice() {
            [effect] if done => pipeline.before.iter().flat_map(|before| effect.on(before.as_ref())).collect(),
            _ => pipeline.possible(),
        };
        pipeline.settle(name, &possible, now).map(|()| alone)
    }

    /// What is remembered of a pipeline is lost. Whether somebody wanted that.
    pub fn lost(&mut self, name: &str) -> bool {
        let Some(pipeline) = self.0.get_mut(name) else { return false };
        pipeline.before.insert(None);
        pipeline.under_way.contains(&Effect::Gone)
    }

    /// A server has started: what was under way was cut off, and this is what is deployed.
    pub fn started(&mut self, now: &BTreeMap<String, Deployed>) -> Result<(), String> {
        if let Some(name) = now.keys().find(|name| !self.0.contains_key(*name)) {
            return Err(format!("pipeline `{name}` was never asked for"));
        }
        for (name, pipeline) in &mut self.0 {
            let possible = pipeline.possible();
            pipeline.settle(name, &possible, now.get(name))?;
        }
        Ok(())
    }

    /// What a pipeline is, if nothing is under way.
    pub fn get(&self, name: &str) -> Option<&Deployed> {
        self.0.get(name)?.before.first()?.as_ref()
    }

    /// The names of those that are there, or may be.
    pub fn names(&self) -> Vec<String> {
        let there = self.0.iter().filter(|(_, pipeline)| pipeline.before.iter().any(Option::is_some));
        there.map(|(name, _)| name.clone()).collect()
    }
}

impl Pipeline {
    /// What it may be after any of what is under way, in any order.
    fn possible(&self) -> Possible {
        let mut possible = self.before.clone();
        loop {
            let more: Possible = self
                .under_way
                .iter()
                .flat_map(|effect| possible.iter().flat_map(|before| effect.on(before.as_ref())).collect::<Vec<_>>())
                .collect();
            let known = possible.len();
            possible.extend(more);
            if possible.len() == known {
                return possible;
            }
        }
    }

    fn settle(&mut self, name: &str, possible: &Possible, now: Option<&Deployed>) -> Result<(), String> {
        let now = now.cloned();
        let right = possible.contains(&now);
        let reason =
            format!("pipeline `{name}` is {now:?} and should be one of {possible:?}, after {:?}", self.under_way);
        (self.before, self.open) = (BTreeSet::from([now]), 0);
        self.under_way.clear();
        if right { Ok(()) } else { Err(reason) }
    }
}

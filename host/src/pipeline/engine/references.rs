//! The reference tables of a pipeline, and what its steps see of them.
//!
//! A table is an input like any other: its records come in micro-batches, and what they make of the table is in the
//! pipeline's blocks. So a row is joined with the same version of a table however often it is processed. Before a pipeline
//! takes its first row, it reads its tables to their ends.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::ids::TopicName;
use crate::pipeline::spec::{Spec, StepSpec};
use crate::plugin::{Grants, Lookups};
use crate::record::{Column, ColumnRef};
use crate::state::Reference;

/// A table that the machine writes between calls and guests read during calls.
#[derive(Debug, Clone, Default)]
pub(in crate::pipeline) struct Shared(Arc<RwLock<Reference>>);

impl Shared {
    pub(in crate::pipeline) fn read(&self) -> RwLockReadGuard<'_, Reference> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::pipeline) fn write(&self) -> RwLockWriteGuard<'_, Reference> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reference tables of a pipeline, by the names that the manifest gives them.
#[derive(Debug, Clone, Default)]
pub struct References {
    pub(in crate::pipeline) tables: BTreeMap<TopicName, Table>,
}

/// A reference table.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Table {
    /// The topic that it is made of.
    pub(in crate::pipeline) topic: TopicName,
    /// What it has.
    pub(in crate::pipeline) content: Shared,
}

impl References {
    /// The tables of a manifest, with nothing read yet.
    pub fn new(spec: &Spec) -> Self {
        let table = |topic: &TopicName| Table { topic: topic.clone(), content: Shared::default() };
        Self { tables: spec.tables.iter().map(|(name, topic)| (name.clone(), table(topic))).collect() }
    }

    /// Gives all that has been read to the same tables of another plan. False, with part of it given, if that has others.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn give(&self, to: &Self) -> bool {
        self.tables.iter().all(|(name, table)| {
            let Some(other) = to.tables.get(name).filter(|other| other.topic == table.topic) else { return false };
            // Each plan's guests look into tables of their own.
            std::mem::swap(&mut *table.content.write(), &mut *other.content.write());
            true
        })
    }

    /// Forgets what has been read.
    pub(in crate::pipeline) fn clear(&self) {
        self.tables.values().for_each(|table| *table.content.write() = Reference::default());
    }

    /// What a step's plugin may use.
    pub fn grants(&self, step: &StepSpec) -> Grants {
        let table = |name: &TopicName| Some((name.clone(), self.tables.get(name)?.content.clone()));
        let granted: BTreeMap<_, _> = step.lookups.iter().filter_map(table).collect();
        let lookups = (!granted.is_empty()).then(|| Arc::new(Granted(granted)) as Arc<dyn Lookups>);
        Grants { table: step.table, lookups }
    }
}

/// The tables that a step may read.
#[derive(Debug)]
struct Granted(BTreeMap<TopicName, Shared>);

impl Lookups for Granted {
    fn get(&self, name: &str, keys: ColumnRef<'_>) -> Option<Column> {
        let table = self.0.iter().find(|(granted, _)| granted.as_str() == name).map(|(_, table)| table)?;
        Some(table.read().get(keys))
    }
}

//! Imports that not every plugin has: which they are, which worlds may have them, and how a step grants them.

use serde::Serialize;

use super::bindings::{LOOKUP, TABLE};
use super::error::Error;
use super::{Grants, World};

/// An import that the pipeline must grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// Tables of its own for each key.
    Table,
    /// Reference tables.
    Lookup,
}

impl Grant {
    /// The grant that an import needs, if it needs one.
    pub(super) fn of(import: &str) -> Option<Self> {
        match import {
            TABLE => Some(Self::Table),
            LOOKUP => Some(Self::Lookup),
            _ => None,
        }
    }

    /// The import.
    pub(super) const fn import(self) -> &'static str {
        match self {
            Self::Table => TABLE,
            Self::Lookup => LOOKUP,
        }
    }

    /// Whether plugins of this world may have it. Tables belong to a key, which only `process` has; an `aggregate`
    /// depends on nothing but its rows, since the order in which accumulators are merged is not to be seen.
    pub(super) const fn is_for(self, world: World) -> bool {
        match self {
            Self::Table => matches!(world, World::Process),
            Self::Lookup => matches!(world, World::Process | World::Transform),
        }
    }

    /// How a step of a manifest gives it.
    pub const fn in_manifest(self) -> &'static str {
        match self {
            Self::Table => "grants = [\"table\"]",
            Self::Lookup => "lookup = [\"NAME\"]",
        }
    }
}

impl Grants {
    /// Refuses code that needs what is not granted.
    pub(super) fn cover(&self, needs: &[Grant]) -> Result<(), Error> {
        let is_granted = |grant: &Grant| match grant {
            Grant::Table => self.table,
            Grant::Lookup => self.lookups.is_some(),
        };
        match needs.iter().find(|grant| !is_granted(grant)) {
            None => Ok(()),
            Some(grant) => Err(Error::ImportNotGranted {
                import: grant.import().to_owned(),
                grant: grant.in_manifest().to_owned(),
            }),
        }
    }
}

//! What the control plane remembers: plugins with their versions, the pipelines that are deployed, and what is about to
//! become of them.
//!
//! [`Catalog`] is its contract, [`FileCatalog`] the one of a single server, in a folder.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, PipelineId, PipelineName, PluginName, StepName, TenantId};
use crate::plugin::{Description, World};

mod contract;
mod error;
mod file;
mod file_catalog;
mod folder;
mod intent;
mod load;
#[cfg(test)]
mod tests;

pub use contract::{Catalog, Pending};
pub use error::Error;
pub use file_catalog::FileCatalog;
pub use intent::{Intent, Purpose};
pub use load::Damaged;

/// An immutable version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginVersion {
    pub name: PluginName,
    /// Counted from 1 for each name.
    pub version: u32,
    /// The digest of its component: what identifies it.
    pub digest: Digest,
    /// What it can do.
    pub world: World,
    /// What it says that it takes and gives.
    pub description: Description,
    /// Size of its component.
    pub bytes: u64,
    /// Whether `init` runs once, at deploy; if not, it runs before every call.
    pub snapshot: bool,
    /// What it imports of the host.
    pub imports: Vec<String>,
    /// When it was pushed, in milliseconds since the Unix epoch.
    pub uploaded_at_ms: i64,
}

/// A pipeline as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPipeline {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name, as the manifest says it.
    pub name: PipelineName,
    /// This deployment of the name.
    pub id: PipelineId,
    /// The manifest it was made from.
    pub manifest: String,
    /// Whether it was paused on request.
    pub paused: bool,
    /// The version that each step runs.
    pub digests: BTreeMap<StepName, Digest>,
    /// Steps that stay at their version, to which a restore or rollback put them back, until the manifest names another or
    /// an upgrade is asked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<StepName>,
    /// Steps whose state this deployment left behind when it took over.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dropped_state: BTreeSet<StepName>,
    /// The checkpoint of before its last upgrade, if it had one since it was made or restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgraded_from: Option<String>,
}

/// What a push came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Whether this is a version that there was not before.
    pub created: bool,
    /// The version.
    pub version: PluginVersion,
}

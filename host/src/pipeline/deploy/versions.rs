//! Which version of its plugin each step runs.

use std::collections::{BTreeMap, BTreeSet};

use super::Pipelines;
use crate::catalog::StoredPipeline;
use crate::checkpoint::Deployment;
use crate::ids::{Digest, PluginRef, StepName, TenantId};
use crate::pipeline::Error;
use crate::pipeline::spec::{Spec, StepSpec};

/// The versions that steps run.
#[derive(Debug, Default)]
pub(super) struct Versions {
    pub(super) digests: BTreeMap<StepName, Digest>,
    /// Steps that stay at their version, to which a restore or rollback put them back.
    pub(super) held: BTreeSet<StepName>,
}

impl Versions {
    fn insert(&mut self, step: &StepSpec, digest: Digest, held: bool) {
        self.digests.insert(step.name.clone(), digest);
        if held {
            self.held.insert(step.name.clone());
        }
    }
}

/// The step of another manifest that a step goes on from, if it runs the same plugin.
fn same_in<'a>(before: &'a Spec, step: &StepSpec) -> Option<&'a StepSpec> {
    let named = |name: &StepName| before.steps.iter().find(|had| had.name == *name);
    let had = named(&step.name).or_else(|| named(step.was.as_ref()?))?;
    (had.plugin.name == step.plugin.name).then_some(had)
}

impl Pipelines {
    /// The versions that a manifest is to run: those that it names. Where it names none, a step stays at what a restore or
    /// rollback put it back to, until an `upgrade` is asked for; the others run the newest.
    pub(super) fn resolve(
        &self,
        tenant: &TenantId,
        spec: &Spec,
        before: Option<(&StoredPipeline, &Spec)>,
        upgrade: bool,
    ) -> Result<Versions, Error> {
        let held = |step: &StepSpec| {
            let (stored, was) = before.filter(|_| !upgrade && step.plugin.digest.is_none())?;
            let had = same_in(was, step).filter(|had| stored.held.contains(&had.name))?;
            stored.digests.get(&had.name).copied()
        };
        self.versions(tenant, spec, held)
    }

    /// The versions that a manifest runs on state of a deployment: those that ran, where it does not say otherwise.
    pub(super) fn versions_of(&self, tenant: &TenantId, spec: &Spec, of: &Deployment) -> Result<Versions, Error> {
        let before: Spec = of.manifest.parse()?;
        let ran = |step: &StepSpec| {
            let had = same_in(&before, step).filter(|_| step.plugin.digest.is_none())?;
            of.digests.get(&had.name).copied()
        };
        self.versions(tenant, spec, ran)
    }

    fn versions(
        &self,
        tenant: &TenantId,
        spec: &Spec,
        held: impl Fn(&StepSpec) -> Option<Digest>,
    ) -> Result<Versions, Error> {
        let mut versions = Versions::default();
        for step in &spec.steps {
            let stays = held(step);
            let plugin = PluginRef { name: step.plugin.name.clone(), digest: stays.or(step.plugin.digest) };
            let version = self.0.context.catalog.plugin(tenant, &plugin)?;
            versions.insert(step, version.digest, stays.is_some());
        }
        Ok(versions)
    }
}

//! What is about to be done to a deployment, recorded before it is done.
//!
//! State in the log belongs to a deployment; the catalog names the one that a pipeline runs. What the catalog does not name may be
//! superfluous, or it may be all that is left of a pipeline whose file was lost. An intent tells one from the other:
//! only what an intent says to be superfluous is ever removed.

use serde::{Deserialize, Serialize};

use super::folder::{Folder, Holdings};
use super::{Error, file};
use crate::ids::{PipelineId, PipelineName, TenantId};

/// What is about to be done to a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// The deployment.
    pub id: PipelineId,
    /// The pipeline that is to run it, or ran it.
    pub pipeline: PipelineName,
    /// What for.
    pub purpose: Purpose,
}

/// What a deployment is intended for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Purpose {
    /// Its state is being put together; the catalog has never named it.
    Stage,
    /// The catalog is about to name it, or does.
    Switch {
        /// The deployment whose place it takes.
        replaces: Option<PipelineId>,
    },
    /// Its pipeline is being deleted.
    Delete,
}

impl Intent {
    /// The deployments that are superfluous when the catalog names `named` under the pipeline's name; nothing, if that
    /// cannot be told because the file that would tell it is not there, or is that of a pipeline that was made since.
    pub fn superfluous(&self, named: Option<PipelineId>) -> Option<Vec<PipelineId>> {
        match (self.purpose, named) {
            // The deletion did not come to its end, and was not answered.
            (Purpose::Delete, Some(named)) if named == self.id => Some(Vec::new()),
            (Purpose::Delete | Purpose::Stage, _) => Some(vec![self.id]),
            (Purpose::Switch { replaces }, Some(named)) if named == self.id => Some(replaces.into_iter().collect()),
            (Purpose::Switch { replaces }, Some(_)) if named == replaces => Some(vec![self.id]),
            (Purpose::Switch { .. }, _) => None,
        }
    }
}

impl Folder {
    pub(super) fn put_intent(&self, tenant: &TenantId, intent: &Intent) -> Result<(), Error> {
        let paths = self.paths(tenant);
        let _changing = self.changing();
        file::make_folder(&*self.files, &paths.intents())?;
        file::write_document(&*self.files, &paths.intent(intent.id), intent)?;
        self.write(|known| {
            known.tenants.entry(tenant.clone()).or_default().intents.insert(intent.id, intent.clone());
        });
        Ok(())
    }

    pub(super) fn remove_intent(&self, tenant: &TenantId, id: PipelineId) -> Result<(), Error> {
        let _changing = self.changing();
        file::remove(&*self.files, &self.paths(tenant).intent(id))?;
        self.write(|known| {
            if let Some(holdings) = known.tenants.get_mut(tenant) {
                holdings.intents.remove(&id);
            }
        });
        Ok(())
    }

    pub(super) fn intents(&self) -> Vec<(TenantId, Intent)> {
        let of = |(tenant, holdings): (&TenantId, &Holdings)| {
            holdings.intents.values().map(|intent| (tenant.clone(), intent.clone())).collect::<Vec<_>>()
        };
        self.read(|known| known.tenants.iter().flat_map(of).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_superfluous_that_may_be_all_there_is() {
        let (old, new, other) = (PipelineId(3), PipelineId(7), PipelineId(9));
        let of = |purpose| Intent { id: new, pipeline: "views".parse().expect("a name"), purpose };
        let switch = of(Purpose::Switch { replaces: Some(old) });
        assert_eq!(switch.superfluous(Some(new)), Some(vec![old]), "it was switched");
        assert_eq!(switch.superfluous(Some(old)), Some(vec![new]), "it was not");
        assert_eq!(switch.superfluous(None), None, "one of both is the pipeline whose file is lost");
        assert_eq!(switch.superfluous(Some(other)), None, "and a new one of the name does not change that");
        assert_eq!(of(Purpose::Switch { replaces: None }).superfluous(Some(new)), Some(vec![]));
        for named in [None, Some(old), Some(other)] {
            assert_eq!(of(Purpose::Stage).superfluous(named), Some(vec![new]), "nothing ever named it");
            assert_eq!(of(Purpose::Delete).superfluous(named), Some(vec![new]), "it was asked for");
        }
        assert_eq!(of(Purpose::Delete).superfluous(Some(new)), Some(vec![]), "the pipeline is still there");
    }
}

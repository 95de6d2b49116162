//! The contract of a catalog.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use super::{Damaged, Error, Intent, PluginVersion, Pushed, StoredPipeline};
use crate::ids::{Digest, PipelineId, PipelineName, PluginName, PluginRef, TenantId};
use crate::plugin::Certificate;

/// An answer that comes when it is durable.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// What the control plane remembers, of all tenants.
///
/// # Contract
/// - **What is known** is in memory, all but the bytes of components: it is answered at once. Other servers may have changed
///   it since; what this one has changed is seen when the change is answered, and not before.
/// - **Changes** are durable when they are answered `Ok`. After an error what was there before is there, unless it is
///   [`Error::Unsettled`]: then either may be there after a restart. Whoever polls a change is not held up by a disk or a
///   broker.
/// - **Cancellation.** Dropping a change that was polled leaves open whether it is made; it is made whole or not at all.
/// - **Order.** Whoever changes the same thing twice waits for the first answer before the second.
/// - **Tenants.** A name means what it means to this tenant.
pub trait Catalog: Send + Sync + Debug {
    /// All versions of all plugins of a tenant, by name and then oldest first.
    fn plugins(&self, tenant: &TenantId) -> Vec<PluginVersion>;

    /// The version that is meant: the newest, where no digest is given.
    fn plugin(&self, tenant: &TenantId, plugin: &PluginRef) -> Result<PluginVersion, Error>;

    /// The bytes of a component, checked against its digest.
    fn component(&self, tenant: &TenantId, digest: &Digest) -> Pending<Bytes>;

    /// Remembers a certified component as the newest version of a plugin. A component that is a version already is not
    /// stored again: its version is answered.
    fn push_plugin(
        &self,
        tenant: &TenantId,
        name: &PluginName,
        certificate: Certificate,
        component: Bytes,
    ) -> Pending<Pushed>;

    /// The pipelines of all tenants.
    fn pipelines(&self) -> Vec<StoredPipeline>;

    /// What could not be read when the catalog was opened, or before, and was put aside.
    fn damaged(&self, tenant: &TenantId) -> Vec<Damaged>;

    /// Remembers a pipeline, in place of the one of the same name if there is one.
    fn put_pipeline(&self, pipeline: &StoredPipeline) -> Pending<()>;

    /// Forgets a pipeline. Forgetting what is not there changes nothing.
    fn remove_pipeline(&self, tenant: &TenantId, name: &PipelineName) -> Pending<()>;

    /// A number that no pipeline had before or gets after, also after a crash.
    fn next_pipeline_id(&self) -> Pending<PipelineId>;

    /// Gives no number up to this one any more: somebody knows it already.
    fn skip_pipeline_id(&self, used: PipelineId) -> Pending<()>;

    /// What is intended with deployments of all tenants.
    fn intents(&self) -> Vec<(TenantId, Intent)>;

    /// Writes an intent down, in place of one of the same deployment.
    fn put_intent(&self, tenant: &TenantId, intent: &Intent) -> Pending<()>;

    /// Forgets what was intended with a deployment, because it is done. Forgetting what is not there changes nothing.
    fn remove_intent(&self, tenant: &TenantId, id: PipelineId) -> Pending<()>;
}

//! Topics come and go while pipelines are deployed that need them.
//!
//! The topics of a deployment are needed from before it is planned until it is gone, and a topic that is needed cannot be
//! deleted. Topics of a tenant are made and deleted by one at a time, so what a plan was made for is there when it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::supervisor::EngineContext;
use super::{Pipelines, to_its_end};
use crate::ids::{PipelineName, TenantId, TopicName};
use crate::log::{Log, TopicConfig, TopicInfo};
use crate::pipeline::Error;
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::spec::Spec;

/// What deployments need that are not among the pipelines yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Topics {
    turns: Arc<Mutex<BTreeMap<TenantId, Arc<tokio::sync::Mutex<()>>>>>,
    needed: Arc<Mutex<Needed>>,
}

/// For each topic, who needs it. A pipeline may be there more than once.
type Needed = BTreeMap<(TenantId, TopicName), Vec<PipelineName>>;

/// Topics that are not deleted while this is there.
#[derive(Debug)]
pub(super) struct Needs {
    of: Arc<Mutex<Needed>>,
    tenant: TenantId,
    pipeline: PipelineName,
    topics: BTreeSet<TopicName>,
}

impl Topics {
    /// Waits until nobody else makes or deletes topics of this tenant.
    async fn turn(&self, tenant: &TenantId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(tenant.clone()).or_default())
        };
        turn.lock_owned().await
    }

    /// Keeps the topics of a manifest from being deleted while it is deployed.
    pub(super) async fn need(&self, tenant: &TenantId, spec: &Spec) -> Needs {
        let _turn = self.turn(tenant).await;
        let topics = spec.topics();
        let mut needed = lock(&self.needed);
        for topic in &topics {
            needed.entry((tenant.clone(), topic.clone())).or_default().push(spec.name.clone());
        }
        Needs { of: Arc::clone(&self.needed), tenant: tenant.clone(), pipeline: spec.name.clone(), topics }
    }

    fn needing(&self, tenant: &TenantId, topic: &TopicName) -> Vec<PipelineName> {
        lock(&self.needed).get(&(tenant.clone(), topic.clone())).cloned().unwrap_or_default()
    }
}

impl Drop for Needs {
    fn drop(&mut self) {
        let mut needed = lock(&self.of);
        for topic in &self.topics {
            let key = (self.tenant.clone(), topic.clone());
            let Some(by) = needed.get_mut(&key) else { continue };
            if let Some(place) = by.iter().position(|name| *name == self.pipeline) {
                by.swap_remove(place);
            }
            if by.is_empty() {
                needed.remove(&key);
            }
        }
    }
}

/// A panic elsewhere leaves the map whole.
fn lock(needed: &Mutex<Needed>) -> MutexGuard<'_, Needed> {
    needed.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EngineContext {
    /// Makes the topics that a plan writes and that do not exist. False if one of them has been made since by somebody
    /// else, and otherwise than the plan counts on: then it has to be planned again, which ends, as a topic that is needed
    /// stays as it is.
    pub(super) async fn create_targets(&self, tenant: &TenantId, plan: &Arc<Plan>) -> Result<bool, Error> {
        let (of, plan) = (tenant.clone(), Arc::clone(plan));
        self.with_topics(tenant, async move |log: Arc<dyn Log>| {
            let topics = log.topics(&of).await?;
            for target in &plan.topics {
                match topics.get(&target.name) {
                    None => {
                        let config = TopicConfig::with_partitions(target.partitions);
                        log.create_topic(&of, &target.name, config).await?;
                    }
                    Some(TopicInfo { config, .. })
                        if config.partitions != target.partitions || config.cleanup.compacts() != target.needs_key =>
                    {
                        return Ok(false);
                    }
                    Some(_) => {}
                }
            }
            Ok(true)
        })
        .await
    }

    /// Makes or deletes topics of a tenant, while nobody else does. The turn is held while the log answers: what has been
    /// looked at must not change before it is acted upon. It holds up no other tenant, and of this one only those who make,
    /// delete or begin to need topics.
    async fn with_topics<T: Send + 'static, F>(
        &self,
        tenant: &TenantId,
        change: impl FnOnce(Arc<dyn Log>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let turn = self.topics.turn(tenant).await;
        let changing = change(Arc::clone(&self.log));
        to_its_end(async move {
            // Whoever waits may go away; the next has its turn when this is done.
            let _turn = turn;
            changing.await
        })
        .await
    }
}

impl Pipelines {
    /// Makes a topic. See [`TopicAdmin::create_topic`](crate::log::TopicAdmin::create_topic).
    pub async fn create_topic(&self, tenant: &TenantId, topic: &TopicName, config: TopicConfig) -> Result<(), Error> {
        let (of, topic) = (tenant.clone(), topic.clone());
        let create = async move |log: Arc<dyn Log>| Ok(log.create_topic(&of, &topic, config).await?);
        self.0.context.with_topics(tenant, create).await
    }

    /// Removes a topic and its records, unless a pipeline needs it.
    pub async fn delete_topic(&self, tenant: &TenantId, topic: &TopicName) -> Result<(), Error> {
        let (pipelines, of, topic) = (self.clone(), tenant.clone(), topic.clone());
        let delete = async move |log: Arc<dyn Log>| {
            let users = pipelines.users(&of, &topic);
            if users.is_empty() {
                Ok(log.delete_topic(&of, &topic).await?)
            } else {
                Err(Error::TopicInUse { topic, pipelines: users.into_iter().collect() })
            }
        };
        self.0.context.with_topics(tenant, delete).await
    }

    /// The pipelines that read or write a topic, or are about to.
    fn users(&self, tenant: &TenantId, topic: &TopicName) -> BTreeSet<PipelineName> {
        // In this order: what is being deployed is among the pipelines before it is here no more.
        let mut users: BTreeSet<_> = self.0.context.topics.needing(tenant, topic).into_iter().collect();
        let entries: Vec<_> = self.entries().values().cloned().collect();
        for entry in entries {
            let stored = entry.stored();
            // One that cannot be parsed any more runs on nothing.
            let Ok(spec) = entry.spec() else { continue };
            if stored.tenant == *tenant && spec.topics().contains(topic) {
                users.insert(stored.name);
            }
        }
        users
    }
}

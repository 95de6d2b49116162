//! `/v1/topics`: making, showing and removing topics.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::caller::{Authorized, Owner, Viewer};
use super::extract::ValidPath;
use super::{App, Error, List, Problem, Shared};
use crate::ids::{Offset, PartitionId, TenantId, TopicName};
use crate::log::{Cleanup, PartitionInfo, TOMBSTONE_RETENTION, TopicConfig, TopicInfo};
use crate::names::nearest;

/// Bytes of a topic's description: a name, a policy and some numbers.
const BODY_BYTES_MAX: usize = 4 << 10;

/// A topic that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTopic {
    pub name: TopicName,
    /// How many partitions it has.
    #[serde(default = "one")]
    pub partitions: u32,
    /// Milliseconds for which records are kept; for ever, if there is none.
    #[serde(default)]
    pub retention_ms: Option<u64>,
    /// Bytes that each partition keeps; any number, if there is none.
    #[serde(default)]
    pub retention_bytes: Option<u64>,
    /// Which old records go: those beyond the retention, or those that a newer record of their key replaces.
    #[serde(default)]
    pub cleanup_policy: Cleanup,
    /// Milliseconds for which deletions are kept in a compacted topic; a day, if there is none.
    #[serde(default)]
    pub tombstone_retention_ms: Option<u64>,
}

const fn one() -> u32 {
    1
}

/// A topic as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub name: TopicName,
    /// Milliseconds for which records are kept.
    pub retention_ms: Option<u64>,
    /// Bytes that each partition keeps.
    pub retention_bytes: Option<u64>,
    /// Which old records go.
    pub cleanup_policy: Cleanup,
    /// Milliseconds for which deletions are kept, if it is compacted.
    pub tombstone_retention_ms: Option<u64>,
    /// Records that it has.
    pub records: u64,
    /// Bytes of its batches.
    pub bytes: u64,
    /// Its partitions, in order.
    pub partitions: Vec<Partition>,
}

/// A partition as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub partition: PartitionId,
    /// Where reading begins: no record before it is kept.
    pub start: Offset,
    /// The offset that the next record gets.
    pub end: Offset,
    /// Records that it has.
    pub records: u64,
    /// Bytes of its batches.
    pub bytes: u64,
}

pub(super) async fn create(
    caller: Authorized<Owner>,
    State(app): Shared,
    request: Request,
) -> Result<(StatusCode, Json<Topic>), Problem> {
    let body = app.body(request, BODY_BYTES_MAX).await?;
    let new: NewTopic = serde_json::from_slice(&body.bytes).map_err(|error| Error::invalid("body", error))?;
    let existed = app.log.topics(&caller.tenant).await?.contains_key(&new.name);
    let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
    let config = TopicConfig {
        partitions: new.partitions,
        retention: new.retention_ms.map(Duration::from_millis),
        retention_bytes: new.retention_bytes,
        cleanup: new.cleanup_policy,
        tombstone_retention: new.tombstone_retention_ms.map(Duration::from_millis),
    };
    app.pipelines.create_topic(&caller.tenant, &new.name, config).await?;
    let made = app.log.topic(&caller.tenant, &new.name).await?;
    Ok((status, Json(topic(new.name, &made))))
}

pub(super) async fn list(caller: Authorized<Viewer>, State(app): Shared) -> Result<Json<List<Topic>>, Problem> {
    let topics = app.log.topics(&caller.tenant).await?;
    Ok(Json(List { items: topics.into_iter().map(|(name, info)| topic(name, &info)).collect() }))
}

pub(super) async fn show(
    caller: Authorized<Viewer>,
    State(app): Shared,
    ValidPath(name): ValidPath<TopicName>,
) -> Result<Json<Topic>, Problem> {
    Ok(Json(find_or_suggest(&app, &caller.tenant, name).await?))
}

pub(super) async fn delete(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath(name): ValidPath<TopicName>,
) -> Result<StatusCode, Problem> {
    find_or_suggest(&app, &caller.tenant, name.clone()).await?;
    app.pipelines.delete_topic(&caller.tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Finds a topic, or says which one may have been meant.
async fn find_or_suggest(app: &App, tenant: &TenantId, name: TopicName) -> Result<Topic, Problem> {
    let error = match app.log.topic(tenant, &name).await {
        Ok(info) => return Ok(topic(name, &info)),
        Err(error) => error,
    };
    let mut problem = Problem::from(error);
    let names = app.log.topics(tenant).await.unwrap_or_default();
    if let Some(meant) = nearest(name.as_str(), names.keys().map(TopicName::as_str)) {
        problem.0.detail.push_str(&format!(": did you mean `{meant}`?"));
    }
    Err(problem)
}

fn topic(name: TopicName, info: &TopicInfo) -> Topic {
    let partitions: Vec<_> = (0..)
        .zip(&info.partitions)
        .map(|(partition, &PartitionInfo { start, end, records, bytes })| Partition {
            partition,
            start,
            end,
            records,
            bytes,
        })
        .collect();
    let kept = info.config.tombstone_retention.unwrap_or(TOMBSTONE_RETENTION);
    let tombstones = info.config.cleanup.compacts().then_some(kept);
    Topic {
        name,
        retention_ms: info.config.retention.map(|kept| kept.as_millis() as u64),
        retention_bytes: info.config.retention_bytes,
        cleanup_policy: info.config.cleanup,
        tombstone_retention_ms: tombstones.map(|kept| kept.as_millis() as u64),
        records: partitions.iter().map(|partition| partition.records).sum(),
        bytes: partitions.iter().map(|partition| partition.bytes).sum(),
        partitions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::spec::Spec;

    #[test]
    fn a_pipeline_uses_every_topic_that_it_names() {
        let spec: Spec = r#"
name = "views"
source = { topics = ["a", "b"] }
steps = [
  { name = "parse", plugin = "parse-json", outputs = { other = "c" } },
  { name = "count", plugin = "count", window = { tumbling = "1m" }, late = "d" },
]
output = { topic = "e" }
"#
        .parse()
        .expect("a manifest");
        let names = spec.topics();
        let names: Vec<_> = names.iter().map(TopicName::as_str).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e", "views.dead-letters"]);
    }
}

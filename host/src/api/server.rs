//! `/healthz` and `/v1/server`: health, version and use of the server.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::caller::{Authorized, Viewer};
use super::{Problem, Shared};
use crate::log::Durability;

/// The answer of a server that can do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Always `ok`: any other answer is a problem.
    pub status: String,
}

/// What a server is, and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Its data folder.
    pub data: String,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// Bytes of memory that it holds, where the system says so.
    pub resident_bytes: Option<u64>,
    /// Topics it has.
    pub topics: u64,
    /// Bytes of their records.
    pub topic_bytes: u64,
    /// Plugin versions it has.
    pub plugin_versions: u64,
    /// Pipelines it has.
    pub pipelines: u64,
}

pub(super) async fn health(caller: Authorized<Viewer>, State(app): Shared) -> Result<Json<Health>, Problem> {
    app.log.topics(&caller.tenant).await?;
    Ok(Json(Health { status: "ok".to_owned() }))
}

pub(super) async fn show(caller: Authorized<Viewer>, State(app): Shared) -> Result<Json<ServerInfo>, Problem> {
    let topics = app.log.topics(&caller.tenant).await?;
    let pipelines = app.pipelines.list(&caller.tenant).await?;
    Ok(Json(ServerInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_ms: app.started.elapsed().as_millis() as u64,
        data: app.folder.clone(),
        durability: app.durability,
        resident_bytes: resident_bytes(),
        topics: topics.len() as u64,
        topic_bytes: topics.values().flat_map(|topic| &topic.partitions).map(|partition| partition.bytes).sum(),
        plugin_versions: app.catalog.plugins(&caller.tenant).len() as u64,
        pipelines: pipelines.len() as u64,
    }))
}

/// Memory of this process as the system counts it; there is none to read on systems without `/proc`.
fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

//! `/v1/pipelines/{pipeline}/checkpoints`, and what is done with them: restoring and rewinding.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::caller::{Authorized, Owner, Viewer};
use super::extract::ValidPath;
use super::operations::accepted;
use super::{App, Details, Error, List, Problem, Shared};
use crate::checkpoint::{CheckpointId, Kind, Manifest};
use crate::ids::PipelineName;
use crate::pipeline::{Restore, Rewind};

/// Bytes of a request: a manifest as a JSON string, and room.
const REQUEST_BYTES_MAX: usize = 512 << 10;

/// What a checkpoint is to be taken for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// In words, for whoever looks at the list.
    #[serde(default)]
    pub note: Option<String>,
}

/// A checkpoint in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its name.
    pub id: CheckpointId,
    /// What it is, if that can be read.
    #[serde(flatten)]
    pub about: Option<About>,
    /// Why it cannot be read, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Details>,
}

/// What a checkpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Why it was taken.
    pub kind: Kind,
    /// What it is for, in words.
    pub note: Option<String>,
    /// When it was taken, in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Bytes of all its chunks.
    pub bytes: u64,
    /// Bytes that were written for it.
    pub written_bytes: u64,
}

pub(super) async fn take(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath(name): ValidPath<PipelineName>,
    request: Request,
) -> Result<Response, Problem> {
    let Take { note } = read(&app, request).await?;
    Ok(accepted(&*app.pipelines.savepoint(&caller.tenant, &name, note)?))
}

pub(super) async fn list(
    caller: Authorized<Viewer>,
    State(app): Shared,
    ValidPath(name): ValidPath<PipelineName>,
) -> Result<Json<List<Summary>>, Problem> {
    let listed = app.pipelines.checkpoints(&caller.tenant, &name).await?;
    let summary = |listed: crate::checkpoint::Listed| {
        let (about, error) = match listed.manifest {
            Ok(manifest) => (Some(About::from(&manifest)), None),
            Err(error) => (None, Some(*Problem::from(error).0)),
        };
        Summary { id: listed.id, about, error }
    };
    Ok(Json(List { items: listed.into_iter().map(summary).collect() }))
}

pub(super) async fn show(
    caller: Authorized<Viewer>,
    State(app): Shared,
    ValidPath((name, id)): ValidPath<(PipelineName, CheckpointId)>,
) -> Result<Json<Manifest>, Problem> {
    Ok(Json(app.pipelines.checkpoint(&caller.tenant, &name, id).await?))
}

pub(super) async fn delete(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath((name, id)): ValidPath<(PipelineName, CheckpointId)>,
) -> Result<StatusCode, Problem> {
    app.pipelines.delete_checkpoint(&caller.tenant, &name, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn verify(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath((name, id)): ValidPath<(PipelineName, CheckpointId)>,
) -> Response {
    accepted(&app.pipelines.verify(&caller.tenant, &name, id))
}

pub(super) async fn restore(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath(name): ValidPath<PipelineName>,
    request: Request,
) -> Result<Response, Problem> {
    let restore: Restore = read(&app, request).await?;
    Ok(accepted(&*app.pipelines.restore(&caller.tenant, &name, restore)?))
}

pub(super) async fn rewind(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath(name): ValidPath<PipelineName>,
    request: Request,
) -> Result<Response, Problem> {
    let rewind: Rewind = read(&app, request).await?;
    Ok(accepted(&*app.pipelines.rewind(&caller.tenant, &name, rewind)?))
}

pub(super) async fn rollback(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath(name): ValidPath<PipelineName>,
) -> Result<Response, Problem> {
    Ok(accepted(&*app.pipelines.rollback(&caller.tenant, &name)?))
}

async fn read<T: DeserializeOwned>(app: &App, request: Request) -> Result<T, Problem> {
    let body = app.body(request, REQUEST_BYTES_MAX).await?;
    Ok(serde_json::from_slice(&body.bytes).map_err(|error| Error::invalid("body", error))?)
}

impl From<&Manifest> for About {
    fn from(manifest: &Manifest) -> Self {
        Self {
            kind: manifest.kind,
            note: manifest.note.clone(),
            created_at_ms: manifest.created_at_ms,
            bytes: manifest.bytes(),
            written_bytes: manifest.written_bytes,
        }
    }
}

//! `/v1/pipelines`: deploying, watching and ending pipelines.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::caller::{Authorized, Owner, Viewer};
use super::extract::{ValidPath, ValidQuery};
use super::{App, Error, List, Problem, Shared};
use crate::checkpoint::CheckpointId;
use crate::ids::{PipelineName, StepName};
use crate::pipeline::status::PipelineStatus;
use crate::pipeline::{self, Apply, Change};

/// Bytes of a manifest: 32 steps with 4 KiB of configuration each, and room.
const MANIFEST_BYTES_MAX: usize = 256 << 10;

/// The result of applying a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// What it changed.
    pub change: Change,
    /// The checkpoint that was taken before it changed, to roll back to.
    #[serde(default)]
    pub checkpoint: Option<CheckpointId>,
    /// How long it stood still for the change, in milliseconds.
    #[serde(default)]
    pub pause_ms: Option<f64>,
    /// The pipeline now.
    pub pipeline: PipelineStatus,
}

impl From<pipeline::Applied> for Applied {
    fn from(applied: pipeline::Applied) -> Self {
        let pipeline::Applied { status: pipeline, change, checkpoint, pause_ms } = applied;
        Self { change, checkpoint, pause_ms, pipeline }
    }
}

/// How a manifest is to be applied.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct How {
    /// Whether steps run the newest versions, also those that stay at one since a restore or rollback.
    #[serde(default)]
    upgrade: bool,
    /// Steps whose state is left behind, with commas between them.
    #[serde(default)]
    drop_state: String,
    /// Whether the pipeline is deployed without being tried on samples.
    #[serde(default)]
    untried: bool,
}

impl How {
    fn parse(&self) -> Result<Apply, Error> {
        let steps = self.drop_state.split(',').filter(|step| !step.is_empty()).map(str::parse::<StepName>);
        let drop_state =
            steps.collect::<Result<Vec<_>, _>>().map_err(|error| Error::invalid("query `drop-state`", error))?;
        Ok(Apply { upgrade: self.upgrade, drop_state, untried: self.untried })
    }
}

pub(super) async fn apply(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidQuery(how): ValidQuery<How>,
    request: Request,
) -> Result<(StatusCode, Json<Applied>), Problem> {
    let how = how.parse()?;
    let text = manifest(&app, request).await?;
    let applied = app.pipelines.apply(&caller.tenant, &text, how).await?;
    let status = if applied.change == Change::Created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(applied.into())))
}

/// The manifest in the body of a request.
pub(super) async fn manifest(app: &App, request: Request) -> Result<String, Error> {
    let body = app.body(request, MANIFEST_BYTES_MAX).await?;
    let text = std::str::from_utf8(&body.bytes).map_err(|error| Error::invalid("manifest", error))?;
    Ok(text.to_owned())
}

pub(super) async fn list(
    caller: Authorized<Viewer>,
    State(app): Shared,
) -> Result<Json<List<PipelineStatus>>, Problem> {
    Ok(Json(List { items: app.pipelines.list(&caller.tenant).await? }))
}

pub(super) async fn show(
    caller: Authorized<Viewer>,
    State(app): Shared,
    ValidPath(name): ValidPath<PipelineName>,
) -> Result<Json<PipelineStatus>, Problem> {
    Ok(Json(app.pipelines.show(&caller.tenant, &name).await?))
}

pub(super) async fn pause(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath(name): ValidPath<PipelineName>,
) -> Result<Json<PipelineStatus>, Problem> {
    Ok(Json(app.pipelines.pause(&caller.tenant, &name).await?))
}

pub(super) async fn resume(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath(name): ValidPath<PipelineName>,
) -> Result<Json<PipelineStatus>, Problem> {
    Ok(Json(app.pipelines.resume(&caller.tenant, &name).await?))
}

pub(super) async fn delete(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath(name): ValidPath<PipelineName>,
) -> Result<StatusCode, Problem> {
    app.pipelines.delete(&caller.tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

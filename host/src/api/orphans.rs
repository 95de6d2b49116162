//! `/v1/orphans`: state in the log that belongs to no pipeline of the catalog.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;

use super::caller::{Authorized, Owner, Viewer};
use super::extract::ValidPath;
use super::pipelines::{Applied, manifest};
use super::{Problem, Shared};
use crate::ids::PipelineId;
use crate::pipeline::Orphans;

pub(super) async fn list(caller: Authorized<Viewer>, State(app): Shared) -> Result<Json<Orphans>, Problem> {
    let tenant = caller.tenant.clone();
    app.off_thread(move |host| host.pipelines.orphans(&tenant)).await.map(Json)
}

pub(super) async fn discard(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath(id): ValidPath<PipelineId>,
) -> Result<StatusCode, Problem> {
    app.pipelines.discard_orphan(&caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn adopt(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidPath(id): ValidPath<PipelineId>,
    request: Request,
) -> Result<(StatusCode, Json<Applied>), Problem> {
    let text = manifest(&app, request).await?;
    let adopted = app.pipelines.adopt(&caller.tenant, id, &text).await?;
    Ok((StatusCode::CREATED, Json(adopted.into())))
}

//! `/v1/plugins`: uploading components and showing what was uploaded.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::caller::{Authorized, Owner, Viewer};
use super::extract::{ValidPath, ValidQuery};
use super::{List, Problem, Shared};
use crate::catalog::PluginVersion;
pub use crate::catalog::Pushed;
use crate::ids::{Digest, PluginName, PluginRef};
use crate::plugin;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Push {
    name: PluginName,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pinned {
    digest: Option<Digest>,
}

pub(super) async fn push(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidQuery(Push { name }): ValidQuery<Push>,
    request: Request,
) -> Result<(StatusCode, Json<Pushed>), Problem> {
    let body = app.body(request, plugin::Limits::default().component.bytes).await?;
    let certificate = app.sandbox.certify(&body.bytes).await?;
    // The body holds its share of the memory until the component is written.
    let pushed = app.catalog.push_plugin(&caller.tenant, &name, certificate, body.bytes.clone()).await?;
    let status = if pushed.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(pushed)))
}

pub(super) async fn list(caller: Authorized<Viewer>, State(app): Shared) -> Json<List<PluginVersion>> {
    Json(List { items: app.catalog.plugins(&caller.tenant) })
}

pub(super) async fn show(
    caller: Authorized<Viewer>,
    State(app): Shared,
    ValidPath(name): ValidPath<PluginName>,
    ValidQuery(Pinned { digest }): ValidQuery<Pinned>,
) -> Result<Json<PluginVersion>, Problem> {
    Ok(Json(app.catalog.plugin(&caller.tenant, &PluginRef { name, digest })?))
}

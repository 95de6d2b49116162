//! `/v1/plugins`: uploading components and showing what was uploaded.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::caller::{Authorized, Owner, Viewer};
use super::extract::{ValidPath, ValidQuery};
use super::{List, Problem, Shared};
use crate::catalog::PluginVersion;
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

/// What an upload came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Whether this is a version that there was not before.
    pub created: bool,
    /// The version.
    pub version: PluginVersion,
}

pub(super) async fn push(
    caller: Authorized<Owner>,
    State(app): Shared,
    ValidQuery(Push { name }): ValidQuery<Push>,
    request: Request,
) -> Result<(StatusCode, Json<Pushed>), Problem> {
    let body = app.body(request, plugin::Limits::default().component.bytes).await?;
    let certificate = app.sandbox.certify(&body.bytes).await?;
    let pushed = app
        .off_thread(move |host| {
            let tenant = &caller.tenant;
            let before = host.catalog.plugins(tenant).len();
            let version = host.catalog.push_plugin(tenant, &name, &certificate, &body.bytes)?;
            let created = host.catalog.plugins(tenant).len() > before;
            Ok::<_, crate::catalog::Error>(Pushed { created, version })
        })
        .await?;
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

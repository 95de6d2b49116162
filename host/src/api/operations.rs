//! `/v1/operations`: work that takes long. What begins one is answered with 202 and its place.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::caller::{Authorized, Viewer};
use super::extract::{ValidPath, ValidQuery};
use super::{Details, List, Problem, Shared};
use crate::ids::PipelineName;
use crate::pipeline::{self, Done, OperationKind};

/// How long a request may wait for the end: a client that waits longer asks again.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Work that takes long, as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its number.
    pub id: u64,
    /// What it does.
    pub kind: OperationKind,
    /// The pipeline that it was asked for.
    pub pipeline: PipelineName,
    /// Whether it is over, and how.
    pub state: OperationState,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// Bytes that it has copied or verified so far.
    pub bytes: u64,
    /// Its result, if it succeeded.
    pub result: Option<Done>,
    /// Why it failed, if it did. Then nothing has changed, unless its code is `swap_not_copied`.
    pub error: Option<Details>,
}

/// Whether an operation is over, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// It goes on.
    Running,
    /// It did what it was asked.
    Succeeded,
    /// It changed nothing, unless its error says otherwise.
    Failed,
}

impl Operation {
    fn of(operation: &pipeline::Operation) -> Self {
        let outcome = operation.outcome();
        let state = match &outcome {
            None => OperationState::Running,
            Some(outcome) if outcome.result.is_ok() => OperationState::Succeeded,
            Some(_) => OperationState::Failed,
        };
        Self {
            id: operation.id,
            kind: operation.kind,
            pipeline: operation.pipeline.clone(),
            state,
            started_at_ms: operation.started_at_ms,
            ended_at_ms: outcome.as_ref().map(|outcome| outcome.at_ms),
            bytes: operation.meter.bytes(),
            result: outcome.as_ref().and_then(|outcome| outcome.result.clone().ok()),
            error: outcome.and_then(|outcome| outcome.result.err()).map(|error| *Problem::from(error).0),
        }
    }
}

/// The answer to a request that began an operation.
pub(super) fn accepted(operation: &pipeline::Operation) -> Response {
    let mut response = (StatusCode::ACCEPTED, Json(Operation::of(operation))).into_response();
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/operations/{}", operation.id)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// How long to wait for an operation's end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    #[serde(default)]
    wait_ms: u64,
}

pub(super) async fn list(caller: Authorized<Viewer>, State(app): Shared) -> Json<List<Operation>> {
    let operations = app.pipelines.operations(&caller.tenant);
    Json(List { items: operations.iter().map(|operation| Operation::of(operation)).collect() })
}

pub(super) async fn show(
    caller: Authorized<Viewer>,
    State(app): Shared,
    ValidPath(id): ValidPath<u64>,
    ValidQuery(Wait { wait_ms }): ValidQuery<Wait>,
) -> Result<Json<Operation>, Problem> {
    let operation = app.pipelines.operation(&caller.tenant, id)?;
    let mut stop = app.stop.clone();
    tokio::select! {
        () = operation.ended(Duration::from_millis(wait_ms).min(WAIT_MAX)) => {}
        () = super::stopped(&mut stop) => {}
    }
    Ok(Json(Operation::of(&operation)))
}

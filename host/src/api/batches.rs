//! `/v1/topics/{topic}/partitions/{partition}/batches`: record batches as they are, for programs.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::caller::{Authorized, Consumer, Producer};
use super::extract::{ValidPath, ValidQuery};
use super::reading::{self, ReadFrom};
use super::{Problem, Shared};
use crate::ids::{PartitionId, TopicName, TopicPartition};
use crate::log::{Appended, Limits};

/// The header of an answer with the oldest offset of the partition.
const START_OFFSET: HeaderName = HeaderName::from_static("millstream-start-offset");
/// The header of an answer with the end of the partition.
const END_OFFSET: HeaderName = HeaderName::from_static("millstream-end-offset");
/// Bytes of an answer where nothing is asked for.
const BYTES_DEFAULT: usize = 1 << 20;
/// Most bytes of an answer, but for a single larger batch.
pub(super) const BYTES_MAX: usize = 8 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    #[serde(default)]
    offset: ReadFrom,
    max_bytes: Option<usize>,
    #[serde(default)]
    wait_ms: u64,
}

pub(super) async fn append(
    caller: Authorized<Producer>,
    State(app): Shared,
    ValidPath((topic, partition)): ValidPath<(TopicName, PartitionId)>,
    request: Request,
) -> Result<Json<Appended>, Problem> {
    let at = TopicPartition { topic, partition };
    let body = app.body(request, Limits::default().append_bytes_max).await?;
    // Held until the answer: the log has its own bounds, and these bytes are in them too.
    Ok(Json(app.append(&caller.tenant, &at, body.bytes.clone()).await?))
}

pub(super) async fn read(
    caller: Authorized<Consumer>,
    State(app): Shared,
    ValidPath((topic, partition)): ValidPath<(TopicName, PartitionId)>,
    ValidQuery(query): ValidQuery<Query>,
) -> Result<Response, Problem> {
    let at = TopicPartition { topic, partition };
    let bytes_max = query.max_bytes.unwrap_or(BYTES_DEFAULT).min(BYTES_MAX);
    let wait = Duration::from_millis(query.wait_ms);
    let (_, fetched) = reading::fetch(&app, &caller.tenant, &at, query.offset, bytes_max, wait).await?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(START_OFFSET, fetched.start.into());
    headers.insert(END_OFFSET, fetched.end.into());
    Ok((headers, app.budget.answer(fetched.batches)?).into_response())
}

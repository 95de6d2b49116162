//! What happens to every request: it gets a number, and it is found out who makes it.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Problem, caller};

tokio::task_local! {
    static ID: String;
}

/// The header of a response with the request's number.
const ID_HEADER: &str = "x-request-id";

/// The number of the request that this task answers.
pub(super) fn current_id() -> String {
    ID.try_with(Clone::clone).unwrap_or_default()
}

/// Gives a request its number and its caller, or refuses it.
pub(super) async fn admit(request: Request, next: Next) -> Response {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let id = format!("{:x}-{:x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let header = HeaderValue::try_from(&id).ok();
    let mut response = ID.scope(id, answer(request, next)).await;
    if let Some(header) = header {
        response.headers_mut().insert(ID_HEADER, header);
    }
    response
}

async fn answer(mut request: Request, next: Next) -> Response {
    match caller::identify(&request) {
        Ok(caller) => drop(request.extensions_mut().insert(caller)),
        Err(error) => return Problem::from(error).into_response(),
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    tracing::debug!(request_id = current_id(), %method, path, status = response.status().as_u16(), "answered");
    response
}

//! What happens to every request: it gets a number, and must come from this machine's own programs.
//!
//! Until there is access control, who can open a connection can do everything. A web page in a browser on this machine
//! could, so requests that a browser makes for another site are refused: those with a foreign `Origin`, and those that
//! reach us under a foreign name (DNS rebinding).

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Error, Problem};

tokio::task_local! {
    static ID: String;
}

/// The header of a response with the request's number.
const ID_HEADER: &str = "x-request-id";

/// The number of the request that this task answers.
pub(super) fn current_id() -> String {
    ID.try_with(Clone::clone).unwrap_or_default()
}

/// Gives a request its number and refuses what comes from elsewhere.
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

async fn answer(request: Request, next: Next) -> Response {
    if let Some(from) = foreign(&request) {
        return Problem::from(Error::ForeignOrigin { from }).with_status(StatusCode::FORBIDDEN).into_response();
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    tracing::debug!(request_id = current_id(), %method, path, status = response.status().as_u16(), "answered");
    response
}

/// The name by which a request from elsewhere came, or the site that made it.
fn foreign(request: &Request) -> Option<String> {
    let text = |name| request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let host = text(header::HOST).or_else(|| request.uri().authority().map(ToString::to_string)).unwrap_or_default();
    if !is_loopback(&host) {
        return Some(host);
    }
    text(header::ORIGIN).filter(|origin| *origin != format!("http://{host}"))
}

/// Whether a host, with its port or without, is a name of this machine for itself.
fn is_loopback(host: &str) -> bool {
    let Ok(uri) = host.parse::<Uri>() else { return false };
    let Some(name) = uri.authority().map(|authority| authority.host()) else { return false };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host: &str, origin: Option<&str>) -> Request {
        let mut request = Request::new(axum::body::Body::empty());
        request.headers_mut().insert(header::HOST, host.parse().expect("a header"));
        if let Some(origin) = origin {
            request.headers_mut().insert(header::ORIGIN, origin.parse().expect("a header"));
        }
        request
    }

    #[test]
    fn the_machines_own_names_are_taken() {
        for host in ["127.0.0.1:7070", "localhost:7070", "localhost", "[::1]:7070", "127.9.9.9"] {
            assert_eq!(foreign(&request(host, None)), None, "{host}");
            assert_eq!(foreign(&request(host, Some(&format!("http://{host}")))), None, "{host}");
        }
    }

    #[test]
    fn other_names_and_other_sites_are_refused() {
        for host in ["evil.example:7070", "10.0.0.1", "127.0.0.1.evil.example", "", "localhost.evil.example"] {
            assert_eq!(foreign(&request(host, None)).as_deref(), Some(host));
        }
        for origin in ["https://evil.example", "null", "http://localhost:9999"] {
            assert_eq!(foreign(&request("localhost:7070", Some(origin))).as_deref(), Some(origin));
        }
    }
}

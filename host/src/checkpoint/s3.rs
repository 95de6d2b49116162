//! S3 and what speaks like it. The protocol and its signatures are `object_store`'s; requests go out by the HTTP client
//! that the command line uses too, so there is one in the program, with one way of TLS.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, RetryConfig};
use ureq::Agent;

use super::chunk::CHUNK_BYTES;
use super::error::Error;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a whole request may take: a chunk over a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a request is tried again. A checkpoint that fails is taken again at the next turn.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request is tried again, with growing pauses.
const RETRIES_MAX: usize = 6;
/// Longest answer: a chunk, or one large block of state. Objects are as large as a commit at most.
const ANSWER_BYTES_MAX: u64 = (1 << 30) + CHUNK_BYTES as u64;

/// The bucket and prefix that `place` names. Region, endpoint and credentials come from the environment.
pub(super) fn open(location: &str, place: &str) -> Result<(Arc<dyn ObjectStore>, ObjectPath), Error> {
    connect(AmazonS3Builder::from_env(), location, place)
}

fn connect(
    settings: AmazonS3Builder,
    location: &str,
    place: &str,
) -> Result<(Arc<dyn ObjectStore>, ObjectPath), Error> {
    let invalid = |reason: String| Error::InvalidStore { location: location.to_owned(), reason };
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        return Err(invalid("it names no bucket: give s3://BUCKET/PREFIX".to_owned()));
    }
    let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let bucket = settings
        .with_bucket_name(bucket)
        .with_retry(retry)
        .with_http_connector(Connector)
        .build()
        .map_err(|error| invalid(error.to_string()))?;
    let prefix = ObjectPath::parse(prefix).map_err(|error| invalid(error.to_string()))?;
    Ok((Arc::new(bucket), prefix))
}

#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .user_agent(concat!("millstream/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(HttpClient::new(Service(config.into())))
    }
}

#[derive(Debug)]
struct Service(Agent);

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let collected = body.collect().await;
        let body = collected.map_err(|error| HttpError::new(HttpErrorKind::Request, error))?.to_bytes();
        let request = http::Request::from_parts(parts, body);
        let agent = self.0.clone();
        // The client waits for its answers: not on a thread that others need.
        let answered = tokio::task::spawn_blocking(move || send(&agent, request)).await;
        answered.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?
    }
}

fn send(agent: &Agent, request: http::Request<Bytes>) -> Result<HttpResponse, HttpError> {
    let response = agent.run(request.map(|body| body.to_vec())).map_err(sending)?;
    let (parts, mut body) = response.into_parts();
    let bytes = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(sending)?;
    Ok(http::Response::from_parts(parts, bytes.into()))
}

fn sending(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => HttpErrorKind::Connect,
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => HttpErrorKind::Connect,
        ureq::Error::Io(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}

#[cfg(test)]
mod tests;

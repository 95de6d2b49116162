//! The server, as commands see it.

use std::io::Read;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Request, Response, Uri};
use ureq::{Agent, Body, SendBody};

use super::failure::Failure;
use crate::api::Details;
use crate::error::Kind;

/// Loopback answers at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Certifying waits for its turn and then may take 20 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Longer than any answer of the server.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// A server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: Agent,
    base: String,
}

impl Client {
    /// The server at this address; nothing is sent yet.
    pub(super) fn new(server: &str) -> Result<Self, Failure> {
        let base = server.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let wrong = |why| Failure::new("invalid_server", Kind::Invalid, format!("--server `{server}` {why}"));
        let uri: Uri = base.parse().map_err(|_| wrong("is no address"))?;
        if uri.scheme_str() != Some("http") || uri.authority().is_none() || uri.path() != "/" {
            return Err(wrong("is not like `http://127.0.0.1:7070`"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The server is this machine's own: no proxy stands between.
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .user_agent(concat!("millstream/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into(), base })
    }

    /// Reads an object.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        object(self.send("GET", path, None, SendBody::none())?)
    }

    /// Sends bytes and reads an object.
    pub(super) fn put_bytes<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<T, Failure> {
        let mut body = body;
        self.upload(method, path, content_type, body.len() as u64, &mut body)
    }

    /// Sends what is read and reads an object.
    pub(super) fn upload<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        length: u64,
        mut body: impl Read,
    ) -> Result<T, Failure> {
        object(self.send(method, path, Some((content_type, length)), SendBody::from_reader(&mut body))?)
    }

    /// Sends an object and reads one.
    pub(super) fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Failure> {
        let bytes = serde_json::to_vec(body).map_err(|error| unreadable(&error))?;
        self.put_bytes("POST", path, "application/json", &bytes)
    }

    /// Sends a request without a body and reads an object.
    pub(super) fn tell<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        object(self.send("POST", path, None, SendBody::none())?)
    }

    /// Removes something.
    pub(super) fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send("DELETE", path, None, SendBody::none()).map(drop)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        content: Option<(&str, u64)>,
        body: SendBody<'_>,
    ) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some((content_type, length)) = content {
            request = request.header("content-type", content_type).header("content-length", length);
        }
        let request = request.body(body).map_err(|error| unreadable(&error))?;
        let response = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = read(response)?;
        Err(match serde_json::from_slice::<Details>(&body) {
            Ok(problem) => problem.into(),
            Err(_) => {
                let detail =
                    format!("`{}` answered {status}, which is not an answer of a Millstream server", self.base);
                Failure::new("unreadable_answer", Kind::Internal, detail)
            }
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::new(
            "server_unreachable",
            Kind::Unavailable,
            format!("no answer from a server at {}: {error}", self.base),
        )
    }
}

fn read(mut response: Response<Body>) -> Result<Vec<u8>, Failure> {
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    body.map_err(|error| {
        Failure::new("server_unreachable", Kind::Unavailable, format!("the server's answer ended early: {error}"))
    })
}

fn object<T: DeserializeOwned>(response: Response<Body>) -> Result<T, Failure> {
    serde_json::from_slice(&read(response)?).map_err(|error| unreadable(&error))
}

fn unreadable(error: &dyn std::error::Error) -> Failure {
    Failure::new("unreadable_answer", Kind::Internal, format!("the answer is not one of this version: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_be_named_with_or_without_its_scheme() {
        for server in ["127.0.0.1:7070", "http://localhost:7070/", "http://[::1]:7070"] {
            Client::new(server).expect(server);
        }
        for server in ["https://localhost", "ftp://x", "http://x/y", "", "a b"] {
            assert_eq!(Client::new(server).map(drop).expect_err(server).code(), "invalid_server");
        }
    }
}

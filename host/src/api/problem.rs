//! The one place where an error becomes a response: problem details (RFC 9457) with the stable code of [`Coded`].

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::request;
use crate::error::{Blame, Coded, Kind, Limit};

/// What all problem types begin with; the code follows. `host/docs/errors.md` has a heading for each.
pub const TYPE_PREFIX: &str = "urn:millstream:error:";

/// Seconds after which a client may ask again where trying later helps.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// An error as a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(pub Box<Details>);

/// What a problem says, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// [`TYPE_PREFIX`] and the code.
    #[serde(rename = "type")]
    pub uri: String,
    /// The kind of error in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, to what, and what to do.
    pub detail: String,
    /// The stable code.
    pub code: String,
    /// What the caller must do.
    pub kind: Kind,
    /// Whose fault it is.
    pub blame: Blame,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// The limit that was exceeded, if it was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<Limit>,
    /// The request, as in the server's log.
    pub request_id: String,
}

impl Problem {
    /// Logs it where it is answered: as an error if somebody must act.
    fn log(&self) {
        let Details { code, request_id, detail, .. } = &*self.0;
        match self.0.blame {
            Blame::Tenant => tracing::debug!(code, request_id, "{detail}"),
            Blame::Operator | Blame::Host => tracing::error!(code, request_id, "{detail}"),
        }
    }

    /// The same problem under a status of its own, where HTTP has a closer one than the kind's.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        self
    }
}

impl<E: Coded> From<E> for Problem {
    fn from(error: E) -> Self {
        let (code, kind) = (error.code(), error.kind());
        Self(Box::new(Details {
            uri: format!("{TYPE_PREFIX}{code}"),
            title: title(kind).to_owned(),
            status: kind.http_status(),
            detail: error.to_string(),
            code: code.to_owned(),
            kind,
            blame: error.blame(),
            retry: kind.retry(),
            limit: error.limit(),
            // Known where it is answered: an error may come from another thread than its request.
            request_id: String::new(),
        }))
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        self.0.request_id = request::current_id();
        self.log();
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = self.0.retry;
        let mut response = (status, Json(*self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if retry {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        response
    }
}

const fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid => "The request is wrong",
        Kind::Unauthenticated => "It is not known who asks",
        Kind::Forbidden => "It is not allowed",
        Kind::NotFound => "It does not exist",
        Kind::Conflict => "The request conflicts with the current state",
        Kind::TooLarge => "It is too large",
        Kind::Limit => "A limit is exceeded",
        Kind::Quota => "A quota is used up",
        Kind::Throttled => "Too much is asked for at once",
        Kind::Unavailable => "It cannot be done now",
        Kind::StorageFull => "The disk is full",
        Kind::Corrupt => "Stored data is corrupt",
        Kind::Internal => "The platform has a fault",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Error;
    use super::*;
    use crate::ids::TopicPartition;
    use crate::log;

    #[test]
    fn a_coded_error_becomes_a_problem_with_its_status_and_code() {
        let error = log::Error::TopicNotFound { topic: "clicks".parse().expect("a name") };
        let Problem(problem) = Problem::from(error);
        assert_eq!((problem.status, problem.code.as_str()), (404, "topic_not_found"));
        assert_eq!(problem.uri, "urn:millstream:error:topic_not_found");
        assert_eq!(problem.detail, "topic `clicks` does not exist");
        assert_eq!((problem.kind, problem.blame, problem.retry), (Kind::NotFound, Blame::Tenant, false));
        let response = Problem(problem).into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn a_refusal_names_the_limit_its_value_and_the_use() {
        let at = TopicPartition { topic: "clicks".parse().expect("a name"), partition: 0 };
        let Problem(problem) = Problem::from(log::Error::TooLarge { at, what: "record", size: 30, limit: 20 });
        assert_eq!(problem.status, 413);
        assert_eq!(problem.limit, Some(Limit { name: "record_bytes".to_owned(), limit: 20, used: 30 }));
    }

    #[test]
    fn what_may_succeed_later_says_when_to_ask_again() {
        let unavailable = Problem::from(log::Error::Closed);
        let throttled = Problem::from(Error::Busy { used: 30, limit: 20 });
        assert_eq!(throttled.0.limit, Some(Limit { name: "all_body_bytes".to_owned(), limit: 20, used: 30 }));
        for (problem, status) in
            [(unavailable, StatusCode::SERVICE_UNAVAILABLE), (throttled, StatusCode::TOO_MANY_REQUESTS)]
        {
            let response = problem.into_response();
            assert_eq!(response.status(), status);
            assert!(response.headers().contains_key(header::RETRY_AFTER));
        }
    }
}

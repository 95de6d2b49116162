//! The request line within a log line: `GET /index.html HTTP/1.1`.
//!
//! Clients send anything. What is no request line is kept as text, for whoever hunts such clients.

use std::borrow::Cow;

use millstream_sdk::prelude::*;

/// A request line; all `None` for `-`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Request<'a> {
    pub(crate) method: Option<Cow<'a, str>>,
    pub(crate) path: Option<Cow<'a, str>>,
    pub(crate) protocol: Option<Cow<'a, str>>,
    /// What the client sent, if it is no request line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Cow<'a, str>>,
}

impl<'a> Request<'a> {
    pub(crate) fn read(line: Cow<'a, str>) -> Self {
        match line {
            Cow::Borrowed("-" | "") => Self::default(),
            Cow::Borrowed(text) => match split(text) {
                Some((method, path, protocol)) => Self {
                    method: Some(method.into()),
                    path: Some(path.into()),
                    protocol: protocol.map(Cow::Borrowed),
                    request: None,
                },
                None => Self { request: Some(text.into()), ..Self::default() },
            },
            Cow::Owned(text) => match split(&text) {
                Some((method, path, protocol)) => Self {
                    method: Some(method.to_owned().into()),
                    path: Some(path.to_owned().into()),
                    protocol: protocol.map(|protocol| protocol.to_owned().into()),
                    request: None,
                },
                None => Self { request: Some(text.into()), ..Self::default() },
            },
        }
    }
}

/// Method, path and protocol. Old clients send no protocol, careless ones a path with spaces.
fn split(text: &str) -> Option<(&str, &str, Option<&str>)> {
    let (method, target) = text.split_once(' ')?;
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte));
    let (path, protocol) = match target.rsplit_once(' ') {
        Some((path, protocol)) if protocol.starts_with("HTTP/") => (path, Some(protocol)),
        _ => (target, None),
    };
    (is_method && !path.is_empty() && !path.starts_with(' ')).then_some((method, path, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> (Option<&str>, Option<&str>, Option<&str>) {
        split(line).map_or((None, None, None), |(method, path, protocol)| (Some(method), Some(path), protocol))
    }

    #[test]
    fn request_lines_are_split() {
        assert_eq!(parts("GET /a?b=c HTTP/1.1"), (Some("GET"), Some("/a?b=c"), Some("HTTP/1.1")));
        assert_eq!(parts("GET /my file.html HTTP/1.0"), (Some("GET"), Some("/my file.html"), Some("HTTP/1.0")));
        assert_eq!(parts("GET /old"), (Some("GET"), Some("/old"), None));
        assert_eq!(parts("M-SEARCH * HTTP/1.1"), (Some("M-SEARCH"), Some("*"), Some("HTTP/1.1")));
    }

    #[test]
    fn what_is_no_request_line_stays_text() {
        for text in ["GET", "get /a HTTP/1.1", "\u{16}\u{3}", "GET  HTTP/1.1", "quit now"] {
            assert_eq!(parts(text), (None, None, None), "{text}");
            assert_eq!(Request::read(text.into()).request.as_deref(), Some(text));
        }
        assert_eq!(Request::read("-".into()), Request::default());
        let unescaped = Request::read(Cow::Owned("GET /\" HTTP/1.1".to_owned()));
        assert_eq!((unescaped.path.as_deref(), unescaped.request), (Some("/\""), None));
    }
}

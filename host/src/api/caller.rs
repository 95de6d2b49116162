//! Who makes a request, and what they may do.
//!
//! One function decides it ([`identify`]), for every request and before any handler sees it. Handlers ask for what they need
//! by the type of an argument: [`Authorized<Owner>`](Authorized) is a caller that may change things, and where it does not
//! come, neither does the handler run. The tenant is known from there alone.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Uri, header};

use super::{Error, Problem};
use crate::ids::{TenantId, default_tenant};

/// What a caller may do with what its tenant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// See what there is and how it is doing, but no record.
    Viewer,
    /// Read records.
    Consumer,
    /// Append records.
    Producer,
    /// Make, change and remove topics, plugins and pipelines.
    Owner,
}

impl Role {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Viewer, Self::Consumer, Self::Producer, Self::Owner];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Consumer => "consumer",
            Self::Producer => "producer",
            Self::Owner => "owner",
        })
    }
}

/// Who makes a request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Whose topics, plugins and pipelines the request is about.
    pub(super) tenant: TenantId,
    /// What the caller may do.
    pub(super) roles: BTreeSet<Role>,
}

/// Says who makes a request. Until there is access control whoever can open a connection is the one tenant's owner, so
/// a request that a browser makes for another site is refused: one with a foreign `Origin`, or one that reaches us under a
/// foreign name (DNS rebinding).
pub(super) fn identify(request: &Request) -> Result<Caller, Error> {
    match foreign(request) {
        Some(from) => Err(Error::ForeignOrigin { from }),
        None => Ok(Caller { tenant: default_tenant(), roles: Role::ALL.into() }),
    }
}

/// A role by its type.
pub(super) trait Required: Send {
    /// The role.
    const ROLE: Role;
}

/// [`Role::Viewer`].
#[derive(Debug)]
pub(super) struct Viewer;

/// [`Role::Consumer`].
#[derive(Debug)]
pub(super) struct Consumer;

/// [`Role::Producer`].
#[derive(Debug)]
pub(super) struct Producer;

/// [`Role::Owner`].
#[derive(Debug)]
pub(super) struct Owner;

impl Required for Viewer {
    const ROLE: Role = Role::Viewer;
}

impl Required for Consumer {
    const ROLE: Role = Role::Consumer;
}

impl Required for Producer {
    const ROLE: Role = Role::Producer;
}

impl Required for Owner {
    const ROLE: Role = Role::Owner;
}

/// A caller that has a role. As the first argument of a handler it is looked at before anything else of the request.
#[derive(Debug)]
pub(super) struct Authorized<R> {
    caller: Caller,
    role: PhantomData<R>,
}

impl<R> Deref for Authorized<R> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<R: Required, S: Send + Sync> FromRequestParts<S> for Authorized<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned().ok_or(Error::Unauthenticated)?;
        if !caller.roles.contains(&R::ROLE) {
            return Err(Error::RoleRequired { tenant: caller.tenant, role: R::ROLE.to_string() }.into());
        }
        Ok(Self { caller, role: PhantomData })
    }
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

    #[test]
    fn whoever_opens_a_connection_is_the_owner_of_the_one_tenant() {
        let caller = identify(&request("localhost:7070", None)).expect("it comes from this machine");
        assert_eq!((caller.tenant, caller.roles.len()), (default_tenant(), Role::ALL.len()));
        let refused = identify(&request("localhost:7070", Some("https://evil.example"))).expect_err("another site");
        assert!(matches!(refused, Error::ForeignOrigin { from } if from == "https://evil.example"));
    }
}

//! What is wrong with a request before anything else has looked at it.

use std::net::SocketAddr;

use crate::error::{Blame, Coded, Kind, Limit};
use crate::ids::TenantId;

/// An error of the API itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such path.
    #[error("there is nothing at `{path}`: `host/docs/api.md` lists all paths")]
    PathNotFound { path: String },
    /// The path exists, but not for this method.
    #[error("`{path}` does not take {method}")]
    MethodNotAllowed { method: String, path: String },
    /// A name, a query or a body that cannot be read.
    #[error("{what}: {reason}")]
    InvalidRequest {
        /// What is wrong: the path, the query, a line of the body.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A body with more bytes than the path takes.
    #[error("body of {used} bytes or more exceeds the limit of {limit} bytes for this path")]
    BodyTooLarge {
        /// Bytes that were announced or had come.
        used: u64,
        /// The most there may be.
        limit: u64,
    },
    /// The body stopped coming.
    #[error("no byte of the body came for {milliseconds} ms")]
    BodyTimeout {
        /// How long the server waited.
        milliseconds: u64,
    },
    /// The client went away while it sent the body.
    #[error("the body ended early: {reason}")]
    BodyIncomplete {
        /// What was seen.
        reason: String,
    },
    /// All memory for bodies is taken by other requests.
    #[error(
        "the server holds at most {limit} bytes of requests and answers at once, and with this one it would be {used}: try again"
    )]
    Busy {
        /// Bytes of all bodies together that there would be.
        used: u64,
        /// Bytes of all bodies together that are held at once.
        limit: u64,
    },
    /// Nothing says who makes the request.
    #[error("it is not known who makes this request")]
    Unauthenticated,
    /// The caller may not do this.
    #[error(
        "this needs the role `{role}` in tenant `{tenant}`, which you do not have: ask an owner of the tenant for it"
    )]
    RoleRequired {
        /// The tenant.
        tenant: TenantId,
        /// The role.
        role: String,
    },
    /// A browser request for another site, or one under a host name that is not this machine's.
    #[error("requests from `{from}` are refused: this server has no access control and answers only its own machine")]
    ForeignOrigin {
        /// The `Host` or `Origin`.
        from: String,
    },
    /// An address that others can reach.
    #[error(
        "`{address}` can be reached from other machines, and this server has no access control yet: listen on a loopback address such as 127.0.0.1:7070"
    )]
    NotLoopback { address: SocketAddr },
    /// The address cannot be bound.
    #[error("listen on `{address}`: {reason}; choose another with --listen")]
    CannotListen {
        address: SocketAddr,
        /// What the system reported.
        reason: String,
    },
    /// Something panicked in the server.
    #[error("a bug of the server interrupted the request: {reason}")]
    Fault {
        /// What was seen of it.
        reason: String,
    },
}

impl Error {
    /// The error for a part of a request that cannot be read.
    pub(super) fn invalid(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::InvalidRequest { what: what.into(), reason: reason.to_string() }
    }
}

impl Coded for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::PathNotFound { .. } => "path_not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::InvalidRequest { .. } => "invalid_request",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTimeout { .. } => "body_timeout",
            Self::BodyIncomplete { .. } => "body_incomplete",
            Self::Busy { .. } => "server_busy",
            Self::Unauthenticated => "unauthenticated",
            Self::RoleRequired { .. } => "role_required",
            Self::ForeignOrigin { .. } => "foreign_origin",
            Self::NotLoopback { .. } => "listen_not_loopback",
            Self::CannotListen { .. } => "cannot_listen",
            Self::Fault { .. } => "server_fault",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::PathNotFound { .. } => Kind::NotFound,
            Self::MethodNotAllowed { .. }
            | Self::InvalidRequest { .. }
            | Self::BodyTimeout { .. }
            | Self::BodyIncomplete { .. }
            | Self::NotLoopback { .. } => Kind::Invalid,
            Self::Unauthenticated => Kind::Unauthenticated,
            Self::RoleRequired { .. } | Self::ForeignOrigin { .. } => Kind::Forbidden,
            Self::BodyTooLarge { .. } => Kind::TooLarge,
            Self::Busy { .. } => Kind::Throttled,
            Self::CannotListen { .. } => Kind::Conflict,
            Self::Fault { .. } => Kind::Internal,
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::NotLoopback { .. } | Self::CannotListen { .. } | Self::Busy { .. } => Blame::Operator,
            Self::Fault { .. } => Blame::Host,
            _ => Blame::Tenant,
        }
    }

    fn limit(&self) -> Option<Limit> {
        match self {
            Self::BodyTooLarge { used, limit } => {
                Some(Limit { name: "body_bytes".to_owned(), limit: *limit, used: *used })
            }
            Self::Busy { used, limit } => Some(Limit { name: "all_body_bytes".to_owned(), limit: *limit, used: *used }),
            _ => None,
        }
    }
}

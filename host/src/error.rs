//! What every error of the platform can say of itself: a stable code, what the caller must do, and whose fault it is.
//!
//! Each module has its own error enum; this is the one table from kind to HTTP status and exit code.

use serde::{Deserialize, Serialize};

/// What the caller must do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Correct the request: it can never succeed as it is.
    Invalid,
    /// Name something that exists.
    NotFound,
    /// Look at what is there now and decide again.
    Conflict,
    /// Send less at once.
    TooLarge,
    /// Stay inside a limit or have it raised.
    Limit,
    /// Try again later.
    Unavailable,
    /// Free disk space.
    StorageFull,
    /// Restore from a copy: stored bytes are not what was written.
    Corrupt,
    /// Report a fault of the platform.
    Internal,
}

impl Kind {
    /// The HTTP status of a response with this error.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Limit => 422,
            Self::Unavailable => 503,
            Self::StorageFull => 507,
            Self::Corrupt | Self::Internal => 500,
        }
    }

    /// The exit code of a command that ends with this error. 2, for wrong usage, is given by the argument parser.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Invalid | Self::TooLarge | Self::Limit => 1,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Unavailable => 6,
            Self::StorageFull | Self::Corrupt | Self::Internal => 7,
        }
    }

    /// Whether the same request may succeed later.
    pub const fn retry(self) -> bool {
        matches!(self, Self::Unavailable | Self::StorageFull)
    }
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// The tenant's request, plugin or data.
    Tenant,
    /// The machine or its configuration.
    Operator,
    /// Millstream itself.
    Host,
}

/// A limit that was exceeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Its name, with its unit last.
    pub name: String,
    /// Its value.
    pub limit: u64,
    /// What would have been used.
    pub used: u64,
}

impl<E: Coded> Coded for std::sync::Arc<E> {
    fn code(&self) -> &'static str {
        E::code(self)
    }

    fn kind(&self) -> Kind {
        E::kind(self)
    }

    fn blame(&self) -> Blame {
        E::blame(self)
    }

    fn limit(&self) -> Option<Limit> {
        E::limit(self)
    }
}

/// An error with a stable code. The codes are listed in `host/docs/errors.md`.
pub trait Coded: std::error::Error {
    /// The stable code, such as `topic_not_found`.
    fn code(&self) -> &'static str;
    /// What the caller must do.
    fn kind(&self) -> Kind;
    /// Whose fault it is.
    fn blame(&self) -> Blame {
        match self.kind() {
            Kind::Internal => Blame::Host,
            Kind::Unavailable | Kind::StorageFull | Kind::Corrupt => Blame::Operator,
            _ => Blame::Tenant,
        }
    }
    /// The limit that was exceeded, if it was one.
    fn limit(&self) -> Option<Limit> {
        None
    }
}

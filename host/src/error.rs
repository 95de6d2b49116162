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
    /// Say who asks, in a way that can be verified.
    Unauthenticated,
    /// Ask for the right to do this.
    Forbidden,
    /// Name something that exists.
    NotFound,
    /// Look at what is there now and decide again.
    Conflict,
    /// Send less at once.
    TooLarge,
    /// Stay inside a limit of what a single request, plugin or row may be.
    Limit,
    /// Free something of what is in use, or have the quota raised.
    Quota,
    /// Ask again later, and for less at once: others have what is asked for, or too much was asked for lately.
    Throttled,
    /// Try again later: something does not work.
    Unavailable,
    /// Free disk space.
    StorageFull,
    /// Restore from a copy: stored bytes are not what was written.
    Corrupt,
    /// Report a bug of Millstream.
    Internal,
}

impl Kind {
    /// The HTTP status of a response with this error.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            // Repeating a request does not free a quota, and no answer is too large: so it is neither 429 nor 413.
            Self::Forbidden | Self::Quota => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Limit => 422,
            Self::Throttled => 429,
            Self::Unavailable => 503,
            Self::StorageFull => 507,
            Self::Corrupt | Self::Internal => 500,
        }
    }

    /// The exit code of a command that ends with this error. 2, for wrong usage, is given by the argument parser.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Invalid | Self::TooLarge | Self::Limit | Self::Quota => 1,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Unauthenticated | Self::Forbidden => 5,
            Self::Throttled | Self::Unavailable => 6,
            Self::StorageFull | Self::Corrupt | Self::Internal => 7,
        }
    }

    /// Whether the same request may succeed later.
    pub const fn retry(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::StorageFull)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What programs rely on: the name, the HTTP status, the exit code, and whether to try again.
    const TABLE: [(Kind, &str, u16, u8, bool); 13] = [
        (Kind::Invalid, "invalid", 400, 1, false),
        (Kind::Unauthenticated, "unauthenticated", 401, 5, false),
        (Kind::Forbidden, "forbidden", 403, 5, false),
        (Kind::NotFound, "not-found", 404, 3, false),
        (Kind::Conflict, "conflict", 409, 4, false),
        (Kind::TooLarge, "too-large", 413, 1, false),
        (Kind::Limit, "limit", 422, 1, false),
        (Kind::Quota, "quota", 403, 1, false),
        (Kind::Throttled, "throttled", 429, 6, true),
        (Kind::Unavailable, "unavailable", 503, 6, true),
        (Kind::StorageFull, "storage-full", 507, 7, true),
        (Kind::Corrupt, "corrupt", 500, 7, false),
        (Kind::Internal, "internal", 500, 7, false),
    ];

    #[test]
    fn kinds_have_the_statuses_and_exit_codes_that_are_documented() {
        let documented = include_str!("../docs/errors.md");
        let rows: Vec<_> = documented.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), TABLE.len());
        for ((kind, name, status, exit, retry), row) in TABLE.into_iter().zip(rows) {
            assert_eq!(serde_json::to_value(kind).expect("a word"), name);
            assert_eq!((kind.http_status(), kind.exit_code(), kind.retry()), (status, exit, retry), "{name}");
            assert!(row.starts_with(&format!("| `{name}` | {status} | {exit} |")), "{row}");
        }
    }
}

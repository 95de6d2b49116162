//! Why a row is rejected: a stable code for programs, a reason for people.

use std::borrow::Cow;
use std::fmt;

/// Result of processing a row.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The code of errors that say none.
pub const DEFAULT_CODE: &str = "failed";

/// Rejects a row: it goes to the dead letter topic with this code and reason, and its neighbours go on.
///
/// Every [`std::error::Error`] converts into one with the code `failed`, so `?` works; [`reject!`](crate::reject)
/// names a code of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Cow<'static, str>,
    reason: String,
}

impl Error {
    /// An error with a code (short, stable, lower case, such as `missing-field`) and a reason for people.
    pub fn new(code: impl Into<Cow<'static, str>>, reason: impl fmt::Display) -> Self {
        Self { code: code.into(), reason: reason.to_string() }
    }

    /// The code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { code: Cow::Borrowed(DEFAULT_CODE), reason }
    }
}

/// Returns from the function with an [`Error`]: a code, then a reason as in [`format!`].
///
/// ```
/// use millstream_sdk::prelude::*;
///
/// fn positive(amount: i64) -> Result<i64> {
///     if amount <= 0 {
///         reject!("bad-amount", "{amount} is not above zero");
///     }
///     Ok(amount)
/// }
/// assert_eq!(positive(-1), Err(Error::new("bad-amount", "-1 is not above zero")));
/// ```
#[macro_export]
macro_rules! reject {
    ($code:expr, $($reason:tt)+) => {
        return ::core::result::Result::Err(
            $crate::Error::new($code, ::core::format_args!($($reason)+)).into(),
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_errors_convert_with_the_default_code_and_their_causes() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("amount is no number")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        fn amount(text: &str) -> Result<i32> {
            Ok(text.parse().map_err(Outer)?)
        }
        let error = amount("x").expect_err("`x` is no number");
        assert_eq!((error.code(), error.reason()), ("failed", "amount is no number: invalid digit found in string"));
    }
}

//! How a guest was stopped: from the engine's error to a stable code, a message with limit and use, and a backtrace.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Failure;

#[cfg(feature = "sandbox")]
mod reading;

#[cfg(feature = "sandbox")]
pub(super) use reading::{Exited, Slice, Stopped, TooManyHostCalls, read};

/// Longest name of a frame. Symbols of generic code run to kilobytes.
const FRAME_BYTES: usize = 200;

macro_rules! codes {
    ($($name:ident $code:literal,)*) => {
        /// The stable codes of a guest that was stopped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "the code beside each says it")]
        pub enum Code {
            $($name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it is shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

codes! {
    Unreachable "trap_unreachable",
    MemoryBounds "trap_memory",
    TableBounds "trap_table",
    Arithmetic "trap_arithmetic",
    IndirectCall "trap_indirect_call",
    Reentry "trap_component",
    OtherTrap "trap_other",
    Abi "invalid_abi",
    Exit "guest_exit",
    Fuel "limit_fuel",
    Time "limit_time",
    Memory "limit_memory",
    Stack "limit_stack",
    Transfer "limit_transfer",
    Handles "limit_handles",
    HostCalls "limit_host_calls",
    InvalidAnswer "invalid_answer",
    OutputBytes "limit_output_bytes",
    KeyBytes "limit_key_bytes",
    ValueBytes "limit_value_bytes",
    Headers "limit_headers",
    StateBytes "limit_state_bytes",
    Timers "limit_timers",
    InitFailed "init_failed",
    Host "sandbox_unavailable",
}

/// How a guest was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trap {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) backtrace: Vec<String>,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl Trap {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), backtrace: Vec::new() }
    }

    /// A limit that was passed, with its value and the use.
    #[cfg(feature = "sandbox")]
    pub(super) fn over(code: Code, what: &str, limit: u64, used: u64) -> Self {
        Self::new(code, format!("{what}: {used}, the limit is {limit}"))
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// Where in the guest, innermost frame first.
    pub fn backtrace(&self) -> &[String] {
        &self.backtrace
    }

    /// The failure of a call that is charged this fuel.
    pub(super) fn charged(self, fuel: u64) -> Failure {
        Failure {
            guest: self.code != Code::Host,
            code: self.code.as_str(),
            message: self.message,
            backtrace: self.backtrace,
            fuel,
        }
    }
}

/// The first bytes of a text, whole characters.
pub(super) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(FRAME_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_all_different() {
        let codes: std::collections::BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
    }
}

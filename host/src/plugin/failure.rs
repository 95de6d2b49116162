//! How a guest was stopped: from the engine's error to a stable code, a message with limit and use, and a backtrace.

use std::fmt;

use serde::{Deserialize, Serialize};
use wasmtime::WasmBacktrace;

use super::Failure;
use super::memory::{Insistent, Memory};
use super::wasi::Exited;

/// Longest name of a frame. Symbols of generic code run to kilobytes.
const FRAME_BYTES: usize = 200;

/// What the engine says when more is copied out of a guest than was allowed; the error has no type of its own to ask for.
const TRANSFER_TEXT: &str = "fuel allocated for hostcalls has been exhausted";

/// What the engine says when a guest holds too many handles.
const HANDLES_TEXT: &str = "store handle limit exceeded";

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
    OutputRows "limit_output_rows",
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

/// Too many host calls.
#[derive(Debug, thiserror::Error)]
#[error("made more than {0} host calls")]
pub(super) struct TooManyHostCalls(pub(super) u64);

/// What a call was given, for the message of a limit that it passed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    pub(super) fuel: u64,
    pub(super) ticks: u64,
    pub(super) transfer_bytes: usize,
    pub(super) handles: usize,
}

/// Reads the engine's error.
pub(super) fn read(error: &wasmtime::Error, memory: &Memory, slice: &Slice) -> Trap {
    let (code, message) = classify(error, memory, slice);
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    Trap { code, message, backtrace }
}

fn classify(error: &wasmtime::Error, memory: &Memory, slice: &Slice) -> (Code, String) {
    if let Some(exited) = error.downcast_ref::<Exited>() {
        return (Code::Exit, exited.to_string());
    }
    if let Some(calls) = error.downcast_ref::<TooManyHostCalls>() {
        return (Code::HostCalls, calls.to_string());
    }
    if let Some(insistent) = error.downcast_ref::<Insistent>() {
        return (Code::Memory, format!("{insistent}; the limit is {} bytes", memory.limit()));
    }
    let memory_refused = || {
        format!(
            "memory and tables of {} bytes could not grow: the limit is {} bytes; then the guest gave up: ",
            memory.used(),
            memory.limit()
        )
    };
    let Some(trap) = error.downcast_ref::<wasmtime::Trap>() else {
        let text = error.root_cause().to_string();
        if text.contains(TRANSFER_TEXT) {
            let limit = slice.transfer_bytes;
            return (Code::Transfer, format!("gave the host more than the limit of {limit} bytes at once"));
        }
        if text.contains(HANDLES_TEXT) {
            return (Code::Handles, format!("held more than the limit of {} handles", slice.handles));
        }
        if memory.refused() > 0 {
            return (Code::Memory, memory_refused() + &text);
        }
        return (Code::Abi, format!("broke the rules of the component model: {}", clip(&text)));
    };
    use wasmtime::Trap as T;
    match trap {
        T::OutOfFuel => (Code::Fuel, format!("used all of its {} fuel", slice.fuel)),
        T::Interrupt => (Code::Time, format!("ran for {} ms, the limit", slice.ticks)),
        T::StackOverflow => (Code::Stack, "recursed until its stack was full".to_owned()),
        T::UnreachableCodeReached | T::MemoryOutOfBounds if memory.refused() > 0 => {
            (Code::Memory, memory_refused() + &trap.to_string())
        }
        T::UnreachableCodeReached => (Code::Unreachable, "panicked or ran into `unreachable`".to_owned()),
        T::MemoryOutOfBounds => (Code::MemoryBounds, "accessed memory that it does not have".to_owned()),
        T::TableOutOfBounds => (Code::TableBounds, "accessed a table outside of its elements".to_owned()),
        T::IntegerOverflow | T::IntegerDivisionByZero | T::BadConversionToInteger => {
            (Code::Arithmetic, trap.to_string())
        }
        T::IndirectCallToNull | T::BadSignature => (Code::IndirectCall, trap.to_string()),
        T::CannotEnterComponent | T::CannotLeaveComponent => (Code::Reentry, trap.to_string()),
        T::StringOutOfBounds | T::ListOutOfBounds | T::InvalidChar => (Code::Abi, trap.to_string()),
        _ => (Code::OtherTrap, trap.to_string()),
    }
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => clip(&format!("{:#}", rustc_demangle::demangle(name))).to_owned(),
        None => match frame.module_offset() {
            Some(offset) => format!("function {} at byte {offset:#x}", frame.func_index()),
            None => format!("function {}", frame.func_index()),
        },
    };
    backtrace.frames().iter().take(super::engine::BACKTRACE_FRAMES).map(name).collect()
}

/// The first bytes of a text, whole characters.
pub(super) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(FRAME_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice() -> Slice {
        Slice { fuel: 7, ticks: 5, transfer_bytes: 9, handles: 3 }
    }

    #[test]
    fn a_limit_is_named_with_its_value() {
        let memory = Memory::new(10, 1);
        let read = |trap: wasmtime::Trap| read(&trap.into(), &memory, &slice());
        assert_eq!(read(wasmtime::Trap::OutOfFuel).to_string(), "limit_fuel: used all of its 7 fuel");
        assert_eq!(read(wasmtime::Trap::Interrupt).to_string(), "limit_time: ran for 5 ms, the limit");
        assert_eq!(read(wasmtime::Trap::StackOverflow).code(), "limit_stack");
        assert_eq!(read(wasmtime::Trap::UnreachableCodeReached).code(), "trap_unreachable");
    }

    #[test]
    fn a_guest_that_gives_up_without_memory_is_said_to_lack_memory() {
        use wasmtime::ResourceLimiter as _;
        let mut memory = Memory::new(10, 1);
        assert!(!memory.memory_growing(0, 11, None).unwrap());
        let trap = read(&wasmtime::Trap::UnreachableCodeReached.into(), &memory, &slice());
        assert_eq!(trap.code(), "limit_memory");
        assert!(trap.message.contains("the limit is 10 bytes"), "{}", trap.message);
    }

    #[test]
    fn codes_are_all_different() {
        let codes: std::collections::BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
    }
}

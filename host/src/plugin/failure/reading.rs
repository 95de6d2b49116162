//! From the engine's error to a code and a message.

use wasmtime::WasmBacktrace;

use super::{Code, Trap, clip};
use crate::plugin::engine::BACKTRACE_FRAMES;
use crate::plugin::memory::{Insistent, Memory};

/// What the engine says when more is copied out of a guest than was allowed; the error has no type of its own to ask for.
const TRANSFER_TEXT: &str = "fuel allocated for hostcalls has been exhausted";

/// What the engine says when a guest holds too many handles.
const HANDLES_TEXT: &str = "store handle limit exceeded";

/// Too many host calls.
#[derive(Debug, thiserror::Error)]
#[error("made more than {0} host calls")]
pub(in crate::plugin) struct TooManyHostCalls(pub(in crate::plugin) u64);

/// A host function stopped the guest, for this reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::plugin) struct Stopped(pub(in crate::plugin) Trap);

/// The plugin called `exit`.
#[derive(Debug, thiserror::Error)]
#[error("called exit with status {0}")]
pub(in crate::plugin) struct Exited(pub(in crate::plugin) u8);

/// What a call was given, for the message of a limit that it passed.
#[derive(Debug, Clone, Copy)]
pub(in crate::plugin) struct Slice {
    pub(in crate::plugin) fuel: u64,
    pub(in crate::plugin) ticks: u64,
    pub(in crate::plugin) transfer_bytes: usize,
    pub(in crate::plugin) handles: usize,
}

/// Reads the engine's error.
pub(in crate::plugin) fn read(error: &wasmtime::Error, memory: &Memory, slice: &Slice) -> Trap {
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
    if let Some(Stopped(trap)) = error.downcast_ref::<Stopped>() {
        return (trap.code, trap.message.clone());
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
    backtrace.frames().iter().take(BACKTRACE_FRAMES).map(name).collect()
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
}

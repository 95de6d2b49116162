//! Memory of an instance: one sum over all its memories and tables.
//!
//! The engine's own limits are for each memory and each table; a guest with many of them, or with one large table, would
//! pass them all.

use wasmtime::ResourceLimiter;

/// What the host spends for one element of a table: a pointer.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// Most core instances, tables and memories of a store. The pre-scan is stricter for components; these also count what
/// adapters add.
const INSTANCES_MAX: usize = 64;
const TABLES_MAX: usize = 16;
const MEMORIES_MAX: usize = 4;

/// Too many refused requests for memory.
#[derive(Debug, thiserror::Error)]
#[error("asked for memory over its limit {0} times")]
pub(super) struct Insistent(u32);

/// Counts what an instance has and refuses what is over its limit.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    used: usize,
    refused: u32,
    refusals_max: u32,
}

impl Memory {
    pub(super) fn new(limit: usize, refusals_max: u32) -> Self {
        Self { limit, used: 0, refused: 0, refusals_max }
    }

    /// Bytes of all memories and tables.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// The most they may be.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Requests that were refused.
    pub(super) fn refused(&self) -> u32 {
        self.refused
    }

    /// Lifts the limit: the guest's own code has come to its end and only the snapshot runs.
    pub(super) fn lift(&mut self) {
        self.limit = usize::MAX;
    }

    fn grow(&mut self, more: usize) -> wasmtime::Result<bool> {
        match self.used.checked_add(more) {
            Some(used) if used <= self.limit => {
                self.used = used;
                Ok(true)
            }
            _ => {
                self.refused = self.refused.saturating_add(1);
                if self.refused > self.refusals_max { Err(Insistent(self.refused).into()) } else { Ok(false) }
            }
        }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // What the memory's own maximum forbids fails by itself and must not be counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(true);
        }
        self.grow(desired.saturating_sub(current))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(true);
        }
        self.grow(desired.saturating_sub(current).saturating_mul(ELEMENT_BYTES))
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut memory = Memory::new(1_000, 10);
        assert!(memory.memory_growing(0, 600, None).unwrap());
        assert!(!memory.table_growing(0, 100, None).unwrap());
        assert!(memory.table_growing(0, 50, None).unwrap());
        assert!(!memory.memory_growing(600, 601, None).unwrap());
        assert_eq!((memory.used(), memory.refused()), (1_000, 2));
    }

    #[test]
    fn asking_again_and_again_ends_the_call() {
        let mut memory = Memory::new(10, 3);
        for _ in 0..3 {
            assert!(!memory.memory_growing(0, 11, None).unwrap());
        }
        assert!(memory.memory_growing(0, 11, None).is_err());
    }

    #[test]
    fn what_a_memorys_own_maximum_forbids_is_not_counted() {
        let mut memory = Memory::new(100, 3);
        assert!(memory.memory_growing(0, 60, Some(50)).unwrap());
        assert_eq!((memory.used(), memory.refused()), (0, 0));
    }
}

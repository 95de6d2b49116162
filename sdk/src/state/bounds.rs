//! From where on a part of a key's state goes on in pages.
//!
//! A part that is small rides in the columns of each call and is the cheapest there. What is larger costs by its size
//! there, and by what is touched in pages.

/// The bounds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateBounds {
    /// A part larger than this goes on in pages; it comes back when it is a quarter of that.
    pub inline_bytes: usize,
    /// Pages are of about this size, and larger where the list of pages would be larger than they are.
    pub page_bytes: usize,
    /// Pages in memory beyond this are let go of between two rows or timers.
    pub resident_bytes: usize,
}

impl StateBounds {
    /// At 16 KiB, reading and writing the part with each call costs what a page, the list of pages and the calls of the host
    /// cost. 4 MiB of pages are about 16 MiB of entries in memory, a quarter of what an instance may have.
    pub const DEFAULT: Self = Self { inline_bytes: 16 << 10, page_bytes: 4 << 10, resident_bytes: 4 << 20 };
}

#[cfg(target_arch = "wasm32")]
pub(super) fn bounds() -> StateBounds {
    StateBounds::DEFAULT
}

#[cfg(not(target_arch = "wasm32"))]
thread_local!(static BOUNDS: std::cell::Cell<StateBounds> = const { std::cell::Cell::new(StateBounds::DEFAULT) });

#[cfg(not(target_arch = "wasm32"))]
pub(super) fn bounds() -> StateBounds {
    BOUNDS.get()
}

/// Runs with other bounds in this thread.
#[cfg(not(target_arch = "wasm32"))]
pub fn with_state_bounds<R>(bounds: StateBounds, run: impl FnOnce() -> R) -> R {
    struct Restore(StateBounds);
    impl Drop for Restore {
        fn drop(&mut self) {
            BOUNDS.set(self.0);
        }
    }
    let _restore = Restore(BOUNDS.replace(bounds));
    run()
}

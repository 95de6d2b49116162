//! How much a call does before it hands over, stops or goes on another time.
//!
//! Results depend on none of these numbers. Tests make them small, to come to what is behind them.

/// The bounds of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Rows that are written before they are handed to the host. An ordinary answer has fewer, and goes out as a whole.
    pub piece_rows: usize,
    /// Bytes of keys and values that are written before they are handed to the host.
    pub piece_bytes: usize,
    /// Bytes that one row or timer emits before [`Context::is_full`](crate::Context::is_full) says so, each row counting 32
    /// besides its key and value: about what the fuel of a timer is good for, with room for what finding the rows costs.
    pub full_bytes: usize,
    /// Timers of a key that are set and fired in a call when only time moves on, before the next call goes on with them.
    pub chain: usize,
}

/// What a row counts for beside its key and value.
pub(crate) const ROW_BYTES: usize = 32;

impl Bounds {
    /// Those of a plugin in a pipeline.
    pub const DEFAULT: Self = Self { piece_rows: 16_384, piece_bytes: 1 << 20, full_bytes: 1 << 20, chain: 1_000 };

    #[cfg(target_arch = "wasm32")]
    pub(crate) const fn current() -> Self {
        Self::DEFAULT
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn current() -> Self {
        CURRENT.get()
    }

    /// Runs with these bounds, natively.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn within<R>(self, run: impl FnOnce() -> R) -> R {
        /// Puts the bounds back, also when a test fails.
        struct Back(Bounds);
        impl Drop for Back {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _back = Back(CURRENT.replace(self));
        run()
    }
}

#[cfg(not(target_arch = "wasm32"))]
thread_local!(static CURRENT: std::cell::Cell<Bounds> = const { std::cell::Cell::new(Bounds::DEFAULT) });

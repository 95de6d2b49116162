//! Sizes at which the engine goes another way, so that no commit, call or backlog of blocks grows with the state.
//!
//! Results never depend on them. They are parameters so that tests come by every way with little data, and what runs in
//! production is the code that was tested.

/// Where the engine goes another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Most groups that close in one micro-batch and stage. A window of a million keys closes over several commits, so
    /// that no commit grows with the state.
    pub closing_groups: usize,
    /// Windows or keys of one step that may be due when rows come; with more, rows wait until those have fired.
    pub backlog: usize,
    /// Operations after which planning of keyed windows rests until they are computed: so memory is bounded whatever a
    /// row sets off.
    pub window_operations: usize,
    /// Bytes of blocks up to which no block rewrites what did not change: reading them back is quick.
    pub kept_bytes: usize,
    /// Bytes that a block rewrites at least while a round is on, so that a small state is rewritten at once.
    pub rewrite_bytes: usize,
    /// Rows on which a deployment is tried before it runs.
    pub sample_rows: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            closing_groups: 1 << 16,
            backlog: 1 << 16,
            window_operations: 1 << 18,
            kept_bytes: 8 << 20,
            rewrite_bytes: 64 << 10,
            sample_rows: 128,
        }
    }
}

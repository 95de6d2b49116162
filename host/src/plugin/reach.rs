//! What a call reaches beside its arguments.

use std::sync::Arc;

use super::emission::Emission;
use super::{Lookups, SharedTables};

/// What a call reaches beside its arguments. Nothing is there while `describe` and `init` run: what they leave must not
/// depend on it.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The tables of the call's groups.
    pub(super) tables: Option<SharedTables>,
    /// How many groups the call has.
    pub(super) groups: usize,
    /// Reference tables.
    pub(super) lookups: Option<Arc<dyn Lookups>>,
    /// Bytes of keys and values that the call has put into its tables.
    pub(super) written: usize,
    /// Rows that were handed over, in a call that may emit some.
    pub(super) emission: Option<Emission>,
}

//! What a plugin may import: one file an interface. Functions here never fail for a mistake of the guest; they shorten,
//! drop and count, or answer an error that the guest can read.

mod columns;
pub(super) mod emission;
pub(super) mod log;
pub(super) mod lookup;
pub(super) mod metrics;
pub(super) mod pages;
pub(super) mod table;

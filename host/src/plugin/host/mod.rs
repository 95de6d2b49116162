//! What a plugin may import: one file an interface. Functions here never fail for a mistake of the guest; they shorten,
//! drop and count.

pub(super) mod log;
pub(super) mod metrics;

//! Whether a plugin migrates, found out without a trait that all plugins would have to implement.

use std::marker::PhantomData;

use super::{Migrates, Migration};

/// Finds out whether a plugin migrates: a method of the value is preferred to one of a reference to it.
#[derive(Debug)]
pub struct Probe<P>(PhantomData<P>);

impl<P> Probe<P> {
    /// A probe.
    pub const NEW: Self = Self(PhantomData);
}

/// It does.
pub trait WithMigration<P> {
    /// How.
    fn find(&self) -> Option<Migration<P>>;
}

impl<P: Migrates> WithMigration<P> for Probe<P> {
    fn find(&self) -> Option<Migration<P>> {
        Some(P::migration())
    }
}

/// It does not.
pub trait WithoutMigration<P> {
    /// Not at all.
    fn find(&self) -> Option<Migration<P>>;
}

impl<P> WithoutMigration<P> for &Probe<P> {
    fn find(&self) -> Option<Migration<P>> {
        None
    }
}

//! The interface `migration`.

use std::marker::PhantomData;

use super::bindings::lifecycle::millstream::plugin::types::Accumulators;
use super::bindings::migration::exports::millstream::plugin::migration;
use super::convert;
use super::plugin::{Plugin, flush_metrics};
use crate::accumulator::Accumulator;
use crate::aggregate::Aggregate;
use crate::columns::Column;
use crate::migrate::{self, Migrate};
use crate::process::Process;
use crate::state::State;

/// Exports the migration of a [`Process`].
#[derive(Debug)]
pub struct MigratedState<P>(PhantomData<P>);

/// Exports the migration of an [`Aggregate`].
#[derive(Debug)]
pub struct MigratedAccumulator<P>(PhantomData<P>);

impl<P> migration::Guest for MigratedState<P>
where
    P: Process + Plugin + Migrate<Old: State, New: State>,
{
    fn migrate(written_by: String, state: Accumulators) -> Result<Accumulators, String> {
        let new = migrate::states(P::get(), &written_by, &convert::column(state.lengths, state.bytes));
        flush_metrics();
        new.map(accumulators)
    }
}

impl<P> migration::Guest for MigratedAccumulator<P>
where
    P: Aggregate + Plugin + Migrate<Old: Accumulator, New: Accumulator>,
{
    fn migrate(written_by: String, state: Accumulators) -> Result<Accumulators, String> {
        let new = migrate::accumulators(P::get(), &written_by, &convert::column(state.lengths, state.bytes));
        flush_metrics();
        new.map(accumulators)
    }
}

fn accumulators(column: Column) -> Accumulators {
    Accumulators { lengths: column.lengths, bytes: column.bytes }
}

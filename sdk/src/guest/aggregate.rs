//! The world `aggregate`.

use std::marker::PhantomData;

use super::bindings::lifecycle::millstream::plugin::types;
use super::bindings::{
    aggregator::exports::millstream::plugin::aggregator, lifecycle::exports::millstream::plugin::lifecycle,
};
use super::convert;
use super::plugin::{Plugin, describe, flush_metrics, init};
use crate::aggregate::Aggregate;
use crate::columns::Column;
use crate::fold;

/// Exports an [`Aggregate`].
#[derive(Debug)]
pub struct Aggregator<P>(PhantomData<P>);

impl<P: Aggregate + Plugin> lifecycle::Guest for Aggregator<P> {
    fn describe() -> types::Description {
        describe::<P::Config>(P::SUMMARY, P::READS, P::OUTPUTS)
    }

    fn init(config: String) -> Result<(), String> {
        init(&config, P::new)
    }
}

impl<P: Aggregate + Plugin> aggregator::Guest for Aggregator<P> {
    fn add(call: aggregator::Contribution) -> aggregator::Folded {
        let batch = convert::batch(call.rows);
        let (groups, rejected) = fold::add(P::get(), &column(call.groups), &call.row_groups, &batch);
        flush_metrics();
        // The instance ends with the call: giving the input's memory back would be work for nobody.
        std::mem::forget(batch);
        aggregator::Folded { groups: accumulators(groups), rejected: convert::rejects(rejected) }
    }

    fn merge(left: types::Accumulators, right: types::Accumulators) -> types::Accumulators {
        let merged = fold::merge(P::get(), &column(left), &column(right));
        flush_metrics();
        accumulators(merged)
    }

    fn finish(windows: aggregator::Closed) -> types::Answer {
        let keys = convert::column(windows.key_lengths, windows.keys);
        let answer = fold::finish(P::get(), &column(windows.groups), keys, &windows.starts, &windows.ends);
        flush_metrics();
        convert::answer(answer)
    }
}

fn column(accumulators: types::Accumulators) -> Column {
    convert::column(accumulators.lengths, accumulators.bytes)
}

fn accumulators(column: Column) -> types::Accumulators {
    types::Accumulators { lengths: column.lengths, bytes: column.bytes }
}

//! Plugins of rows in, rows out.

use std::fmt::Debug;

use crate::answer::{Answer, Out};
use crate::batch::Batch;
use crate::config::Config;
use crate::describe::{ONE_OUTPUT, Output, Reads};
use crate::error::Result;
use crate::input::FromRecord;

/// A plugin that turns each row into zero, one or many rows: filter, map, split, route, set key and event time.
///
/// Put [`#[transform]`](macro@crate::transform) on the `impl`: its doc comment becomes the summary, and the plugin is
/// exported. A plugin that is one function needs no struct: `#[transform]` makes it.
///
/// A row's outcome depends on that row and the configuration alone. An instance lives for one call, so there is nothing
/// to remember from one batch to the next.
pub trait Transform: Debug + Sized + Send + Sync + 'static {
    /// What the plugin does, in a sentence.
    const SUMMARY: &'static str;
    /// Where rows leave.
    const OUTPUTS: &'static [Output] = ONE_OUTPUT;
    /// The columns that the plugin reads: those of its input.
    const READS: Reads = <Self::Input<'static> as FromRecord<'static>>::READS;

    /// The configuration; [`NoConfig`](crate::NoConfig) for none.
    type Config: Config;
    /// What is taken of each record.
    type Input<'a>: FromRecord<'a>;

    /// Prepares the plugin. Runs once, at deploy; an error refuses the deployment with its reason.
    fn new(config: Self::Config) -> Result<Self>;

    /// Processes a row: emits rows, or rejects it with an error, and then nothing of it is emitted.
    fn record(&self, input: Self::Input<'_>, out: &mut Out<'_, '_>) -> Result<()>;

    /// Processes a batch: by default record by record. For those who can do better over whole columns; rows are to be
    /// answered in ascending order.
    #[inline]
    fn batch(&self, batch: &Batch, answer: &mut Answer<'_>) {
        for record in batch.records() {
            answer.row(record.index, |out| self.record(record.read()?, out));
        }
    }
}

//! Plugins that fold the rows of a key and window.

use std::fmt::Debug;

use crate::accumulator::Accumulator;
use crate::answer::Rejects;
use crate::batch::Batch;
use crate::config::Config;
use crate::describe::{ONE_OUTPUT, Output, Reads};
use crate::error::Result;
use crate::input::FromRecord;
use crate::output::IntoRows;

/// A window that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window<'a> {
    /// The key whose rows were folded; none for null.
    pub key: Option<&'a [u8]>,
    /// First millisecond of the window.
    pub start: i64,
    /// First millisecond after the window.
    pub end: i64,
}

impl<'a> Window<'a> {
    /// The key as text, with � for what is not UTF-8; none for null.
    pub fn key_text(&self) -> Option<std::borrow::Cow<'a, str>> {
        self.key.map(String::from_utf8_lossy)
    }
}

/// A plugin that folds the rows of each key and window into an accumulator. The host owns windows, state and firing.
///
/// Put [`#[aggregate]`](macro@crate::aggregate) on the `impl`: its doc comment becomes the summary, and the plugin is
/// exported.
pub trait Aggregate: Debug + Sized + Send + Sync + 'static {
    /// What the plugin does, in a sentence.
    const SUMMARY: &'static str;
    /// Where rows leave.
    const OUTPUTS: &'static [Output] = ONE_OUTPUT;
    /// The columns that the plugin reads: those of its input.
    const READS: Reads = <Self::Input<'static> as FromRecord<'static>>::READS;

    /// The configuration; [`NoConfig`](crate::NoConfig) for none.
    type Config: Config;
    /// What is taken of each record; `()` for nothing.
    type Input<'a>: FromRecord<'a>;
    /// What is kept for each key and window.
    type Accumulator: Accumulator + Default;
    /// What a complete window becomes. Its key and event time are, if not set, the window's key and last millisecond; a
    /// value must be set.
    type Output: IntoRows;

    /// Prepares the plugin. Runs once, at deploy; an error refuses the deployment with its reason.
    fn new(config: Self::Config) -> Result<Self>;

    /// Adds a row to its accumulator, or rejects it with an error; the accumulator must then be as before.
    fn add(&self, accumulator: &mut Self::Accumulator, input: Self::Input<'_>) -> Result<()>;

    /// Adds what was accumulated later to what was accumulated earlier, of the same key.
    fn merge(&self, earlier: &mut Self::Accumulator, later: Self::Accumulator);

    /// Makes the result of a complete window: any number of rows, which go out in pieces if they are many, up to 32 MiB. An
    /// error rejects the window.
    fn finish(&self, window: &Window<'_>, accumulator: &Self::Accumulator) -> Result<Self::Output>;

    /// Adds the rows of a batch, `groups` saying the accumulator of each: by default record by record. For those who can
    /// do better over whole columns; rows are to be taken in ascending order.
    #[inline]
    fn add_batch(&self, accumulators: &mut [Self::Accumulator], groups: &[u32], batch: &Batch, rejected: &mut Rejects) {
        for (record, &group) in batch.records().zip(groups) {
            let accumulator = accumulators.get_mut(group as usize).expect("the host names groups of the call");
            if let Err(error) = record.read().and_then(|input| self.add(accumulator, input)) {
                rejected.push(record.index, &error);
            }
        }
    }
}

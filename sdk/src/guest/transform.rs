//! The world `transform`.

use std::marker::PhantomData;

use super::bindings::lifecycle::millstream::plugin::types;
use super::bindings::{
    lifecycle::exports::millstream::plugin::lifecycle, transformer::exports::millstream::plugin::transformer,
};
use super::convert;
use super::plugin::{Plugin, describe, flush_metrics, init};
use crate::answer::Answer;
use crate::transform::Transform;

/// Exports a [`Transform`].
#[derive(Debug)]
pub struct Transformer<P>(PhantomData<P>);

impl<P: Transform + Plugin> lifecycle::Guest for Transformer<P> {
    fn describe() -> types::Description {
        describe::<P::Config>(P::SUMMARY, P::READS, P::OUTPUTS)
    }

    fn init(config: String) -> Result<(), String> {
        init(&config, P::new)
    }
}

impl<P: Transform + Plugin> transformer::Guest for Transformer<P> {
    fn transform(rows: types::Batch) -> types::Answer {
        let batch = convert::batch(rows);
        let mut answer = Answer::new(&batch, P::OUTPUTS);
        P::get().batch(&batch, &mut answer);
        flush_metrics();
        let parts = answer.into_parts();
        // The instance ends with the call: giving the input's memory back would be work for nobody.
        std::mem::forget(batch);
        convert::answer(parts)
    }
}

//! The world `process`.

use std::marker::PhantomData;

use super::bindings::lifecycle::millstream::plugin::types;
use super::bindings::{
    lifecycle::exports::millstream::plugin::lifecycle, processor::exports::millstream::plugin::processor,
};
use super::plugin::{Plugin, describe, flush_metrics, init};
use super::{convert, emission};
use crate::process::{Done, DueTimers, Process, Work, process};

/// Exports a [`Process`].
#[derive(Debug)]
pub struct Processor<P>(PhantomData<P>);

impl<P: Process + Plugin> lifecycle::Guest for Processor<P> {
    fn describe() -> types::Description {
        describe::<P::Config>(P::SUMMARY, P::READS, P::OUTPUTS)
    }

    fn init(config: String) -> Result<(), String> {
        init(&config, P::new)
    }
}

impl<P: Process + Plugin> processor::Guest for Processor<P> {
    fn process(input: processor::Work) -> processor::Done {
        let work = work(input);
        let done = process(P::get(), &work);
        flush_metrics();
        // The instance ends with the call: giving the input's memory back would be work for nobody.
        std::mem::forget(work);
        answer(done)
    }
}

fn work(input: processor::Work) -> Work {
    Work {
        group_rows: input.group_rows,
        rows: convert::batch(input.rows),
        inputs: input.inputs,
        row_watermarks: input.row_watermarks,
        keys: convert::column(input.key_lengths, input.keys),
        state: convert::column(input.state.lengths, input.state.bytes),
        due: DueTimers {
            groups: input.due.groups,
            ids: input.due.ids,
            times: input.due.times,
            domains: input.due.domains,
        },
        watermark: input.watermark,
        processing_time: input.processing_time,
    }
}

fn answer(done: Done) -> processor::Done {
    done.going_on.into_iter().for_each(emission::go_on);
    processor::Done {
        rows: convert::rows(done.rows),
        rejected: convert::rejects(done.rejected),
        state: processor::Values { lengths: done.state.lengths, bytes: done.state.bytes },
        timers: processor::TimerChanges {
            groups: done.timers.groups,
            ids: done.timers.ids,
            times: done.timers.times,
            domains: done.timers.domains,
            sets: done.timers.sets,
        },
        fired: processor::Timers {
            groups: done.fired.groups,
            ids: done.fired.ids,
            times: done.fired.times,
            domains: done.fired.domains,
        },
    }
}

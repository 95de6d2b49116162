//! The deterministic part of a pipeline: no I/O, no clock, nothing that its blocks do not carry.
//!
//! `plan` puts a manifest together with plugins and partitions, `machine` applies micro-batches, `flow` leads rows from
//! step to step, `steps` is what each kind of step does, `blocks` what the state looks like in the log.

mod apply;
pub(super) mod arrival;
pub(super) mod backlog;
mod blocks;
pub(super) mod calls;
pub(super) mod carry;
pub(super) mod dead_letter;
pub(super) mod flow;
pub(super) mod gather;
mod horizon;
mod lanes;
pub(super) mod lineage;
pub(super) mod machine;
pub(super) mod outputs;
pub(super) mod plan;
pub(super) mod references;
pub(super) mod rounds;
mod row_watermarks;
pub(super) mod rows;
pub(super) mod step_state;
pub(super) mod steps;
pub(super) mod sweep;
pub(super) mod thresholds;
mod topic_ids;
pub(super) mod transform_output;
pub(super) mod warm_state;
pub(super) mod work;

//! Pipelines: topics in, steps, topics out, one micro-batch after the other, each a transaction.
pub mod spec;
pub mod status;

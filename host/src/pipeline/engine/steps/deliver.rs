//! Results on their way out: to their topics, and round again where one of those is the pipeline's loop.

use super::Sink;
use crate::ids::PartitionId;
use crate::pipeline::engine::dead_letter::{Cause, unwritten};
use crate::pipeline::engine::plan::{Feedback, TopicId};
use crate::pipeline::engine::rounds::{self, UNKNOWN};
use crate::record::{Batch, BatchRef};

impl Sink<'_> {
    /// Writes results to a topic. `round` says of which round a row is: that of the row that it comes from.
    pub(in crate::pipeline) fn deliver(
        &mut self,
        topic: TopicId,
        rows: BatchRef<'_>,
        round: impl Fn(u32) -> u32,
        source_partition: PartitionId,
    ) {
        match self.plan.feedback {
            Some(feedback) if feedback.topic == topic => self.feed_back(feedback, rows, round, source_partition),
            _ => self.outputs.result(self.plan, self.usage, topic, rows, source_partition),
        }
    }

    /// Writes rows to the topic of the loop, each with its next round. Those that have come round as often as they may, and
    /// those of which that is not known, are dead letters.
    fn feed_back(
        &mut self,
        feedback: Feedback,
        rows: BatchRef<'_>,
        round: impl Fn(u32) -> u32,
        source_partition: PartitionId,
    ) {
        let mut next = Batch::default();
        let mut headers = rows.headers.rows();
        let columns = rows.timestamps.iter().zip(rows.keys.iter()).zip(rows.values.iter());
        for (row, ((&time, key), value)) in (0..).zip(columns) {
            // What a plugin says of rounds is not what counts.
            let own = rounds::without(headers.next().unwrap_or_default());
            let round = round(row);
            if round < feedback.rounds {
                next.push(time, key, value);
                let number = (round + 1).to_string();
                let header = (rounds::HEADER.as_bytes(), Some(number.as_bytes()));
                next.headers.push_row(own.into_iter().chain([header]));
                continue;
            }
            let mut one = Batch::default();
            one.push(time, key, value);
            one.headers.push_row(own);
            self.ends_here(feedback, round, one.view(), source_partition);
        }
        self.outputs.result(self.plan, self.usage, feedback.topic, next.view(), source_partition);
    }

    /// Makes a row that may not go round a dead letter.
    fn ends_here(&mut self, feedback: Feedback, round: u32, row: BatchRef<'_>, source_partition: PartitionId) {
        let target = &self.plan.topics[feedback.topic].name;
        let reason;
        let cause = if round == UNKNOWN {
            reason = format!(
                "the row was to go round by topic `{target}`, but in which round it is cannot be said: it comes from a timer, or from a record whose `{}` the pipeline did not write",
                rounds::HEADER
            );
            Cause { code: "loop_round_unknown", reason: &reason, backtrace: &[] }
        } else {
            reason = format!(
                "the row was to go round by topic `{target}` in round {}, the limit of `rounds` is {}",
                round + 1,
                feedback.rounds
            );
            Cause { code: "loop_rounds", reason: &reason, backtrace: &[] }
        };
        let letter = unwritten(self.plan, target, row, cause);
        self.outputs.dead_letter(self.plan, self.usage, letter.view(), source_partition);
    }
}

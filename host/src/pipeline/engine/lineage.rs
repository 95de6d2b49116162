//! Which rows that came round belong to a pipeline's history.
//!
//! What a pipeline wrote to topics stays there when it goes back to a checkpoint. So the topic of its loop then has rows that
//! were written after the checkpoint, and whose sources are going to be read again: they are not this history's. Each record
//! says by which commit it was written, and the state knows up to which commit of which run it goes.
//!
//! A run is a task under an epoch, of which the log gives none twice. Rows of others, who say nothing, always count.

use std::collections::BTreeMap;

use crate::ids::{PipelineId, TaskId, TopicName};
use crate::state::{BlockError, Reader, Writer};

/// A run of a pipeline.
type Run = (TaskId, u64);

/// How far a run's history goes, and by which topic its rows come round.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    /// The last commit that counts.
    last: u64,
    topic: TopicName,
}

/// The runs whose commits are behind a state.
#[derive(Debug, Clone, Default)]
pub(in crate::pipeline) struct Lineage {
    /// The run that is at work, and its last commit.
    now: Option<(Run, Way)>,
    /// Those before it of which there may still be rows on their way.
    before: BTreeMap<Run, Way>,
}

/// A commit, as a record says that it wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) struct Writing {
    run: Run,
    sequence: u64,
}

impl Writing {
    /// Reads what [`Display`](std::fmt::Display) writes.
    pub(in crate::pipeline) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut numbers = text.split('-').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (pipeline, number, epoch, sequence) = (PipelineId(next()?), u32::try_from(next()?).ok()?, next()?, next()?);
        let writing = Self { run: (TaskId { pipeline, number }, epoch), sequence };
        (writing.to_string() == text).then_some(writing)
    }
}

impl std::fmt::Display for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (TaskId { pipeline, number }, epoch) = self.run;
        write!(f, "{}-{number}-{epoch}-{}", pipeline.0, self.sequence)
    }
}

impl Lineage {
    /// A new run goes on with the state. `topic` is that of its loop, if it has one; without, rows that are on their way stay
    /// where they are until there is a loop again.
    pub(in crate::pipeline) fn begin(&mut self, task: TaskId, epoch: u64, topic: Option<TopicName>) {
        self.before.extend(self.now.take().filter(|(_, way)| way.last > 0));
        self.now = topic.map(|topic| ((task, epoch), Way { last: 0, topic }));
    }

    /// The run is about to commit under this number. What the records of that commit say.
    pub(in crate::pipeline) fn commit(&mut self, sequence: u64) -> Option<Writing> {
        let (run, way) = self.now.as_mut()?;
        way.last = sequence;
        Some(Writing { run: *run, sequence })
    }

    /// Whether a record is of this history.
    pub(in crate::pipeline) fn has(&self, writing: Writing) -> bool {
        match &self.now {
            Some((run, _)) if *run == writing.run => true,
            _ => self.before.get(&writing.run).is_some_and(|way| writing.sequence <= way.last),
        }
    }

    /// Nothing that was written before to the topic of the loop is on its way any more.
    pub(in crate::pipeline) fn settle(&mut self) {
        if let Some((_, now)) = &self.now {
            self.before.retain(|_, way| way.topic != now.topic);
        }
    }

    pub(in crate::pipeline) fn write(&self, writer: &mut Writer) {
        let now = self.now.iter().map(|(run, way)| (run, way));
        let all: BTreeMap<&Run, &Way> = self.before.iter().chain(now).collect();
        writer.u32(all.len() as u32);
        for ((TaskId { pipeline, number }, epoch), way) in all {
            writer.i64(pipeline.0.cast_signed());
            writer.u32(*number);
            writer.i64(epoch.cast_signed());
            writer.i64(way.last.cast_signed());
            writer.text(way.topic.as_str());
        }
    }

    pub(in crate::pipeline) fn read(reader: &mut Reader<'_>) -> Result<Self, BlockError> {
        let mut before = BTreeMap::new();
        for _ in 0..reader.u32()? {
            let task = TaskId { pipeline: PipelineId(reader.i64()?.cast_unsigned()), number: reader.u32()? };
            let run = (task, reader.i64()?.cast_unsigned());
            let last = reader.i64()?.cast_unsigned();
            let topic = reader.text()?.parse().map_err(|_| reader.error("not the name of a topic"))?;
            before.insert(run, Way { last, topic });
        }
        Ok(Self { now: None, before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = PipelineId(7).task();

    fn topic(name: &str) -> Option<TopicName> {
        Some(name.parse().expect("a name"))
    }

    fn read_back(lineage: &Lineage) -> Lineage {
        let mut writer = Writer::default();
        lineage.write(&mut writer);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes).expect("our own version");
        let read = Lineage::read(&mut reader).expect("our own bytes");
        assert!(reader.is_at_end());
        read
    }

    #[test]
    fn what_was_written_after_the_state_is_of_another_history() {
        let mut lineage = Lineage::default();
        lineage.begin(TASK, 3, topic("round"));
        let writings: Vec<Writing> = (1..=4).filter_map(|sequence| lineage.commit(sequence)).collect();
        assert!(writings.iter().all(|&writing| lineage.has(writing)));
        let mut at_two = Lineage::default();
        at_two.begin(TASK, 3, topic("round"));
        at_two.commit(2);
        // The same task goes on from there, or another one does.
        for (task, epoch) in [(TASK, 4), (PipelineId(8).task(), 3)] {
            let mut back = read_back(&at_two);
            back.begin(task, epoch, topic("round"));
            let counted: Vec<bool> = writings.iter().map(|&writing| back.has(writing)).collect();
            assert_eq!(counted, [true, true, false, false]);
            let own = back.commit(3).expect("it has begun");
            assert!(back.has(own) && !lineage.has(own));
            // Once more, with rows of both runs on their way.
            let mut again = read_back(&back);
            again.begin(task, 9, topic("round"));
            assert!(again.has(own) && again.has(writings[1]) && !again.has(writings[2]));
            again.settle();
            assert!(!again.has(own) && !again.has(writings[1]));
        }
    }

    #[test]
    fn rows_that_are_on_their_way_wait_for_their_topic_to_be_read_again() {
        let mut lineage = Lineage::default();
        lineage.begin(TASK, 1, topic("round"));
        let first = lineage.commit(1).expect("it has begun");
        // By another topic, which is read to its end; then by none.
        lineage.begin(TASK, 2, topic("other"));
        let second = lineage.commit(2).expect("it has begun");
        lineage.settle();
        lineage.begin(TASK, 3, None);
        assert_eq!(lineage.commit(3), None);
        lineage.settle();
        let mut again = read_back(&lineage);
        again.begin(TASK, 4, topic("round"));
        assert!(again.has(first) && again.has(second));
        again.settle();
        assert!(!again.has(first) && again.has(second));
    }

    #[test]
    fn a_record_says_its_commit_in_one_way() {
        let writing = Writing { run: (TaskId { pipeline: PipelineId(7), number: 2 }, 30), sequence: u64::MAX };
        assert_eq!(writing.to_string(), "7-2-30-18446744073709551615");
        assert_eq!(Writing::parse(b"7-2-30-18446744073709551615"), Some(writing));
        for wrong in [
            "",
            "7-2-30",
            "7-2-30-1-1",
            "7-2-30-01",
            "+7-2-30-1",
            "7-4294967296-3-1",
            "7-2-30-18446744073709551616",
            "a-2-30-1",
        ] {
            assert_eq!(Writing::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}

//! What a partition remembers of a producer, so that a batch that is sent twice is written once.
//!
//! As in Kafka: of each producer the newest epoch and the last five batches are known. A producer that is not known may
//! begin with any sequence, for it may have been forgotten: that happens when its last batch leaves the partition.

use super::batch::{Header, Producer};
use super::{Appended, Error, Result};
use crate::ids::{Offset, TopicPartition};

/// Batches that are remembered: as many as Kafka's clients have in flight at once.
pub(super) const RECENT_MAX: usize = 5;

/// A batch that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recent {
    pub(super) base_sequence: i32,
    pub(super) count: u32,
    pub(super) base_offset: Offset,
}

impl Recent {
    fn next_offset(&self) -> Offset {
        self.base_offset + u64::from(self.count)
    }

    /// Sequences go from 0 to `i32::MAX` and around.
    fn next_sequence(&self) -> i32 {
        ((i64::from(self.base_sequence) + i64::from(self.count)) & i64::from(i32::MAX)) as i32
    }
}

/// A producer as a partition knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProducerState {
    /// Its newest epoch.
    pub(super) epoch: i16,
    /// Its last batches of that epoch, oldest first; at least one.
    pub(super) recent: Vec<Recent>,
}

impl ProducerState {
    /// The offset after its last record.
    pub(super) fn next_offset(&self) -> Offset {
        self.recent.last().map_or(0, Recent::next_offset)
    }
}

/// What is to be done with the batches of an append.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Write them; they have no producer id.
    Write,
    /// Write them, and remember this of their producer.
    WriteAndRemember(i64, ProducerState),
    /// Answer where they are.
    Duplicate(Appended),
}

/// The one producer of all batches of an append, if they have one.
pub(super) fn of(at: &TopicPartition, headers: &[Header]) -> Result<Option<i64>> {
    let id = |header: &Header| header.producer.map(|producer| producer.id);
    let first = headers.first().and_then(id);
    if headers.iter().any(|header| id(header) != first) {
        return Err(Error::InvalidBatch { at: at.clone(), reason: "its batches are of several producers".to_owned() });
    }
    Ok(first)
}

/// Decides over the batches of one producer (see [`of`]), the first of which would be written at `base`.
pub(super) fn judge(
    known: Option<&ProducerState>,
    at: &TopicPartition,
    headers: &[Header],
    base: Offset,
) -> Result<Verdict> {
    let mut state = known.cloned();
    let mut id = None;
    let mut next = base;
    let mut duplicates: Vec<Recent> = Vec::new();
    for header in headers {
        let Some(producer) = header.producer else { continue };
        id = Some(producer.id);
        match follow(state.as_ref(), at, &producer, header.count)? {
            Some(duplicate) => duplicates.push(duplicate),
            None => {
                let state = state.get_or_insert(ProducerState { epoch: producer.epoch, recent: Vec::new() });
                if state.epoch != producer.epoch {
                    *state = ProducerState { epoch: producer.epoch, recent: Vec::new() };
                }
                if state.recent.len() == RECENT_MAX {
                    state.recent.remove(0);
                }
                let Producer { base_sequence, .. } = producer;
                state.recent.push(Recent { base_sequence, count: header.count, base_offset: next });
            }
        }
        next += u64::from(header.count);
    }
    match (id, state, duplicates.as_slice()) {
        (Some(id), Some(state), []) => Ok(Verdict::WriteAndRemember(id, state)),
        (_, _, [first, ..]) if duplicates.len() == headers.len() => {
            let next_offset = duplicates.last().map_or(0, Recent::next_offset);
            Ok(Verdict::Duplicate(Appended { base_offset: first.base_offset, next_offset, duplicate: true }))
        }
        (_, _, []) => Ok(Verdict::Write),
        _ => {
            let reason = "some of its batches have been written before and some have not".to_owned();
            Err(Error::InvalidBatch { at: at.clone(), reason })
        }
    }
}

/// The batch that this one is a repetition of, `None` if it is new and follows.
fn follow(
    known: Option<&ProducerState>,
    at: &TopicPartition,
    producer: &Producer,
    count: u32,
) -> Result<Option<Recent>> {
    let Some(known) = known else { return Ok(None) };
    let Producer { id: producer_id, epoch, base_sequence: sequence } = *producer;
    if epoch < known.epoch {
        return Err(Error::ProducerFenced { at: at.clone(), producer_id, epoch, current: known.epoch });
    }
    let expected = if epoch > known.epoch { 0 } else { known.recent.last().map_or(0, Recent::next_sequence) };
    if sequence == expected {
        return Ok(None);
    }
    let repeated = known.recent.iter().rev().find(|recent| recent.base_sequence == sequence && recent.count == count);
    match repeated {
        Some(repeated) if epoch == known.epoch => Ok(Some(*repeated)),
        _ => Err(Error::OutOfOrderSequence { at: at.clone(), producer_id, sequence, expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::Compression;

    fn at() -> TopicPartition {
        TopicPartition { topic: "t".parse().unwrap(), partition: 0 }
    }

    fn header(epoch: i16, base_sequence: i32, count: u32) -> Header {
        Header {
            base_offset: 0,
            length: 0,
            count,
            offsets: count,
            compression: Compression::None,
            log_append_time: false,
            base_timestamp: 0,
            max_timestamp: 0,
            delete_horizon: None,
            producer: Some(Producer { id: 7, epoch, base_sequence }),
        }
    }

    /// Writes batches one by one and gives the state after them.
    fn after(batches: &[(i16, i32, u32)]) -> (ProducerState, Offset) {
        let (mut state, mut base) = (None, 100);
        for &(epoch, sequence, count) in batches {
            let verdict = judge(state.as_ref(), &at(), &[header(epoch, sequence, count)], base);
            let Ok(Verdict::WriteAndRemember(7, next)) = verdict else { panic!("{verdict:?}") };
            state = Some(next);
            base += u64::from(count);
        }
        (state.unwrap(), base)
    }

    #[test]
    fn one_of_the_last_five_is_answered_with_its_place() {
        let (state, base) = after(&[(0, 0, 1), (0, 1, 2), (0, 3, 1), (0, 4, 1), (0, 5, 1), (0, 6, 1)]);
        let again = judge(Some(&state), &at(), &[header(0, 1, 2)], base);
        assert_eq!(again, Ok(Verdict::Duplicate(Appended { base_offset: 101, next_offset: 103, duplicate: true })));
        let too_old = judge(Some(&state), &at(), &[header(0, 0, 1)], base);
        assert!(matches!(too_old, Err(Error::OutOfOrderSequence { sequence: 0, expected: 7, .. })), "{too_old:?}");
        let both = judge(Some(&state), &at(), &[header(0, 5, 1), header(0, 6, 1)], base);
        assert_eq!(both, Ok(Verdict::Duplicate(Appended { base_offset: 105, next_offset: 107, duplicate: true })));
        let mixed = judge(Some(&state), &at(), &[header(0, 6, 1), header(0, 7, 1)], base);
        assert!(matches!(mixed, Err(Error::InvalidBatch { .. })));
    }

    #[test]
    fn a_hole_is_refused() {
        let (state, base) = after(&[(0, 10, 2)]);
        let hole = judge(Some(&state), &at(), &[header(0, 13, 1)], base);
        assert!(matches!(hole, Err(Error::OutOfOrderSequence { sequence: 13, expected: 12, .. })));
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old() {
        let (state, base) = after(&[(3, 0, 1), (3, 1, 1)]);
        let late = judge(Some(&state), &at(), &[header(4, 1, 1)], base);
        assert!(matches!(late, Err(Error::OutOfOrderSequence { sequence: 1, expected: 0, .. })));
        let (state, base) = after(&[(3, 0, 1), (3, 1, 1), (4, 0, 1)]);
        let fenced = judge(Some(&state), &at(), &[header(3, 2, 1)], base);
        assert!(matches!(fenced, Err(Error::ProducerFenced { epoch: 3, current: 4, .. })));
    }

    #[test]
    fn sequences_go_around() {
        let (state, base) = after(&[(0, i32::MAX - 1, 2)]);
        let around = judge(Some(&state), &at(), &[header(0, 0, 1)], base);
        assert!(matches!(around, Ok(Verdict::WriteAndRemember(7, _))), "{around:?}");
    }
}

//! A reader that follows retention.

use crate::ids::Offset;
use crate::log::{self, Fetched};

/// Reads at a position, which follows retention as often as that moves before the read. Says how many records were
/// removed before they could be read, which are counted as trimmed.
pub(super) async fn follow<F: Future<Output = log::Result<Fetched>>>(
    position: &mut Offset,
    trimmed: &mut u64,
    mut read: impl FnMut(Offset) -> F,
) -> Result<(Fetched, u64), log::Error> {
    let from = *position;
    loop {
        match read(*position).await {
            Err(log::Error::OffsetOutOfRange { offset, start, .. }) if offset < start => {
                *trimmed += start - offset;
                *position = start;
            }
            other => return Ok((other?, *position - from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;
    use crate::pipeline::tests::harness::wait;

    /// The log's start moves on between two reads for as long as it likes.
    #[test]
    fn a_reader_follows_retention_however_often_it_moves() {
        let mut starts = [5, 9, 30].into_iter();
        let read = |offset| {
            let next = match starts.next() {
                Some(start) => {
                    let at = "in".parse().map(|topic| crate::ids::TopicPartition { topic, partition: 0 });
                    Err(log::Error::OffsetOutOfRange { at: at.expect("a name"), offset, start, end: 40 })
                }
                None => Ok(Fetched { topic_id: TopicId(1), batches: Vec::new(), start: 30, end: 40 }),
            };
            std::future::ready(next)
        };
        let (mut position, mut trimmed) = (2, 1);
        let (fetched, lost) = wait(follow(&mut position, &mut trimmed, read)).expect("it comes to an end");
        assert_eq!((position, trimmed, lost, fetched.end), (30, 29, 28, 40));
    }
}

//! How often rows have come round: the round of each row that the pipeline reads from the topic of its loop.
//!
//! A row from any other source is of round 0. What is made of a row of one round goes round as a record of the next, which
//! says so in a header. So the number of records in which a source's record can end is bounded by how many a row gives
//! and by the rounds, whatever the plugins do: each record that goes round is of one row that was read, and of a later round.
//!
//! The header is the host's. Plugins do not see it, and what they write into one of that name does not count. A record
//! that somebody else wrote to the topic begins at round 0 if it has no such header; with one that says what the pipeline
//! could have written it is of that round; with any other, its round is unknown, and nothing that is made of it goes round.
//!
//! A second header says which commit wrote the record, so that what was written after a checkpoint does not count any more
//! when the pipeline has gone back to it ([`Lineage`]).

use std::ops::Range;

use super::gather::{gather, slice};
use super::lineage::{Lineage, Writing};
use super::rows::Origins;
use crate::pipeline::spec::ROUNDS_MAX;
use crate::record::{Batch, BatchRef, Headers, HeadersRef};

/// The header that says the round of a record. Its name begins with the [prefix](super::dead_letter::PREFIX) of those of
/// dead letters: both are the host's.
pub(in crate::pipeline) const HEADER: &str = "millstream.round";
/// The header that says which commit wrote a record.
const COMMIT: &str = "millstream.commit";
/// Stands for no round: that of what a timer gives, or of a record whose header is not the pipeline's.
pub(in crate::pipeline) const UNKNOWN: u32 = u32::MAX;

/// A header of a row.
type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// The headers of a row without what the host says in them of rounds.
pub(in crate::pipeline) fn without(mut headers: Vec<Header<'_>>) -> Vec<Header<'_>> {
    headers.retain(|(name, _)| *name != HEADER.as_bytes() && *name != COMMIT.as_bytes());
    headers
}

/// Takes what the host says of rounds from records that do not come round: they may be copies of some that another
/// pipeline's loop wrote, and would be taken for rows of a history that is not theirs where they are copied on.
pub(in crate::pipeline) fn hide(records: &mut Batch) {
    let is_host_s =
        |name: Option<&[u8]>| name.is_some_and(|name| name == HEADER.as_bytes() || name == COMMIT.as_bytes());
    if records.headers.names.iter().any(is_host_s) {
        let mut hidden = Headers::default();
        records.headers.view().rows().for_each(|row| hidden.push_row(without(row)));
        records.headers = hidden;
    }
}

/// Headers with one more for each row, which says by which commit they are written.
pub(in crate::pipeline) fn with_writing(headers: HeadersRef<'_>, writing: &str) -> Headers {
    let mut with = Headers::default();
    let writing = (COMMIT.as_bytes(), Some(writing.as_bytes()));
    headers.rows().for_each(|row| with.push_row(row.into_iter().chain([writing])));
    with
}

/// What is known of records that came round.
#[derive(Debug)]
pub(in crate::pipeline) struct CameRound {
    /// The round of each record.
    pub(super) rounds: Vec<u32>,
    /// Those of the pipeline's history, and which records they are, if there are others.
    kept: Option<(Batch, Vec<u32>)>,
}

impl CameRound {
    /// What records say, and the records without what is the host's in their headers. Headers of others stay if they are
    /// `carried`.
    pub(super) fn read(records: BatchRef<'_>, lineage: &Lineage, carried: bool) -> (Batch, Self) {
        let mut without_host = BatchRef { headers: HeadersRef::default(), ..records }.to_owned();
        let (mut rounds, mut kept) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
        let headers = records.headers.rows().chain(std::iter::repeat_with(Vec::new));
        for (record, headers) in (0..records.len() as u32).zip(headers) {
            rounds.push(round_of(&headers));
            if writing_of(&headers).is_none_or(|writing| lineage.has(writing)) {
                kept.push(record);
            }
            if carried {
                without_host.headers.push_row(without(headers));
            }
        }
        let kept = (kept.len() < records.len()).then(|| (gather(without_host.view(), &kept), kept));
        (without_host, Self { rounds, kept })
    }

    /// The rows of some of the records: without those that are not of the pipeline's history. None if there are no such.
    pub(super) fn rows(&self, records: Range<usize>) -> Option<(BatchRef<'_>, Origins<'_>)> {
        let (rows, kept) = self.kept.as_ref()?;
        let place = |record: usize| kept.partition_point(|&of| (of as usize) < record);
        let range = place(records.start)..place(records.end);
        Some((slice(rows.view(), range.clone()), Origins::Listed(&kept[range])))
    }

    /// How many of the first records are not of the pipeline's history.
    pub(super) fn superseded(&self, records: usize) -> u64 {
        let of_history = |(_, kept): &(Batch, Vec<u32>)| kept.partition_point(|&of| (of as usize) < records);
        self.kept.as_ref().map_or(0, |kept| (records - of_history(kept)) as u64)
    }
}

/// The commit that wrote a record, if headers say one.
fn writing_of(headers: &[Header<'_>]) -> Option<Writing> {
    let said = headers.iter().find(|(name, _)| *name == COMMIT.as_bytes());
    said.and_then(|(_, value)| Writing::parse((*value)?))
}

/// The round that headers say.
fn round_of(headers: &[Header<'_>]) -> u32 {
    let mut of_round = headers.iter().filter(|(name, _)| *name == HEADER.as_bytes()).map(|(_, value)| *value);
    match (of_round.next(), of_round.next()) {
        (None, _) => 0,
        (Some(value), None) => value.and_then(parse).unwrap_or(UNKNOWN),
        (Some(_), Some(_)) => UNKNOWN,
    }
}

/// A round as the pipeline writes it, which is never 0.
fn parse(value: &[u8]) -> Option<u32> {
    let round: u32 = std::str::from_utf8(value).ok()?.parse().ok()?;
    ((1..=ROUNDS_MAX).contains(&round) && round.to_string().as_bytes() == value).then_some(round)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PipelineId;
    use crate::pipeline::engine::dead_letter::PREFIX;

    #[test]
    fn a_round_is_what_the_pipeline_could_have_written() {
        assert!(HEADER.starts_with(PREFIX));
        let of = |values: &[Option<&str>]| {
            let headers = values.iter().map(|value| (HEADER.as_bytes(), value.map(str::as_bytes)));
            let others = [(&b"other"[..], Some(&b"7"[..]))];
            round_of(&others.into_iter().chain(headers).collect::<Vec<_>>())
        };
        assert_eq!((of(&[]), of(&[Some("1")]), of(&[Some("10000")])), (0, 1, 10_000));
        for wrong in
            ["", "0", "-1", "+1", "01", "1 ", "10001", "4294967295", "4294967296", "99999999999999999999", "\u{661}"]
        {
            assert_eq!(of(&[Some(wrong)]), UNKNOWN, "{wrong}");
        }
        assert_eq!((of(&[None]), of(&[Some("1"), Some("1")])), (UNKNOWN, UNKNOWN));
    }

    fn records(headers: &[&[(&str, &str)]]) -> Batch {
        let mut records = Batch::default();
        for (number, headers) in headers.iter().enumerate() {
            records.push(number as i64, Some(b"k"), Some(b"v"));
            records.headers.push_row(headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))));
        }
        records
    }

    #[test]
    fn only_what_is_the_host_s_is_taken_from_headers() {
        let records = records(&[&[("a", "1"), (HEADER, "3"), (COMMIT, "?")], &[("a", "2")]]);
        let (carried, came) = CameRound::read(records.view(), &Lineage::default(), true);
        assert_eq!((carried.headers.counts, carried.headers.names.bytes), (vec![1, 1], b"aa".to_vec()));
        assert_eq!((came.rounds.as_slice(), came.rows(0..2).is_none()), (&[3, 0][..], true));
        let (bare, _) = CameRound::read(records.view(), &Lineage::default(), false);
        assert!(!bare.headers.are_carried());
    }

    #[test]
    fn records_that_do_not_come_round_lose_what_is_the_host_s() {
        let mut copies = records(&[&[("a", "1"), (HEADER, "3"), (COMMIT, "7-0-1-1")], &[("a", "2")]]);
        hide(&mut copies);
        assert_eq!((copies.headers.counts, copies.headers.names.bytes), (vec![1, 1], b"aa".to_vec()));
    }

    #[test]
    fn records_of_another_history_are_left_out_by_their_places() {
        let of = |commit: &'static str| [(HEADER, "1"), (COMMIT, commit)];
        let all = [of("7-0-1-1"), of("7-0-1-2"), of("7-0-1-1"), of("7-0-2-9"), of("nobody")];
        let records = records(&all.iter().map(|headers| &headers[..]).collect::<Vec<_>>());
        let topic = || Some("round".parse().expect("a name"));
        let mut lineage = Lineage::default();
        lineage.begin(PipelineId(7).task(), 1, topic());
        lineage.commit(1);
        lineage.begin(PipelineId(7).task(), 5, topic());
        let (_, came) = CameRound::read(records.view(), &lineage, false);
        let places = |records: Range<usize>| {
            let (rows, origins) = came.rows(records).expect("there are others");
            (0..rows.len() as u32).map(|row| (rows.timestamps[row as usize], origins.of(row))).collect::<Vec<_>>()
        };
        assert_eq!(places(0..5), [(0, 0), (2, 2), (4, 4)]);
        assert_eq!((places(1..2), places(1..4)), (Vec::new(), vec![(2, 2)]));
        assert_eq!([0, 1, 2, 4, 5].map(|records| came.superseded(records)), [0, 0, 1, 2, 2]);
    }
}

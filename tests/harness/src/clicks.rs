//! A stream of page views, and the answer to it.
//!
//! The stream is difficult on purpose: rows out of order, stragglers that come too late, lines that no parser
//! takes. It is the same for the same seed. The answer (views of each page and minute, rows that are late, lines that are
//! malformed) is made beside it, row by row, from what the platform promises and not from how it works: a row is late if
//! the watermark of its own partition, as the rows before it left it, covers the last millisecond of its window.

use std::collections::HashMap;
use std::io::Write;

use millstream::record::Batch;

use crate::random::Random;

/// The length of a window.
pub const MINUTE_MS: i64 = 60_000;
/// Where event time begins: midnight of 2026-01-01, UTC.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// What the stream is like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many pages there are; the first are viewed most.
    pub pages: u64,
    /// By how much rows may be older than the newest before them without being late, as the pipeline is told.
    pub disorder_ms: i64,
    /// One row in so many is a straggler, older than that by up to three minutes.
    pub straggler_one_in: u64,
    /// One row in so many is malformed.
    pub malformed_one_in: u64,
    /// One row in so many is the click before once more, as a browser sends it that got no answer. It is a row like any
    /// other: nothing in the pipeline looks for repeated clicks, so it counts.
    pub repeated_one_in: u64,
}

impl Shape {
    /// A shop of 40 pages, 30 s of disorder, one straggler in 5,000 rows, one malformed line in 1,000, and one click in
    /// 500 that comes again.
    pub const SHOP: Self =
        Self { pages: 40, disorder_ms: 30_000, straggler_one_in: 5_000, malformed_one_in: 1_000, repeated_one_in: 500 };
}

/// The answer to what has been made so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Views of each page in each window, by the window's start.
    pub views: HashMap<(u64, i64), u64>,
    /// Rows, whatever became of them.
    pub rows: u64,
    /// Rows that are late.
    pub late: u64,
    /// Rows that are malformed.
    pub malformed: u64,
    /// Rows that are the click before once more.
    pub repeated: u64,
}

impl Answer {
    /// Adds the answer to another partition.
    pub fn add(&mut self, other: &Self) {
        for (place, views) in &other.views {
            *self.views.entry(*place).or_default() += views;
        }
        self.rows += other.rows;
        self.late += other.late;
        self.malformed += other.malformed;
        self.repeated += other.repeated;
    }
}

/// The stream of one partition.
#[derive(Debug)]
pub struct Clicks {
    shape: Shape,
    random: Random,
    /// Event time in microseconds.
    clock_us: i64,
    /// The newest event time of a row that was not malformed.
    newest_ms: Option<i64>,
    answer: Answer,
    /// The page and time of the row before, if that was a click; `line` is its text.
    last: Option<(u64, i64)>,
    line: Vec<u8>,
}

impl Clicks {
    /// The stream of a partition.
    pub fn new(shape: Shape, seed: u64, partition: u32) -> Self {
        let random = Random::new(seed ^ (u64::from(partition) << 32));
        let clock_us = EPOCH_MS * 1000;
        Self {
            shape,
            random,
            clock_us,
            newest_ms: None,
            answer: Answer::default(),
            last: None,
            line: Vec::with_capacity(256),
        }
    }

    /// Appends rows that follow each other by so many microseconds.
    pub fn next_rows(&mut self, rows: usize, step_us: i64, into: &mut Batch) {
        for _ in 0..rows {
            self.clock_us += step_us;
            if self.random.one_in(self.shape.malformed_one_in) {
                self.malformed();
                self.last = None;
            } else if let Some((page, time)) = self.last
                && self.random.one_in(self.shape.repeated_one_in)
            {
                self.answer.repeated += 1;
                self.count(page, time);
            } else {
                let (page, time) = (self.page(), self.time());
                self.last = Some((page, time));
                self.count(page, time);
                write_click(&mut self.line, time, page, self.random.below(100_000));
            }
            self.answer.rows += 1;
            into.push(self.clock_us / 1000, None, Some(&self.line));
        }
    }

    /// The row that ends a stream: a view that moves event time past all windows that have views.
    pub fn closing_row(end_ms: i64, into: &mut Batch) {
        let mut line = Vec::new();
        write_click(&mut line, end_ms, 0, 0);
        into.push(end_ms, None, Some(&line));
    }

    /// An event time for the closing rows of these streams.
    pub fn end_ms<'a>(streams: impl IntoIterator<Item = &'a Self>) -> i64 {
        let last = |stream: &Self| stream.clock_us / 1000 + stream.shape.disorder_ms;
        streams.into_iter().map(last).max().unwrap_or(EPOCH_MS) + 2 * MINUTE_MS
    }

    /// The answer to this partition.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Event time up to which all windows are complete for this partition: its watermark.
    pub fn watermark_ms(&self) -> Option<i64> {
        Some(self.newest_ms? - self.shape.disorder_ms - 1)
    }

    fn page(&mut self) -> u64 {
        // The least of two: low numbers are more frequent, as front pages are.
        self.random.below(self.shape.pages).min(self.random.below(self.shape.pages))
    }

    fn time(&mut self) -> i64 {
        let disorder_ms = self.shape.disorder_ms;
        let behind_ms = if self.random.one_in(self.shape.straggler_one_in) {
            disorder_ms + self.random.below(3 * MINUTE_MS as u64) as i64
        } else {
            self.random.below(disorder_ms as u64 + 1) as i64
        };
        self.clock_us / 1000 - behind_ms
    }

    fn count(&mut self, page: u64, time: i64) {
        let start = time.div_euclid(MINUTE_MS) * MINUTE_MS;
        let is_late = self.watermark_ms().is_some_and(|watermark| start + MINUTE_MS - 1 <= watermark);
        if is_late {
            self.answer.late += 1;
        } else {
            *self.answer.views.entry((page, start)).or_default() += 1;
        }
        self.newest_ms = self.newest_ms.max(Some(time));
    }

    fn malformed(&mut self) {
        self.answer.malformed += 1;
        self.line.clear();
        let line: &[u8] = match self.random.below(5) {
            0 => b"GET /p/1 HTTP/1.1",
            1 => b"{\"time\":1767225600000,\"page\":\"/p/1\"",
            2 => b"{\"time\":1767225600000,\"user\":\"u7\"}",
            3 => b"{\"time\":\"yesterday\",\"page\":\"/p/1\"}",
            _ => b"",
        };
        self.line.extend_from_slice(line);
    }
}

/// The name of a page.
pub fn page_name(page: u64) -> String {
    format!("/p/{page}")
}

/// The number of a page.
pub fn page_number(name: &str) -> Option<u64> {
    name.strip_prefix("/p/")?.parse().ok()
}

fn write_click(line: &mut Vec<u8>, time: i64, page: u64, user: u64) {
    line.clear();
    write!(line, r#"{{"time":{time},"page":"/p/{page}","user":"u{user}","agent":"Mozilla/5.0 (X11)"}}"#)
        .expect("writing to memory does not fail");
}

/// How results compare with the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Windows (one page, one minute) whose count is right.
    pub right: u64,
    /// Views that are missing in the results.
    pub lost: u64,
    /// Views that the results have too often.
    pub doubled: u64,
    /// Results that came a second time for the same page and minute.
    pub repeated: u64,
    /// The first differences, for a person.
    pub examples: Vec<String>,
}

impl Comparison {
    /// Compares results (page, start of window, count) with the answer, each window of it once.
    pub fn new(answer: &Answer, results: impl IntoIterator<Item = (u64, i64, u64)>) -> Self {
        let mut comparison = Self::default();
        let mut missing = answer.views.clone();
        for (page, start, count) in results {
            let expected = missing.remove(&(page, start));
            if expected.is_none() && answer.views.contains_key(&(page, start)) {
                comparison.repeated += 1;
            }
            comparison.window(page, start, expected.unwrap_or(0), count);
        }
        for ((page, start), expected) in missing {
            comparison.window(page, start, expected, 0);
        }
        comparison
    }

    /// Whether every window is there once with the right count.
    pub fn is_exact(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.repeated == 0
    }

    fn window(&mut self, page: u64, start: i64, expected: u64, count: u64) {
        if expected == count {
            self.right += 1;
            return;
        }
        self.lost += expected.saturating_sub(count);
        self.doubled += count.saturating_sub(expected);
        if self.examples.len() < 10 {
            self.examples.push(format!("{} from {start}: {count} views instead of {expected}", page_name(page)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(seed: u64, rows: usize) -> (Clicks, Batch) {
        let shape = Shape { straggler_one_in: 50, malformed_one_in: 40, ..Shape::SHOP };
        let mut clicks = Clicks::new(shape, seed, 0);
        let mut batch = Batch::default();
        clicks.next_rows(rows, 20_000, &mut batch);
        (clicks, batch)
    }

    #[test]
    fn the_same_seed_gives_the_same_stream_and_answer() {
        let (one, one_rows) = stream(3, 10_000);
        let (other, other_rows) = stream(3, 10_000);
        assert_eq!(one_rows, other_rows);
        assert_eq!(one.answer(), other.answer());
        assert_ne!(one_rows, stream(4, 10_000).1);
    }

    #[test]
    fn every_row_is_a_view_or_late_or_malformed() {
        let (clicks, batch) = stream(5, 20_000);
        let answer = clicks.answer();
        let views: u64 = answer.views.values().sum();
        assert_eq!((answer.rows, batch.len()), (20_000, 20_000));
        assert_eq!(views + answer.late + answer.malformed, 20_000);
        assert!(answer.late > 0 && answer.malformed > 0, "the stream has none of what it is there for: {answer:?}");
    }

    #[test]
    fn a_comparison_finds_what_is_lost_doubled_or_repeated() {
        let answer = Answer { views: HashMap::from([((1, 0), 5), ((2, 0), 3)]), ..Answer::default() };
        assert!(Comparison::new(&answer, [(1, 0, 5), (2, 0, 3)]).is_exact());
        assert_eq!(Comparison::new(&answer, [(1, 0, 5)]).lost, 3);
        assert_eq!(Comparison::new(&answer, [(1, 0, 4), (2, 0, 4)]).lost, 1);
        assert_eq!(Comparison::new(&answer, [(1, 0, 5), (2, 0, 4)]).doubled, 1);
        let again = Comparison::new(&answer, [(1, 0, 5), (2, 0, 3), (2, 0, 3)]);
        assert_eq!((again.repeated, again.doubled), (1, 3));
        assert_eq!(Comparison::new(&answer, [(1, 0, 5), (2, 0, 3), (9, 9, 1)]).doubled, 1);
    }
}

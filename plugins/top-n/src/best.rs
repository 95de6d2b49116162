//! The accumulator: the best rows of each group, in order.

use millstream_sdk::prelude::*;

use crate::Order;

/// A row that may be among the best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate<'a> {
    pub(crate) group: &'a str,
    pub(crate) number: f64,
    pub(crate) time: i64,
    pub(crate) row: &'a str,
}

/// The best rows, by group, then the better one first, then the earlier one.
#[derive(Debug, Clone, Default, PartialEq, Accumulator)]
pub struct Best {
    rows: Vec<Kept>,
}

#[derive(Debug, Clone, PartialEq, Accumulator)]
struct Kept {
    group: String,
    number: f64,
    time: i64,
    row: String,
}

impl Kept {
    fn candidate(&self) -> Candidate<'_> {
        Candidate { group: &self.group, number: self.number, time: self.time, row: &self.row }
    }

    /// Whether it comes before the other one, which came later.
    fn is_before(&self, order: Order, other: &Candidate<'_>) -> bool {
        let better = match order {
            Order::Greatest => self.number > other.number,
            Order::Least => self.number < other.number,
        };
        let same = self.number == other.number;
        self.group.as_str() < other.group || self.group == other.group && (better || same && self.time <= other.time)
    }
}

impl Best {
    /// Adds a row that came later than those that are there, if it is among the best of its group.
    pub(crate) fn add(&mut self, count: usize, order: Order, row: Candidate<'_>) {
        let first = self.rows.partition_point(|kept| kept.group.as_str() < row.group);
        let end = self.rows.partition_point(|kept| kept.group.as_str() <= row.group);
        let place = self.rows.partition_point(|kept| kept.is_before(order, &row));
        if place - first >= count {
            return;
        }
        if end - first >= count {
            self.rows.remove(end - 1);
        }
        let Candidate { group, number, time, row } = row;
        self.rows.insert(place, Kept { group: group.to_owned(), number, time, row: row.to_owned() });
    }

    /// Adds rows that came later.
    pub(crate) fn merge(&mut self, count: usize, order: Order, later: &Self) {
        later.rows.iter().for_each(|kept| self.add(count, order, kept.candidate()));
    }

    /// The rows, each with its rank in its group, counted from 1.
    pub(crate) fn ranked(&self) -> impl Iterator<Item = (u32, Candidate<'_>)> {
        self.rows
            .chunk_by(|one, next| one.group == next.group)
            .flat_map(|group| (1..).zip(group.iter().map(Kept::candidate)))
    }
}

//! The accumulator: 40 bytes.

use millstream_sdk::prelude::*;

/// Figures of a set of numbers.
#[derive(Debug, Clone, PartialEq, Accumulator)]
pub struct Summary {
    count: u64,
    sum: f64,
    /// What rounding has taken from the sum so far (Neumaier's summation).
    lost: f64,
    min: f64,
    max: f64,
}

impl Default for Summary {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, lost: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Summary {
    pub(crate) fn add(&mut self, number: f64) {
        self.count += 1;
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        self.add_to_sum(number);
    }

    pub(crate) fn merge(&mut self, later: &Self) {
        self.count += later.count;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.add_to_sum(later.sum);
        self.lost += later.lost;
    }

    fn add_to_sum(&mut self, number: f64) {
        let sum = self.sum + number;
        // The smaller of the two loses its low digits: they are what is left when the larger is taken away again.
        self.lost += if self.sum.abs() >= number.abs() { (self.sum - sum) + number } else { (number - sum) + self.sum };
        self.sum = sum;
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum + self.lost
    }

    pub(crate) fn min(&self) -> f64 {
        self.min
    }

    pub(crate) fn max(&self) -> f64 {
        self.max
    }

    pub(crate) fn mean(&self) -> f64 {
        self.sum() / self.count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(numbers: &[f64]) -> Summary {
        let mut summary = Summary::default();
        numbers.iter().for_each(|&number| summary.add(number));
        summary
    }

    #[test]
    fn digits_lost_to_rounding_come_back() {
        assert_eq!(summary(&[1.0, 1e100, 1.0, -1e100]).sum(), 2.0);
        assert_eq!(summary(&[0.1; 10]).sum(), 1.0);
    }

    #[test]
    fn the_order_of_merges_does_not_matter() {
        // Plain addition gives three different sums for these.
        let parts = [summary(&[1e16, 1.0, 1.0]), summary(&[3.0; 7]), summary(&[-1e16, 0.1])];
        let merged = |order: [usize; 3]| {
            let mut all = Summary::default();
            order.iter().for_each(|&part| all.merge(&parts[part]));
            (all.count(), all.sum(), all.min(), all.max())
        };
        let expected = (12, 23.1, -1e16, 1e16);
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]] {
            assert_eq!(merged(order), expected, "{order:?}");
        }
    }

    #[test]
    fn it_keeps_forty_bytes() {
        let mut bytes = Vec::new();
        summary(&[1.5, -2.0]).encode(&mut bytes);
        assert_eq!(bytes.len(), 40);
        assert_eq!(Summary::decode(&mut bytes.as_slice()), Some(summary(&[1.5, -2.0])));
    }
}

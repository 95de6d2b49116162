//! How fast a number changes.

use crate::error::{Error, Result};
use crate::state::Ordered;

const MS_PER_SECOND: f64 = 1_000.0;

/// Compares each reading of a key with the one before it, or with the one a span before it, by their times.
///
/// ```
/// use millstream_sdk::library::rate::Rate;
/// use millstream_sdk::prelude::*;
///
/// #[derive(Debug)]
/// struct Speed(Rate);
///
/// /// How fast the counter rises.
/// #[process]
/// impl Process for Speed {
///     type Config = NoConfig;
///     type Input<'a> = Json<f64>;
///     type State = Ordered<i64, f64>;
///
///     fn new(_: NoConfig) -> Result<Self> {
///         Ok(Speed(Rate::to_previous()))
///     }
///
///     fn on_row(&self, ctx: &mut Context<'_>, readings: &mut Ordered<i64, f64>, Json(count): Json<f64>) -> Result<()> {
///         let change = self.0.change(readings, ctx.time(), count);
///         ctx.emit(change.and_then(|change| change.per_second()).map(Json))
///     }
/// }
///
/// let speed = testing::plugin::<Speed>("{}").expect("there is nothing to configure");
/// let mut run = testing::keyed(&speed);
/// run.row(testing::Input::value("10").at(1_000));
/// run.row(testing::Input::value("20").at(3_000));
/// assert_eq!(run.end().values(), ["5.0"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    span: i64,
}

/// What lies between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The time of the earlier one.
    pub since: i64,
    /// The time between them, in milliseconds.
    pub elapsed: i64,
    /// The later one minus the earlier one.
    pub difference: f64,
}

impl Change {
    /// The difference per second; none for two readings of the same time.
    pub fn per_second(&self) -> Option<f64> {
        (self.elapsed != 0).then(|| self.difference / self.elapsed as f64 * MS_PER_SECOND)
    }
}

impl Rate {
    /// Against the reading before.
    pub fn to_previous() -> Self {
        Self { span: 0 }
    }

    /// Against the newest reading that is at least this many milliseconds older.
    ///
    /// # Errors
    /// `bad-span`: a span of zero or less.
    pub fn over(milliseconds: i64) -> Result<Self> {
        if milliseconds <= 0 {
            return Err(Error::new("bad-span", format_args!("a span of {milliseconds} ms is not above zero")));
        }
        Ok(Self { span: milliseconds })
    }

    /// Takes a reading, and compares it with an earlier one; none if there is none any more. Only what later readings can
    /// be compared with is kept: a reading before that changes nothing.
    pub fn change(&self, readings: &mut Ordered<i64, f64>, time: i64, value: f64) -> Option<Change> {
        let until = time.saturating_sub(self.span);
        let base = readings.range(..=until).next_back().map(|(&since, &base)| (since, base));
        let newest = readings.last().map(|(&newest, _)| newest);
        readings.insert(time, value);
        // The newest reading says what the next ones are compared with, if they come in order.
        let kept_from = newest.map_or(time, |newest| newest.max(time)).saturating_sub(self.span);
        let from = readings.range(..=kept_from).next_back().map(|(&from, _)| from);
        if let Some(from) = from {
            readings.remove(..from);
            if self.span == 0 {
                readings.keep_last(1);
            }
        }
        base.map(|(since, base)| Change { since, elapsed: time.saturating_sub(since), difference: value - base })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(rate: Rate, readings: &[(i64, f64)]) -> (Vec<Option<f64>>, usize) {
        let mut kept = Ordered::new();
        let changes = readings.iter().map(|&(time, value)| rate.change(&mut kept, time, value));
        (changes.map(|change| change.map(|change| change.difference)).collect(), kept.len())
    }

    #[test]
    fn each_reading_is_compared_with_the_one_before() {
        let readings = [(1_000, 5.0), (2_000, 7.0), (1_500, 6.0), (2_000, 8.0), (4_000, 4.0)];
        // The third one comes too late to have one before it, and is none for those after it.
        assert_eq!(changes(Rate::to_previous(), &readings), (vec![None, Some(2.0), None, Some(1.0), Some(-4.0)], 1));
    }

    #[test]
    fn over_a_span_it_is_the_newest_that_is_old_enough() {
        let rate = Rate::over(1_000).expect("a second is a span");
        let readings = [(0, 0.0), (500, 1.0), (1_000, 2.0), (1_400, 3.0), (1_500, 4.0), (9_000, 9.0)];
        let expected = vec![None, None, Some(2.0), Some(3.0), Some(3.0), Some(5.0)];
        assert_eq!(changes(rate, &readings), (expected, 2));
        let late = [(0, 0.0), (1_200, 5.0), (1_100, 3.0), (2_150, 7.0)];
        assert_eq!(changes(rate, &late).0, [None, Some(5.0), Some(3.0), Some(4.0)], "one out of order has its place");
    }

    #[test]
    fn per_second_needs_time_to_pass() {
        let change = |elapsed| Change { since: 0, elapsed, difference: 3.0 };
        assert_eq!((change(0).per_second(), change(500).per_second()), (None, Some(6.0)));
    }

    #[test]
    fn a_span_is_above_zero() {
        assert!(Rate::over(0).is_err() && Rate::over(-1).is_err());
    }
}

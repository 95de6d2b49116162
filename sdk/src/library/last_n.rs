//! The last rows of a key.

use crate::error::{Error, Result};
use crate::library::Item;
use crate::state::{List, Ordered};

/// Keeps the last so many values of a key: in the order in which they came, or in that of their times.
///
/// ```
/// use millstream_sdk::library::last_n::LastN;
/// use millstream_sdk::prelude::*;
///
/// #[derive(Debug)]
/// struct Spent(LastN);
///
/// /// What the last three orders cost together.
/// #[process]
/// impl Process for Spent {
///     type Config = NoConfig;
///     type Input<'a> = Json<u64>;
///     type State = List<u64>;
///
///     fn new(_: NoConfig) -> Result<Self> {
///         Ok(Spent(LastN::new(3)?))
///     }
///
///     fn on_row(&self, ctx: &mut Context<'_>, last: &mut List<u64>, Json(amount): Json<u64>) -> Result<()> {
///         self.0.push(last, amount);
///         ctx.emit(Json(last.iter().sum::<u64>()))
///     }
/// }
///
/// let spent = testing::plugin::<Spent>("{}").expect("there is nothing to configure");
/// let mut run = testing::keyed(&spent);
/// for amount in ["1", "2", "3", "4"] {
///     run.row(amount);
/// }
/// assert_eq!(run.end().values(), ["1", "3", "6", "9"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastN {
    count: usize,
}

impl LastN {
    /// Keeps so many.
    ///
    /// # Errors
    /// `bad-count`: none are to be kept.
    pub fn new(count: usize) -> Result<Self> {
        if count == 0 {
            return Err(Error::new("bad-count", "the last 0 rows are none: keep 1 at least"));
        }
        Ok(Self { count })
    }

    /// Adds a value at the end. Answers with the one that is not among the last any more.
    pub fn push<T: Item + Clone>(&self, last: &mut List<T>, value: T) -> Option<T> {
        last.push(value);
        let gone = if last.len() > self.count { last.pop_first() } else { None };
        // More than one where there were to be more before.
        last.keep_last(self.count);
        gone
    }

    /// Adds a value at its time. Answers with the one that is not among the last any more: the value itself, if as many
    /// later ones have come before it.
    pub fn insert<T: Item + Clone>(&self, last: &mut Ordered<i64, T>, time: i64, value: T) -> Option<T> {
        last.insert(time, value);
        let gone = if last.len() > self.count { last.pop_first().map(|(_, value)| value) } else { None };
        last.keep_last(self.count);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let last_two = LastN::new(2).expect("two is fine");
        let mut last = List::new();
        let gone: Vec<_> = (1..=4).map(|value| last_two.push(&mut last, value)).collect();
        assert_eq!(gone, [None, None, Some(1), Some(2)]);
        assert_eq!(last.iter().copied().collect::<Vec<i32>>(), [3, 4]);
    }

    #[test]
    fn by_time_a_row_that_comes_late_has_its_place() {
        let last_two = LastN::new(2).expect("two is fine");
        let mut last = Ordered::new();
        let gone: Vec<_> = [(30, 'c'), (10, 'a'), (20, 'b'), (5, 'x'), (30, 'd')]
            .map(|(time, value)| last_two.insert(&mut last, time, value as u32))
            .into();
        assert_eq!(gone, [None, None, Some('a' as u32), Some('x' as u32), Some('b' as u32)]);
        assert_eq!(last.iter().map(|(&time, _)| time).collect::<Vec<_>>(), [30, 30]);
    }

    #[test]
    fn fewer_than_before_are_kept_once_the_configuration_says_so() {
        let mut last = List::new();
        (0..5).for_each(|value| last.push(value));
        LastN::new(2).expect("two is fine").push(&mut last, 5);
        assert_eq!(last.iter().copied().collect::<Vec<i32>>(), [4, 5]);
    }

    #[test]
    fn none_cannot_be_the_last() {
        assert_eq!(LastN::new(0).map_err(|error| error.code().to_owned()), Err("bad-count".to_owned()));
    }
}

//! Watermarks, and those of inputs with bounded disorder.

/// Says that no row at or before this time is to be expected. Only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Watermark {
    /// Nothing is known yet.
    #[default]
    None,
    /// No row at or before this millisecond is to be expected.
    At(i64),
}

impl Watermark {
    /// Whether everything at or before `time` has been seen.
    pub fn covers(self, time: i64) -> bool {
        self >= Self::At(time)
    }

    /// The time, if anything is known.
    pub fn time(self) -> Option<i64> {
        match self {
            Self::None => None,
            Self::At(time) => Some(time),
        }
    }
}

/// By how much rows of one input may be older than the newest before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disorder {
    /// The bound in milliseconds, not negative.
    pub bound_ms: i64,
}

impl Disorder {
    /// The watermark after rows, the newest of which has this event time.
    ///
    /// One millisecond less than the newest minus the bound, because rows of equal time may follow. Near the least time
    /// there is, nothing is known.
    pub fn watermark(self, newest: Option<i64>) -> Watermark {
        match newest.and_then(|newest| newest.checked_sub(self.bound_ms)?.checked_sub(1)) {
            Some(time) => Watermark::At(time),
            None => Watermark::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_of_the_newest_time_may_follow_when_there_is_no_disorder() {
        let watermark = Disorder { bound_ms: 0 }.watermark(Some(1000));
        assert!(watermark.covers(999));
        assert!(!watermark.covers(1000));
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let disorder = Disorder { bound_ms: 10 };
        assert_eq!(disorder.watermark(Some(i64::MIN + 5)), Watermark::None);
        assert_eq!(disorder.watermark(Some(i64::MIN + 11)), Watermark::At(i64::MIN));
        assert_eq!(disorder.watermark(Some(i64::MAX)), Watermark::At(i64::MAX - 11));
    }

    proptest! {
        #[test]
        fn a_watermark_never_goes_back(times in proptest::collection::vec(any::<i64>(), 1..50), bound_ms in 0..i64::MAX) {
            let disorder = Disorder { bound_ms };
            let mut newest = None;
            let mut last = Watermark::None;
            for time in times {
                newest = newest.max(Some(time));
                let now = disorder.watermark(newest);
                prop_assert!(now >= last);
                prop_assert!(!now.covers(newest.unwrap_or(time)));
                last = now;
            }
        }
    }
}

//! Which window a row belongs to.

/// A window of event time, `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// First millisecond.
    pub start: i64,
    /// First millisecond after it.
    pub end: i64,
}

impl Window {
    /// The last millisecond: the event time of the window's results.
    pub fn last(self) -> i64 {
        self.end - 1
    }

    /// Whether a row of this time is in it.
    pub fn contains(self, time: i64) -> bool {
        self.start <= time && time < self.end
    }
}

/// Windows of one size, side by side, aligned to the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tumbling {
    size_ms: i64,
}

impl Tumbling {
    /// Windows of that size, which must be above zero.
    pub fn new(size_ms: i64) -> Option<Self> {
        (size_ms > 0).then_some(Self { size_ms })
    }

    /// The size in milliseconds.
    pub fn size_ms(self) -> i64 {
        self.size_ms
    }

    /// The window of a time, by floor division, so that windows before the epoch are like those after it. `None` where
    /// the window would reach past the ends of time.
    pub fn window_of(self, time: i64) -> Option<Window> {
        let start = time.checked_sub(time.rem_euclid(self.size_ms))?;
        Some(Window { start, end: start.checked_add(self.size_ms)? })
    }

    /// The window that begins at `start`.
    pub fn starting_at(self, start: i64) -> Window {
        Window { start, end: start.saturating_add(self.size_ms) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minutes() -> Tumbling {
        Tumbling::new(60_000).expect("a minute is above zero")
    }

    #[test]
    fn a_window_is_half_open() {
        let window = minutes().window_of(60_000).expect("far from the ends");
        assert_eq!(window, Window { start: 60_000, end: 120_000 });
        assert_eq!(minutes().window_of(59_999).map(|w| w.end), Some(60_000));
        assert!(window.contains(119_999) && !window.contains(120_000));
    }

    #[test]
    fn times_before_the_epoch_are_floored() {
        assert_eq!(minutes().window_of(-1), Some(Window { start: -60_000, end: 0 }));
        assert_eq!(minutes().window_of(-60_000), Some(Window { start: -60_000, end: 0 }));
    }

    #[test]
    fn windows_past_the_ends_of_time_do_not_exist() {
        assert_eq!(minutes().window_of(i64::MIN), None);
        assert_eq!(minutes().window_of(i64::MAX), None);
        assert!(Tumbling::new(0).is_none() && Tumbling::new(-5).is_none());
    }

    proptest! {
        #[test]
        fn every_time_is_in_exactly_one_window(time in -(1_i64 << 60)..1_i64 << 60, size in 1_i64..1 << 40) {
            let tumbling = Tumbling::new(size).expect("above zero");
            let window = tumbling.window_of(time).expect("far from the ends");
            prop_assert!(window.contains(time));
            prop_assert_eq!(tumbling.window_of(window.start), Some(window));
            prop_assert_eq!(tumbling.window_of(window.last()), Some(window));
            prop_assert_ne!(tumbling.window_of(window.end), Some(window));
        }
    }
}

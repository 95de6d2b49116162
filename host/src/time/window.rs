//! Which windows a row belongs to.

/// Most windows a row may be in. Ten thousand is a day of ten-second steps; a window of a day each millisecond would be
/// 86 million results a row.
pub const HOPS_MAX: i64 = 10_000;

/// A window of event time, `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// First millisecond.
    pub start: i64,
    /// First millisecond after it.
    pub end: i64,
}

impl Window {
    /// The window of everything.
    pub const ALL: Self = Self { start: i64::MIN, end: i64::MAX };

    /// The last millisecond: the event time of the window's results.
    pub fn last(self) -> i64 {
        self.end - 1
    }

    /// Whether a row of this time is in it.
    pub fn contains(self, time: i64) -> bool {
        self.start <= time && time < self.end
    }

    /// Whether two sessions are one: they overlap, or one ends where the other begins.
    pub fn touches(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// The least window that covers both.
    pub fn cover(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// Windows of one size, side by side, aligned to the epoch or to an offset from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tumbling {
    size_ms: i64,
    /// Below the size and not negative.
    offset_ms: i64,
}

impl Tumbling {
    /// Windows of that size, which must be above zero. An offset shifts the grid, as for a time zone; only its remainder
    /// by the size counts.
    pub fn new(size_ms: i64, offset_ms: i64) -> Option<Self> {
        (size_ms > 0).then(|| Self { size_ms, offset_ms: offset_ms.rem_euclid(size_ms) })
    }

    /// The size in milliseconds.
    pub fn size_ms(self) -> i64 {
        self.size_ms
    }

    /// The start of the window that begins first at or after the epoch.
    pub fn offset_ms(self) -> i64 {
        self.offset_ms
    }

    /// The window of a time, by floor division, so that windows before the epoch are like those after it. `None` where
    /// the window would reach past the ends of time.
    pub fn window_of(self, time: i64) -> Option<Window> {
        let start = time.checked_sub(self.into(time))?;
        Some(Window { start, end: start.checked_add(self.size_ms)? })
    }

    /// The window of a time that is known to have one.
    pub fn window_within(self, time: i64) -> Window {
        self.starting_at(time - self.into(time))
    }

    /// The window that begins at `start`.
    pub fn starting_at(self, start: i64) -> Window {
        Window { start, end: start.saturating_add(self.size_ms) }
    }

    /// How far a time is into its window.
    fn into(self, time: i64) -> i64 {
        // Both terms are below the size, so the sum of one and the difference to the other cannot overflow.
        let into = time.rem_euclid(self.size_ms) - self.offset_ms;
        if into < 0 { into + self.size_ms } else { into }
    }
}

/// Windows of one size that begin every so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hopping {
    size_ms: i64,
    starts: Tumbling,
}

impl Hopping {
    /// Windows of that size that begin `slide` apart, both above zero, with at most [`HOPS_MAX`] at a time.
    pub fn new(size_ms: i64, slide_ms: i64, offset_ms: i64) -> Option<Self> {
        let starts = Tumbling::new(slide_ms, offset_ms)?;
        (size_ms > 0 && (size_ms - 1) / slide_ms < HOPS_MAX).then_some(Self { size_ms, starts })
    }

    /// The size in milliseconds.
    pub fn size_ms(self) -> i64 {
        self.size_ms
    }

    /// Milliseconds from one start to the next.
    pub fn slide_ms(self) -> i64 {
        self.starts.size_ms
    }

    /// The first start at or after the epoch.
    pub fn offset_ms(self) -> i64 {
        self.starts.offset_ms
    }

    /// The windows of a time, the earliest first; `None` where one would reach past the ends of time. There are none for
    /// times between windows that are shorter than the slide.
    pub fn windows_of(self, time: i64) -> Option<impl Iterator<Item = Window>> {
        let last = self.starts.window_of(time)?.start;
        last.checked_add(self.size_ms)?;
        // The number of windows that reach back from the last one over `time`.
        let count =
            if time - last < self.size_ms { (self.size_ms - (time - last) - 1) / self.slide_ms() + 1 } else { 0 };
        let first = last.checked_sub((count - 1).max(0).checked_mul(self.slide_ms())?)?;
        let (size, slide) = (self.size_ms, self.slide_ms());
        Some((0..count).map(move |hop| Window { start: first + hop * slide, end: first + hop * slide + size }))
    }

    /// The window after one.
    pub fn next(self, window: Window) -> Option<Window> {
        let slide = self.slide_ms();
        Some(Window { start: window.start.checked_add(slide)?, end: window.end.checked_add(slide)? })
    }

    /// The last window that has a slice.
    pub fn last_window(self, slice: Window) -> Option<Window> {
        let start = self.starts.window_of(slice.start)?.start;
        Some(Window { start, end: start.checked_add(self.size_ms)? })
    }

    /// The number of the slice that begins at a time. Numbers are dense and in the order of time.
    pub fn slice_number(self, start: i64) -> i64 {
        // Of a hop with two slices the number doubles, but then a hop has at least two milliseconds.
        let from_offset = i128::from(start) - i128::from(self.offset_ms());
        let slide = i128::from(self.slide_ms());
        let number = from_offset.div_euclid(slide) * self.slices_of_hop();
        (number + i128::from(from_offset.rem_euclid(slide) != 0)) as i64
    }

    /// Where the slice of a number begins; the ends of time stand for what is past them.
    pub fn slice_start(self, number: i64) -> i64 {
        let (number, slices) = (i128::from(number), self.slices_of_hop());
        let hop = number.div_euclid(slices) * i128::from(self.slide_ms()) + i128::from(self.offset_ms());
        let within = if number.rem_euclid(slices) == 0 { 0 } else { self.size_ms % self.slide_ms() };
        (hop + i128::from(within)).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    fn slices_of_hop(self) -> i128 {
        if self.size_ms % self.slide_ms() == 0 { 1 } else { 2 }
    }

    /// The slice of a time: the longest stretch around it that every window has all of or nothing. Rows are kept by
    /// slice, so that a row is added once however many windows it is in.
    pub fn slice_of(self, time: i64) -> Option<Window> {
        let hop = self.starts.window_of(time)?;
        // Windows end this far into a hop.
        let ends = self.size_ms % self.slide_ms();
        let middle = hop.start + ends;
        Some(if time < middle {
            Window { start: hop.start, end: middle }
        } else {
            Window { start: middle, end: hop.end }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minutes() -> Tumbling {
        Tumbling::new(60_000, 0).expect("a minute is above zero")
    }

    fn starts(hopping: Hopping, time: i64) -> Vec<i64> {
        hopping.windows_of(time).expect("far from the ends").map(|window| window.start).collect()
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
    fn an_offset_shifts_the_grid_either_way() {
        let later = Tumbling::new(5000, 100).expect("above zero");
        assert_eq!(later.window_of(99), Some(Window { start: -4900, end: 100 }));
        assert_eq!(later.window_of(5099), Some(Window { start: 100, end: 5100 }));
        let earlier = Tumbling::new(5000, -100).expect("above zero");
        assert_eq!(earlier.window_of(4899), Some(Window { start: -100, end: 4900 }));
    }

    #[test]
    fn windows_past_the_ends_of_time_do_not_exist() {
        assert_eq!(minutes().window_of(i64::MIN), None);
        assert_eq!(minutes().window_of(i64::MAX), None);
        assert!(Tumbling::new(0, 0).is_none() && Tumbling::new(-5, 0).is_none());
    }

    #[test]
    fn a_time_is_in_as_many_windows_as_hops_fit() {
        let hopping = Hopping::new(12, 5, 0).expect("sound");
        assert_eq!(starts(hopping, 21), [10, 15, 20]);
        assert_eq!(starts(hopping, 33), [25, 30]);
        let gaps = Hopping::new(2, 5, 0).expect("sound");
        assert_eq!((starts(gaps, 6), starts(gaps, 8)), (vec![5], vec![]));
    }

    #[test]
    fn too_many_windows_at_a_time_are_refused() {
        assert!(Hopping::new(86_400_000, 1, 0).is_none());
        assert!(Hopping::new(86_400_000, 60_000, 0).is_some());
        assert!(Hopping::new(HOPS_MAX, 1, 0).is_some() && Hopping::new(HOPS_MAX + 1, 1, 0).is_none());
    }

    proptest! {
        #[test]
        fn every_time_is_in_exactly_one_window(
            time in -(1_i64 << 60)..1_i64 << 60, size in 1_i64..1 << 40, offset in any::<i64>()
        ) {
            let tumbling = Tumbling::new(size, offset).expect("above zero");
            let window = tumbling.window_of(time).expect("far from the ends");
            prop_assert!(window.contains(time));
            prop_assert_eq!((window.start - tumbling.offset_ms()).rem_euclid(size), 0);
            prop_assert_eq!(tumbling.window_of(window.start), Some(window));
            prop_assert_eq!(tumbling.window_within(window.last()), window);
            prop_assert_ne!(tumbling.window_of(window.end), Some(window));
        }

        #[test]
        fn hopping_windows_are_those_that_contain_the_time(
            time in -500_i64..500, size in 1_i64..50, slide in 1_i64..50, offset in -60_i64..60
        ) {
            let hopping = Hopping::new(size, slide, offset).expect("sound");
            let all = (-700..700).filter(|start| (start - offset).rem_euclid(slide) == 0);
            let expected: Vec<i64> = all.filter(|start| *start <= time && time < start + size).collect();
            prop_assert_eq!(starts(hopping, time), expected);
        }

        #[test]
        fn a_slice_is_in_the_same_windows_throughout(
            time in -500_i64..500, size in 1_i64..50, slide in 1_i64..50, offset in -60_i64..60
        ) {
            let hopping = Hopping::new(size, slide, offset).expect("sound");
            let slice = hopping.slice_of(time).expect("far from the ends");
            prop_assert!(slice.contains(time));
            for other in slice.start..slice.end {
                prop_assert_eq!(starts(hopping, other), starts(hopping, time));
                prop_assert_eq!(hopping.slice_of(other), Some(slice));
            }
            let number = hopping.slice_number(slice.start);
            prop_assert_eq!((hopping.slice_start(number), hopping.slice_start(number + 1)), (slice.start, slice.end));
        }
    }
}

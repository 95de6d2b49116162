//! The watermark of many inputs together: bounded disorder or punctuation on each, idle ones left out, never back.
//!
//! The rules are Flink's. The watermark is the least of the inputs that are active and in line; an input that comes back
//! from idleness with a lower watermark than what is known is out of line until it has caught up. While all are idle,
//! what the furthest of them knew is known.
//!
//! Inputs by which rows come round again have no say: what they will bring is made of rows that the others bring.

use super::watermark::{Disorder, Watermark};

/// How watermarks come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From event times, which may be out of order by so much.
    Disorder(Disorder),
    /// From marks among the rows.
    Marks,
}

/// A mark among the rows of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// No row at or before this time is to be expected. One that is behind what is known changes nothing.
    Watermark(i64),
    /// No row is to be expected for a while: until a row comes, or [`Mark::Active`]. Marks of watermarks do not count.
    Idle,
    /// Rows are to be expected again.
    Active,
}

/// What an input is known to be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Input {
    /// The newest event time.
    pub newest: Option<i64>,
    /// Its own watermark.
    pub watermark: Watermark,
    /// Whether it is left out.
    pub idle: bool,
    /// Whether it is so because a mark told so, and not because it was quiet.
    pub told: bool,
    /// Whether it came back from idleness and has not caught up yet.
    pub behind: bool,
}

/// The watermarks of a pipeline's inputs.
#[derive(Debug, Clone)]
pub struct Watermarks {
    source: Source,
    /// After how many milliseconds without rows an input is idle.
    idle_ms: Option<i64>,
    inputs: Vec<Input>,
    /// Whether rows come round by each input, so that it has no say.
    feedback: Vec<bool>,
    /// For each input, the clock when it was first seen without rows since its last row.
    quiet_since: Vec<Option<i64>>,
    output: Watermark,
}

impl Watermarks {
    /// Nothing is known of so many inputs.
    pub fn new(source: Source, idle_ms: Option<i64>, inputs: usize) -> Self {
        Self {
            source,
            idle_ms,
            inputs: vec![Input::default(); inputs],
            feedback: vec![false; inputs],
            quiet_since: vec![None; inputs],
            output: Watermark::None,
        }
    }

    /// Says by which inputs rows come round again: neither their rows nor their marks, nor that they have none, say
    /// anything of the time.
    pub fn with_feedback(mut self, is_feedback: impl Fn(usize) -> bool) -> Self {
        self.feedback = (0..self.inputs.len()).map(is_feedback).collect();
        self
    }

    /// Whether rows come round by an input, so that it has no say.
    pub fn is_feedback(&self, input: usize) -> bool {
        self.feedback[input]
    }

    /// The watermark of all inputs together.
    pub fn output(&self) -> Watermark {
        self.output
    }

    /// What is known of each input.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The watermark by which a row of this input is late: what its own partition says, so that no result depends on how
    /// partitions came together, and never less than what has been acted upon.
    pub fn late(&self, input: usize) -> Watermark {
        self.inputs[input].watermark.max(self.output)
    }

    /// Notes a row.
    pub fn row(&mut self, input: usize, time: i64) {
        if self.feedback[input] {
            let newest = &mut self.inputs[input].newest;
            *newest = (*newest).max(Some(time));
            return;
        }
        let woke = self.wake(input);
        let newest = &mut self.inputs[input].newest;
        if newest.is_some_and(|newest| newest >= time) && !woke {
            return;
        }
        *newest = Some(newest.map_or(time, |newest| newest.max(time)));
        let watermark = match self.source {
            Source::Disorder(disorder) => disorder.watermark(*newest),
            Source::Marks => self.inputs[input].watermark,
        };
        self.advance(input, watermark, woke);
    }

    /// Notes a mark.
    pub fn mark(&mut self, input: usize, mark: Mark) {
        match mark {
            _ if self.feedback[input] => {}
            Mark::Watermark(_) if self.inputs[input].told => {}
            Mark::Watermark(time) => {
                let woke = self.wake(input);
                self.advance(input, Watermark::At(time), woke);
            }
            Mark::Idle => {
                self.inputs[input].told = true;
                self.fall_idle(input);
            }
            Mark::Active => {
                let woke = self.wake(input);
                self.advance(input, self.inputs[input].watermark, woke);
            }
        }
    }

    /// Notes an input that has no rows at this time of the clock. The timeout begins when an input is first
    /// seen quiet, and is over when it is exceeded.
    pub fn quiet(&mut self, input: usize, clock: i64) {
        self.note_quiet(input, clock);
        if self.falls_idle(input, clock) {
            self.fall_idle(input);
        }
    }

    /// Begins the timeout of an input that has no rows, if it has not begun yet.
    pub fn note_quiet(&mut self, input: usize, clock: i64) {
        self.quiet_since[input].get_or_insert(clock);
    }

    /// Notes an input that waits for others and is not looked at. What is not looked at is not quiet: its
    /// timeout starts over when it is read again and has nothing.
    pub fn note_held(&mut self, input: usize) {
        self.quiet_since[input] = None;
    }

    /// Whether an input that has no rows at this time of the clock would fall idle by that.
    pub fn falls_idle(&self, input: usize, clock: i64) -> bool {
        let (Some(idle_ms), Some(since)) = (self.idle_ms, self.quiet_since[input]) else { return false };
        !self.inputs[input].idle && !self.feedback[input] && clock.saturating_sub(since) > idle_ms
    }

    /// When the next input may fall idle.
    pub fn next_idle(&self) -> Option<i64> {
        let idle_ms = self.idle_ms?;
        let waiting = self.with_say().zip(&self.quiet_since).filter_map(|(input, since)| Some((input?, since)));
        waiting
            .filter(|(input, _)| !input.idle)
            .filter_map(|(_, since)| Some((*since)?.saturating_add(idle_ms).saturating_add(1)))
            .min()
    }

    /// Whether an input is further ahead of the slowest than `drift_ms`, so that it should wait.
    pub fn is_ahead(&self, input: usize, drift_ms: i64) -> bool {
        if self.feedback[input] {
            return false;
        }
        let own = self.inputs[input];
        let others = self.with_say().flatten().filter(|other| !other.idle && !other.behind);
        let slowest = others.map(|other| other.watermark).min().unwrap_or_default();
        match (own.watermark, slowest) {
            (Watermark::At(own), Watermark::At(slowest)) => own.saturating_sub(slowest) > drift_ms,
            _ => false,
        }
    }

    /// Adds an input that nothing is known of yet. It holds the watermark back until its first row.
    pub fn add(&mut self) {
        self.inputs.push(Input::default());
        self.feedback.push(false);
        self.quiet_since.push(None);
    }

    /// Removes an input. What that allows is known with the next row or mark.
    pub fn remove(&mut self, input: usize) {
        self.inputs.remove(input);
        self.feedback.remove(input);
        self.quiet_since.remove(input);
    }

    /// Puts back what was known when a block was written.
    pub fn restore(&mut self, input: usize, known: Input) {
        self.inputs[input] = known;
    }

    /// Puts back the watermark that was acted upon.
    pub fn restore_output(&mut self, output: Watermark) {
        self.output = self.output.max(output);
    }

    /// Ends idleness; whether there was any.
    fn wake(&mut self, input: usize) -> bool {
        self.quiet_since[input] = None;
        let input = &mut self.inputs[input];
        input.told = false;
        std::mem::take(&mut input.idle)
    }

    fn advance(&mut self, input: usize, watermark: Watermark, woke: bool) {
        let known = self.output;
        let Input { watermark: own, behind, .. } = &mut self.inputs[input];
        if watermark <= *own && !woke {
            return;
        }
        *own = watermark.max(*own);
        if woke {
            *behind = *own < known;
        } else if *behind && *own >= known {
            *behind = false;
        }
        self.combine();
    }

    fn fall_idle(&mut self, input: usize) {
        if std::mem::replace(&mut self.inputs[input].idle, true) {
            return;
        }
        self.inputs[input].behind = false;
        if self.with_say().flatten().all(|input| input.idle) {
            let furthest = self.with_say().flatten().map(|input| input.watermark).max().unwrap_or_default();
            self.output = self.output.max(furthest);
        } else {
            self.combine();
        }
    }

    /// The inputs, without those that have no say.
    fn with_say(&self) -> impl Iterator<Item = Option<&Input>> {
        self.inputs.iter().zip(&self.feedback).map(|(input, feedback)| (!feedback).then_some(input))
    }

    fn combine(&mut self) {
        let in_line = self.with_say().flatten().filter(|input| !input.idle && !input.behind);
        if let Some(least) = in_line.map(|input| input.watermark).min() {
            self.output = self.output.max(least);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marked(inputs: usize) -> Watermarks {
        Watermarks::new(Source::Marks, Some(120), inputs)
    }

    fn told(watermarks: &mut Watermarks, marks: &[(usize, i64)]) -> Option<i64> {
        marks.iter().for_each(|&(input, time)| watermarks.mark(input, Mark::Watermark(time)));
        watermarks.output().time()
    }

    #[test]
    fn an_input_that_knows_nothing_holds_the_others() {
        let mut watermarks = marked(3);
        assert_eq!(told(&mut watermarks, &[(0, 40), (1, 70)]), None);
        assert_eq!(told(&mut watermarks, &[(2, 55)]), Some(40));
    }

    #[test]
    fn an_input_that_goes_back_is_not_believed() {
        let mut watermarks = marked(2);
        assert_eq!(told(&mut watermarks, &[(0, 250), (1, 100), (0, 120), (1, 80)]), Some(100));
        assert_eq!(told(&mut watermarks, &[(1, 300)]), Some(250));
    }

    #[test]
    fn idle_inputs_are_left_out_and_all_idle_gives_what_the_furthest_knew() {
        let mut watermarks = marked(3);
        assert_eq!(told(&mut watermarks, &[(0, 250), (1, 100), (2, 170)]), Some(100));
        watermarks.mark(1, Mark::Idle);
        assert_eq!(watermarks.output(), Watermark::At(170));
        watermarks.mark(2, Mark::Idle);
        assert_eq!(watermarks.output(), Watermark::At(250));
        watermarks.mark(0, Mark::Idle);
        assert_eq!(watermarks.output(), Watermark::At(250));
    }

    #[test]
    fn an_input_that_comes_back_behind_holds_nothing_until_it_has_caught_up() {
        let mut watermarks = marked(3);
        told(&mut watermarks, &[(0, 100), (1, 200), (2, 300)]);
        watermarks.mark(2, Mark::Idle);
        watermarks.mark(0, Mark::Idle);
        assert_eq!(watermarks.output(), Watermark::At(200));
        watermarks.mark(0, Mark::Active);
        watermarks.mark(1, Mark::Idle);
        assert_eq!(watermarks.output(), Watermark::At(200));
        watermarks.mark(2, Mark::Active);
        assert_eq!(watermarks.output(), Watermark::At(300));
        assert_eq!(told(&mut watermarks, &[(0, 290), (2, 400)]), Some(400), "the first one is still behind");
        assert_eq!(told(&mut watermarks, &[(0, 410), (2, 500)]), Some(410), "now it counts");
    }

    #[test]
    fn a_quiet_input_is_idle_when_the_timeout_is_exceeded_and_any_row_wakes_it() {
        let mut watermarks = marked(1);
        watermarks.quiet(0, 0);
        assert_eq!(watermarks.next_idle(), Some(121));
        watermarks.quiet(0, 120);
        assert!(!watermarks.inputs()[0].idle);
        watermarks.quiet(0, 121);
        assert!(watermarks.inputs()[0].idle);
        watermarks.row(0, 5);
        assert!(!watermarks.inputs()[0].idle);
        watermarks.quiet(0, 300);
        assert!(!watermarks.inputs()[0].idle, "the timeout begins anew");
    }

    #[test]
    fn an_input_that_is_held_back_is_not_quiet() {
        let mut watermarks = marked(2);
        watermarks.note_quiet(0, 0);
        watermarks.note_quiet(1, 50);
        assert_eq!((watermarks.next_idle(), watermarks.falls_idle(0, 121)), (Some(121), true));
        watermarks.note_held(0);
        assert_eq!((watermarks.next_idle(), watermarks.falls_idle(0, 121)), (Some(171), false));
        watermarks.note_quiet(0, 200);
        assert_eq!((watermarks.falls_idle(0, 320), watermarks.falls_idle(0, 321)), (false, true));
    }

    #[test]
    fn an_input_by_which_rows_come_round_says_nothing() {
        let mut watermarks = marked(3).with_feedback(|input| input == 1);
        assert_eq!(told(&mut watermarks, &[(0, 40), (1, 10), (2, 55)]), Some(40));
        watermarks.row(1, 7);
        assert_eq!((watermarks.inputs()[1].newest, watermarks.late(1)), (Some(7), Watermark::At(40)));
        assert!(!watermarks.is_ahead(1, 0) && watermarks.is_ahead(2, 10));
        watermarks.mark(1, Mark::Idle);
        watermarks.quiet(1, 0);
        assert_eq!((watermarks.next_idle(), watermarks.falls_idle(1, 1000)), (None, false));
        watermarks.mark(0, Mark::Idle);
        watermarks.mark(2, Mark::Idle);
        watermarks.row(1, 100);
        assert_eq!((watermarks.output(), watermarks.inputs()[1].idle), (Watermark::At(55), false));
    }

    #[test]
    fn a_fast_input_is_ahead_of_the_slowest() {
        let mut watermarks = marked(2);
        told(&mut watermarks, &[(0, 1000)]);
        assert!(!watermarks.is_ahead(0, 100), "nothing is known of the other, which may be empty");
        told(&mut watermarks, &[(1, 899)]);
        assert!(watermarks.is_ahead(0, 100) && !watermarks.is_ahead(0, 101) && !watermarks.is_ahead(1, 0));
    }

    /// What happens to one of three inputs.
    fn event() -> impl Strategy<Value = (usize, Event)> {
        let event = prop_oneof![
            5 => (-100_i64..100).prop_map(Event::Row),
            1 => Just(Event::Mark(Mark::Idle)),
            1 => Just(Event::Mark(Mark::Active)),
        ];
        (0_usize..3, event)
    }

    #[derive(Debug, Clone, Copy)]
    enum Event {
        Row(i64),
        Mark(Mark),
    }

    proptest! {
        /// By definition, over everything that has happened so far.
        #[test]
        fn the_watermark_is_the_least_of_the_inputs_in_line_and_never_goes_back(
            events in proptest::collection::vec(event(), 1..60), bound_ms in 0_i64..20
        ) {
            let mut watermarks = Watermarks::new(Source::Disorder(Disorder { bound_ms }), None, 3);
            let (mut rows, mut idle, mut in_line) = ([const { Vec::new() }; 3], [false; 3], [true; 3]);
            let mut last = None;
            for (input, event) in events {
                let woke = idle[input] && !matches!(event, Event::Mark(Mark::Idle));
                match event {
                    Event::Row(time) => {
                        rows[input].push(time);
                        idle[input] = false;
                        watermarks.row(input, time);
                    }
                    Event::Mark(mark) => {
                        idle[input] = mark == Mark::Idle;
                        watermarks.mark(input, mark);
                    }
                }
                let own: Vec<Option<i64>> =
                    rows.iter().map(|rows: &Vec<i64>| rows.iter().max().map(|newest| newest - bound_ms - 1)).collect();
                if woke || own[input] >= last {
                    in_line[input] = own[input] >= last;
                }
                let counted: Vec<_> = (0..3).filter(|&input| !idle[input] && in_line[input]).map(|i| own[i]).collect();
                let now = match counted.iter().min() {
                    Some(least) => *least,
                    None if idle == [true; 3] => own.iter().copied().max().flatten(),
                    None => None,
                };
                last = last.max(now);
                prop_assert_eq!(watermarks.output().time(), last);
            }
        }
    }
}

//! Processing time: the machine's clock, as far as it can be told to a pipeline.
//!
//! What a pipeline has been told never goes back. So where the machine's clock has jumped ahead and come back, the
//! pipeline's is ahead of it, and goes at half its pace until the machine's has caught up: timers take up to twice as
//! long for that time, but none waits until the jump is over.

/// How much slower the pipeline's clock goes while it is ahead.
const SLOWER: i64 = 2;

/// A clock that never goes back and never stands still for long.
#[derive(Debug, Clone, Copy)]
pub struct ProcessingClock {
    now: i64,
    /// While it is ahead: what the machine's clock showed at some moment, and what this one did.
    ahead_since: Option<(i64, i64)>,
}

impl Default for ProcessingClock {
    /// One that has not been told any time.
    fn default() -> Self {
        Self { now: i64::MIN, ahead_since: None }
    }
}

impl ProcessingClock {
    /// What it says.
    pub fn now(self) -> i64 {
        self.now
    }

    /// Takes a time that was given before, such as before a restart.
    pub fn restore(&mut self, told: i64) {
        self.now = self.now.max(told);
    }

    /// What it will say when the machine's clock says `machine`.
    pub fn at(self, machine: i64) -> i64 {
        let by_pace = match self.ahead_since {
            Some((since, then)) => then.saturating_add(machine.saturating_sub(since).max(0) / SLOWER),
            None => self.now,
        };
        machine.max(by_pace).max(self.now)
    }

    /// Moves on to what the machine's clock says.
    pub fn advance(&mut self, machine: i64) {
        let now = self.at(machine);
        if machine >= now {
            self.ahead_since = None;
        } else if self.ahead_since.is_none_or(|(since, _)| machine < since) {
            self.ahead_since = Some((machine, now));
        }
        self.now = now;
    }

    /// What the machine's clock says when this one comes to a time.
    pub fn machine_at(self, time: i64) -> i64 {
        match self.ahead_since {
            Some((since, then)) => since.saturating_add(time.saturating_sub(then).saturating_mul(SLOWER)).min(time),
            None => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn after_a_jump_it_goes_on_at_half_the_pace_until_the_machines_clock_has_caught_up() {
        let mut clock = ProcessingClock::default();
        let mut told = |machine: i64| {
            clock.advance(machine);
            (clock.now(), clock.machine_at(clock.now() + 5))
        };
        assert_eq!(told(1_000), (1_000, 1_005));
        assert_eq!(told(9_000), (9_000, 9_005), "it jumps");
        assert_eq!(told(1_001), (9_000, 1_011), "it comes back: five milliseconds take ten");
        assert_eq!(told(1_002).0, 9_000);
        assert_eq!(told(1_011).0, 9_005, "small steps add up");
        assert_eq!(told(900).0, 9_005, "it goes back once more");
        assert_eq!(told(902).0, 9_006);
        assert_eq!(told(17_200).0, 17_200, "it has caught up");
        assert_eq!(told(17_201), (17_201, 17_206));
    }

    #[test]
    fn a_time_from_before_a_restart_is_not_gone_behind() {
        let mut clock = ProcessingClock::default();
        clock.restore(5_000);
        assert_eq!(clock.at(100), 5_000);
        clock.advance(100);
        clock.advance(300);
        assert_eq!((clock.now(), clock.machine_at(5_200)), (5_100, 500));
    }

    proptest! {
        #[test]
        fn it_never_goes_back_and_is_due_when_it_says(
            machine in proptest::collection::vec(-1000_i64..1000, 1..30), ahead in 0_i64..500
        ) {
            let mut clock = ProcessingClock::default();
            for machine in machine {
                let before = clock.now();
                clock.advance(machine);
                prop_assert!(clock.now() >= before && clock.now() >= machine);
                let due = clock.now() + ahead;
                let at = clock.machine_at(due);
                prop_assert!(clock.at(at) >= due && (ahead == 0 || clock.at(at - 1) < due));
            }
        }
    }
}

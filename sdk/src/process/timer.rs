//! Timers as a plugin names them, and their ids as the host keeps them.
//!
//! The 64 bits of an id are divided: the plugin's own ids, those of the SDK's library, those that stand for a time, and
//! one for the clean-up of state.

use super::queue::Op;

/// What a timer's time is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// The watermark.
    EventTime,
    /// The clock of the host.
    ProcessingTime,
}

impl Domain {
    pub(crate) const ALL: [Self; 2] = [Self::EventTime, Self::ProcessingTime];

    /// The contract's number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::EventTime => 0,
            Self::ProcessingTime => 1,
        }
    }

    pub(crate) fn of_number(number: u8) -> Self {
        match number {
            0 => Self::EventTime,
            1 => Self::ProcessingTime,
            other => panic!("the host named a timer's domain {other}; this plugin knows 0 and 1"),
        }
    }
}

/// A timer that has fallen due, or is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    /// When it is due, in milliseconds since the Unix epoch.
    pub time: i64,
    /// The id with which it was set; none for a timer that was set by its time alone.
    pub id: Option<u64>,
    /// What its time is measured in.
    pub domain: Domain,
}

impl Timer {
    /// Whether it was set with that id.
    pub fn is(&self, id: u64) -> bool {
        self.id == Some(id)
    }
}

/// Ids of a plugin's own timers are below this.
pub const PLUGIN_IDS: u64 = 1 << 62;
/// Ids from [`PLUGIN_IDS`] to below this are for libraries, so that their timers and those of the plugin around them
/// have nothing to do with each other.
pub const LIBRARY_IDS: u64 = 1 << 63;
/// From here on, ids stand for times: `TIMES + (time + TIME_MAX)`, so that they are in the order of their times.
const TIMES: u64 = LIBRARY_IDS;
/// Times up to this far from the epoch, some 73 million years, have ids of their own; those beyond share one at each end.
const TIME_MAX: i64 = 1 << 61;
/// The timer that cleans up state whose time to live has passed: one a key and domain.
pub(crate) const CLEAN_UP: u64 = u64::MAX;

fn id_of_time(time: i64) -> u64 {
    TIMES + time.clamp(-TIME_MAX, TIME_MAX).abs_diff(-TIME_MAX)
}

/// The timer with an id as the host keeps it. One that was set by its time still says that time if it fell due later.
pub(crate) fn timer_of(id: u64, due: i64, domain: Domain) -> Timer {
    if id < TIMES {
        return Timer { time: due, id: Some(id), domain };
    }
    let time = i64::try_from(id - TIMES).map_or(TIME_MAX, |offset| offset - TIME_MAX);
    // The ends stand for many times; the time at which it is due is one of them.
    let time = if time.unsigned_abs() < TIME_MAX.unsigned_abs() { time } else { due };
    Timer { time, id: None, domain }
}

/// Sets and deletes timers of the key, for [`Context::timers`](super::Context::timers).
///
/// A key has one timer of an id and domain: setting it again replaces it. A timer that is set for a time alone is one of
/// its own for each time, and setting it again changes nothing.
///
/// A timer for a time that has come already falls due as soon as its time, watermark or clock, moves on. Set by a timer of
/// the same domain it fires right after that one.
#[derive(Debug)]
pub struct Timers<'c> {
    pub(super) ops: &'c mut Vec<Op>,
}

impl Timers<'_> {
    /// Sets the event-time timer of that id.
    ///
    /// # Panics
    /// If the id is not below [`LIBRARY_IDS`]; so do all functions that take one.
    pub fn set(&mut self, id: u64, time: i64) {
        self.push(Domain::EventTime, own(id), Some(time));
    }

    /// Deletes the event-time timer of that id, if there is one.
    pub fn delete(&mut self, id: u64) {
        self.push(Domain::EventTime, own(id), None);
    }

    /// Sets an event-time timer for that time.
    pub fn at(&mut self, time: i64) {
        self.push(Domain::EventTime, id_of_time(time), Some(time));
    }

    /// Deletes the event-time timer for that time, if there is one.
    pub fn delete_at(&mut self, time: i64) {
        self.push(Domain::EventTime, id_of_time(time), None);
    }

    /// Sets the processing-time timer of that id.
    pub fn set_processing(&mut self, id: u64, time: i64) {
        self.push(Domain::ProcessingTime, own(id), Some(time));
    }

    /// Deletes the processing-time timer of that id, if there is one.
    pub fn delete_processing(&mut self, id: u64) {
        self.push(Domain::ProcessingTime, own(id), None);
    }

    /// Sets a processing-time timer for that time.
    pub fn at_processing(&mut self, time: i64) {
        self.push(Domain::ProcessingTime, id_of_time(time), Some(time));
    }

    /// Deletes the processing-time timer for that time, if there is one.
    pub fn delete_at_processing(&mut self, time: i64) {
        self.push(Domain::ProcessingTime, id_of_time(time), None);
    }

    fn push(&mut self, domain: Domain, id: u64, time: Option<i64>) {
        self.ops.push(Op { domain, id, time });
    }
}

fn own(id: u64) -> u64 {
    assert!(
        id < LIBRARY_IDS,
        "timer id {id} is reserved: a plugin's own ids are below 2^62, those of libraries below 2^63"
    );
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_times_are_in_their_order_and_come_back() {
        let times = [i64::MIN, -TIME_MAX + 1, -1, 0, 1, 1_700_000_000_000, TIME_MAX - 1, i64::MAX];
        for pair in times.windows(2) {
            assert!(id_of_time(pair[0]) < id_of_time(pair[1]), "{pair:?}");
        }
        for time in times {
            let id = id_of_time(time);
            assert!((TIMES..CLEAN_UP).contains(&id));
            assert_eq!(timer_of(id, time, Domain::EventTime), Timer { time, id: None, domain: Domain::EventTime });
        }
        assert_eq!(timer_of(id_of_time(5), 9, Domain::EventTime).time, 5, "it fell due later");
    }

    #[test]
    #[should_panic(expected = "timer id 9223372036854775808 is reserved")]
    fn ids_of_the_sdk_cannot_be_set() {
        Timers { ops: &mut Vec::new() }.set(LIBRARY_IDS, 0);
    }
}

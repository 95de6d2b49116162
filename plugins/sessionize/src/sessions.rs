//! The sessions of a key that have not ended: where a row belongs, what they become together.

use millstream_sdk::prelude::*;

/// What is kept for a key.
#[derive(Debug, Default, State)]
pub struct Sessions {
    /// Sessions by the time of their first row. They are further than the gap from one another.
    open: Map<i64, Session>,
    /// Rows of the funnel: their times and steps, as bits. Those of a session are between its first and last row.
    steps: Ordered<i64, u32>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Accumulator)]
pub struct Session {
    /// The time of its last row.
    pub(crate) last: i64,
    /// How many rows it has.
    pub(crate) events: u64,
    /// The JSON texts of the chosen fields of the first and the last row.
    pub(crate) first_values: Vec<Option<String>>,
    pub(crate) last_values: Vec<Option<String>>,
}

/// A session that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The time of its first row.
    pub(crate) start: i64,
    pub(crate) session: Session,
    /// The times of its rows of the funnel and their steps, as bits, in order.
    pub(crate) steps: Vec<(i64, u32)>,
}

/// When a session of which the last row has this time has ended: the watermark is here.
pub(crate) fn end(last: i64, gap: i64) -> i64 {
    last.saturating_add(gap).saturating_sub(1)
}

impl Sessions {
    /// When the first session ends.
    pub(crate) fn first_end(&self, gap: i64) -> Option<i64> {
        self.open.iter().next().map(|(_, session)| end(session.last, gap))
    }

    /// How many rows of the funnel are kept.
    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The first rows' times of the sessions that a row at `time` belongs to, in order.
    pub(crate) fn around(&self, time: i64, gap: i64) -> Vec<i64> {
        let not_after = self.open.range(..=time.saturating_add(gap)).rev();
        let around = not_after.take_while(|(_, session)| session.last.saturating_add(gap) >= time);
        let mut starts: Vec<i64> = around.map(|(&start, _)| start).collect();
        starts.reverse();
        starts
    }

    /// Adds a row to the sessions around it, which become one. Answers when that one began.
    pub(crate) fn add(&mut self, time: i64, values: Vec<Option<String>>, around: &[i64]) -> i64 {
        let mut session = None;
        let start = around.first().copied();
        for &start in around {
            let Some(next) = self.open.take(&start) else { continue };
            session = Some(match session {
                None => next,
                Some(Session { events, first_values, .. }) => {
                    Session { events: events + next.events, first_values, ..next }
                }
            });
        }
        let session = match session {
            None => Session { last: time, events: 1, first_values: values.clone(), last_values: values },
            Some(mut session) => {
                session.events += 1;
                if start.is_some_and(|start| time < start) {
                    session.first_values.clone_from(&values);
                }
                // Of rows of the same time the one that came later is the later one.
                if time >= session.last {
                    (session.last, session.last_values) = (time, values);
                }
                session
            }
        };
        let start = start.map_or(time, |start| start.min(time));
        self.open.insert(start, session);
        start
    }

    /// Adds a row of the funnel to the session that began at `start`.
    pub(crate) fn add_step(&mut self, start: i64, time: i64, steps: u32) {
        // A session enters the funnel once, so what can do nothing but enter it again is not kept.
        if steps != 1 || !self.steps.range(start..=time).any(|(_, steps)| steps & 1 != 0) {
            self.steps.insert(time, steps);
        }
    }

    /// Takes the first session away, if it has ended by `now`.
    pub(crate) fn take_ended(&mut self, now: i64, gap: i64) -> Option<Ended> {
        let (&start, _) = self.open.iter().next().filter(|(_, session)| end(session.last, gap) <= now)?;
        let session = self.open.take(&start)?;
        let steps = self.steps.range(start..=session.last).map(|(&time, &steps)| (time, steps)).collect();
        self.steps.remove(start..=session.last);
        Some(Ended { start, session, steps })
    }
}

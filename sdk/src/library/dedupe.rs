//! Rows that have come before.

use crate::library::Item;
use crate::state::{Map, Ttl};
use crate::{Context, Domain};

/// What a [`Dedupe`] keeps for a key: the names that it has seen, each with the times of the rows that count.
pub type Seen<I> = Map<(I, i64), ()>;

/// Tells the first row of a name from those that come after it, for a time.
///
/// In event time a row comes again if its time is no more than the time to live from that of a row that counts: the first
/// one, and each that came so much later or earlier that it was not the same any more. That is a matter of the rows' times
/// alone. How long a name is kept for that, the watermark says.
///
/// The name is `()` where the key says it all. That is the cheapest way to have many names: a stream keyed by them. Those
/// within a key take some 16 bytes and the name each; hundreds of thousands go on in pages
/// ([`state`](crate::state#size)), of which a row needs one.
///
/// ```
/// use millstream_sdk::library::dedupe::{Dedupe, Seen};
/// use millstream_sdk::prelude::*;
///
/// #[derive(Debug)]
/// struct Once(Dedupe);
///
/// /// Passes each message of a sender once an hour.
/// #[process]
/// impl Process for Once {
///     type Config = NoConfig;
///     type Input<'a> = Text<'a>;
///     type State = Seen<String>;
///
///     fn new(_: NoConfig) -> Result<Self> {
///         Ok(Once(Dedupe::event_time(3_600_000)))
///     }
///
///     fn state(&self) -> Seen<String> {
///         self.0.state()
///     }
///
///     fn on_row(&self, ctx: &mut Context<'_>, seen: &mut Seen<String>, Text(message): Text<'_>) -> Result<()> {
///         let first = self.0.see(ctx, seen, message.to_owned()).is_new();
///         ctx.emit(first.then(Row::same))
///     }
/// }
///
/// let once = testing::plugin::<Once>("{}").expect("there is nothing to configure");
/// let mut run = testing::keyed(&once);
/// run.row(testing::Input::value("hello").key("ada").at(1_000));
/// run.row(testing::Input::value("hello").key("ada").at(2_000));
/// run.watermark(3_601_000);
/// run.row(testing::Input::value("hello").key("ada").at(3_602_000));
/// assert_eq!(run.end().rows.iter().map(|row| row.timestamp).collect::<Vec<_>>(), [1_000, 3_602_000]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dedupe {
    ttl: i64,
    domain: Domain,
    refreshed: bool,
}

/// What is known of a row's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It has not come before.
    New,
    /// It has not come before as far as is known; but the watermark is past the time for which it would be known.
    Unknown,
    /// It has come before.
    Again,
}

impl Sight {
    /// Whether nothing is known of the name.
    pub fn is_new(self) -> bool {
        self != Self::Again
    }
}

impl Dedupe {
    /// A name is known for so many milliseconds of event time before and after a row that counts.
    pub fn event_time(milliseconds: u64) -> Self {
        Self::new(milliseconds, Domain::EventTime)
    }

    /// A name is known for so many milliseconds of the host's clock.
    pub fn processing_time(milliseconds: u64) -> Self {
        Self::new(milliseconds, Domain::ProcessingTime)
    }

    fn new(milliseconds: u64, domain: Domain) -> Self {
        Self { ttl: i64::try_from(milliseconds).unwrap_or(i64::MAX), domain, refreshed: false }
    }

    /// Each row that comes again gives its name a new time.
    pub fn refreshed(self) -> Self {
        Self { refreshed: true, ..self }
    }

    /// The state of a key that has none, for [`Process::state`](crate::Process::state).
    pub fn state<I: Item + Ord>(&self) -> Seen<I> {
        let milliseconds = self.ttl.unsigned_abs();
        let ttl = match self.domain {
            Domain::EventTime => Ttl::event_time(milliseconds),
            Domain::ProcessingTime => Ttl::processing_time(milliseconds),
        };
        Seen::new().ttl(ttl)
    }

    /// Looks whether the name has come before, and takes note of it.
    pub fn see<I: Item + Ord>(&self, ctx: &Context<'_>, seen: &mut Seen<I>, name: I) -> Sight {
        // By the host's clock there is one row of a name that counts, and its time to live says for how long.
        let (time, reach) = match self.domain {
            Domain::EventTime => (ctx.time(), self.ttl),
            Domain::ProcessingTime => (0, 0),
        };
        let first = time.saturating_sub(reach);
        let place = seen.place(|(known, at)| (known, at) < (&name, &first));
        let before = seen.key_at(place).filter(|(known, at)| *known == name && *at <= time.saturating_add(reach));
        if let Some(&(_, at)) = before {
            if self.refreshed {
                self.refresh(seen, place, at, time, name);
            }
            return Sight::Again;
        }
        seen.insert((name, time), ());
        let forgotten = ctx.time().saturating_add(self.ttl);
        let late = self.domain == Domain::EventTime && ctx.watermark().is_some_and(|watermark| watermark >= forgotten);
        if late { Sight::Unknown } else { Sight::New }
    }

    /// Gives the row that counts a new time: from now on this later one counts in its place.
    fn refresh<I: Item + Ord>(&self, seen: &mut Seen<I>, place: usize, at: i64, time: i64, name: I) {
        if time > at {
            seen.remove_at(place);
            seen.insert((name, time), ());
        } else if self.domain == Domain::ProcessingTime {
            seen.insert((name, time), ());
        }
    }
}

#[cfg(test)]
#[path = "dedupe_tests.rs"]
mod tests;

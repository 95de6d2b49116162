//! What a plugin sees and does while a row or timer of a key is processed.

use std::borrow::Cow;

use super::queue::Op;
use super::timer::{Domain, Timers};
use crate::answer::{Answer, Out};
use crate::error::{Error, Result};
use crate::lookup::{self, Lookup};
use crate::output::IntoRows;
use crate::state::Now;
use crate::table::Pending;

/// The key and the place at which a row or timer is processed, and all that can be done there but to change the state.
#[derive(Debug)]
pub struct Context<'a> {
    pub(super) answer: Answer<'a>,
    pub(super) tables: Pending,
    pub(super) ops: Vec<Op>,
    pub(super) place: CurrentRow<'a>,
    pub(super) progress: Progress,
}

/// How far the callback is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// What had been emitted before it, in bytes.
    pub(super) before: usize,
    /// The timer that it is called for, as the host keeps it.
    pub(super) timer: Option<(Domain, u64, i64)>,
    /// Whether the timer is to go on.
    pub(super) goes_on: bool,
}

/// Where a callback stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct CurrentRow<'a> {
    /// The number of the row or timer, by which the host knows where rows come from.
    pub(super) source: u32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) input: u16,
    pub(super) time: i64,
    /// Whether it is a row.
    pub(super) row: bool,
    pub(super) now: Now,
}

impl<'a> Context<'a> {
    /// The key; none for null.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.place.key
    }

    /// The key as text, with � for what is not UTF-8; none for null.
    pub fn key_text(&self) -> Option<Cow<'a, str>> {
        self.place.key.map(String::from_utf8_lossy)
    }

    /// The event time of the row, or the time of the timer.
    pub fn time(&self) -> i64 {
        self.place.time
    }

    /// The input by which the row came: the place of its topic among the pipeline's sources. 0 for timers.
    pub fn input(&self) -> u16 {
        self.place.input
    }

    /// The watermark at this place: no row at or below it is to be expected. None where nothing is known yet.
    ///
    /// For an event-time timer it is the time at which the timer fell due, whatever the watermark has become since: that
    /// can depend on other keys. For a processing-time timer there is none.
    pub fn watermark(&self) -> Option<i64> {
        self.place.now.watermark
    }

    /// Whether the row's event time is not above the watermark. Timers are never late.
    pub fn is_late(&self) -> bool {
        self.place.row && self.watermark().is_some_and(|watermark| self.place.time <= watermark)
    }

    /// The host's clock, in milliseconds since the Unix epoch: the same for all that is processed together.
    pub fn processing_time(&self) -> i64 {
        self.place.now.processing_time
    }

    /// Emits rows: a [`Row`](crate::Row), text, `Json<T>`, an `Option` or a `Vec` of them, ..
    pub fn emit(&mut self, rows: impl IntoRows) -> Result<()> {
        rows.emit(&mut self.out())
    }

    /// Where rows go, to write them cell by cell.
    pub fn out(&mut self) -> Out<'_, 'a> {
        self.answer.out(self.place.source)
    }

    /// Whether this row or timer has emitted so much that a timer should [go on](Self::go_on) another time: about 1 MiB.
    ///
    /// It depends on nothing but what the callback has emitted.
    pub fn is_full(&self) -> bool {
        self.answer.bytes().saturating_sub(self.progress.before) >= self.answer.bounds().full_bytes
    }

    /// Lets the timer that is being processed fire again, right after this callback and before anything else of the key:
    /// for what it has to emit beyond what is good for one call. Between the parts the host may commit, so however much a
    /// timer emits, no call, commit or memory grows with it.
    ///
    /// Note in the state where to go on, which is kept with what has been emitted:
    ///
    /// ```
    /// use millstream_sdk::prelude::*;
    ///
    /// #[derive(Debug, Default, State)]
    /// struct Words {
    ///     words: List<String>,
    ///     /// How many of them have been emitted.
    ///     done: Value<u64>,
    /// }
    ///
    /// #[derive(Debug)]
    /// struct Replay;
    ///
    /// /// Emits the words of each key once the hour is over.
    /// #[process]
    /// impl Process for Replay {
    ///     type Config = NoConfig;
    ///     type Input<'a> = Text<'a>;
    ///     type State = Words;
    ///
    ///     fn new(_: NoConfig) -> Result<Self> {
    ///         Ok(Self)
    ///     }
    ///
    ///     fn on_row(&self, ctx: &mut Context<'_>, state: &mut Words, Text(word): Text<'_>) -> Result<()> {
    ///         state.words.push(word.to_owned());
    ///         ctx.timers().set(0, 3_600_000);
    ///         Ok(())
    ///     }
    ///
    ///     fn on_timer(&self, ctx: &mut Context<'_>, state: &mut Words, _: Timer) -> Result<()> {
    ///         let mut done = state.done.get().copied().unwrap_or(0);
    ///         for word in state.words.iter().skip(done as usize) {
    ///             if ctx.is_full() {
    ///                 state.done.set(done);
    ///                 return ctx.go_on();
    ///             }
    ///             ctx.emit(word.as_str())?;
    ///             done += 1;
    ///         }
    ///         state.words.clear();
    ///         state.done.clear();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let replay = testing::plugin::<Replay>("{}").expect("there is nothing to configure");
    /// let words = ["a", "b", "c", "d", "e"];
    /// let seen = testing::Bounds { full_bytes: 1, ..testing::Bounds::DEFAULT }.within(|| {
    ///     let mut run = testing::keyed(&replay);
    ///     words.iter().for_each(|word| run.row(testing::Input::value(*word).key("k").at(1)));
    ///     run.watermark(3_600_000);
    ///     run.end().values()
    /// });
    /// assert_eq!(seen, words);
    /// ```
    ///
    /// A part that emits nothing brings the key closer to the limit of timers that set timers for a time that has come.
    ///
    /// # Errors
    /// `not-a-timer` for a row: it emits all that it has at once, or sets a timer that does.
    pub fn go_on(&mut self) -> Result<()> {
        let Some((domain, id, time)) = self.progress.timer else {
            return Err(Error::new("not-a-timer", "a row cannot go on: set a timer that emits what is left"));
        };
        self.ops.push(Op { domain, id, time: Some(time) });
        self.progress.goes_on = true;
        Ok(())
    }

    /// Sets and deletes timers of the key.
    pub fn timers(&mut self) -> Timers<'_> {
        Timers { ops: &mut self.ops }
    }

    /// The reference table of that name.
    pub fn lookup<'n>(&self, name: &'n str) -> Lookup<'n> {
        lookup::table(name)
    }

    pub(crate) fn tables(&mut self) -> &mut Pending {
        &mut self.tables
    }
}

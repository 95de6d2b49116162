//! Counts the rows of each key in a state value. It reads no column, so what is measured around it is the host; and each
//! count it gives says whether a row was lost or taken twice.

use millstream_sdk::prelude::*;

/// The configuration.
#[config]
pub struct Config {
    /// Each row whose number among those of its key this divides gives the count; 0 for none.
    every: u64,
    /// So many milliseconds after the last row of a key its total is given and the key forgotten; never, if not given.
    quiet_ms: Option<i64>,
    /// So many bytes are kept for each key beside the count.
    #[serde(default)]
    pad_bytes: usize,
    /// The timer of a key is rejected when its total is a multiple of this: after all else that it does. Never, if not
    /// given.
    reject_every: Option<u64>,
}

/// The timer that ends a key.
const QUIET: u64 = 1;

/// The plugin.
#[derive(Debug)]
pub struct Tally {
    every: u64,
    quiet_ms: Option<i64>,
    pad_bytes: usize,
    reject_every: Option<u64>,
}

/// What is kept for each key.
#[derive(Debug, Default, State)]
pub struct Counted {
    rows: Value<u64>,
    pad: Value<String>,
}

/// Counts the rows of each key.
#[process(outputs(counts = "The count of a key so far, or the total of one that has gone quiet."))]
impl Process for Tally {
    type Config = Config;
    type Input<'a> = ();
    type State = Counted;

    fn new(config: Config) -> Result<Self> {
        if config.quiet_ms.is_some_and(|quiet| quiet <= 0) {
            reject!("bad-config", "`quiet_ms` is not above 0");
        }
        let Config { every, quiet_ms, pad_bytes, reject_every } = config;
        Ok(Self { every, quiet_ms, pad_bytes, reject_every })
    }

    fn on_row(&self, ctx: &mut Context<'_>, counted: &mut Counted, (): ()) -> Result<()> {
        let rows = counted.rows.or_default();
        *rows += 1;
        let rows = *rows;
        if self.pad_bytes > 0 && !counted.pad.is_set() {
            counted.pad.set(" ".repeat(self.pad_bytes));
        }
        if let Some(quiet) = self.quiet_ms {
            let at = ctx.time().saturating_add(quiet);
            ctx.timers().set(QUIET, at);
        }
        // Nothing but 0 is a multiple of 0.
        if rows.is_multiple_of(self.every) {
            ctx.emit(Row::text(format!("count {rows}")))?;
        }
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, counted: &mut Counted, timer: Timer) -> Result<()> {
        let rows = counted.rows.take().unwrap_or_default();
        counted.pad.clear();
        ctx.emit(Row::text(format!("total {rows}")))?;
        if self.reject_every.is_some_and(|every| rows.is_multiple_of(every)) {
            ctx.timers().set(QUIET, timer.time.saturating_add(1));
            reject!("told-to", "its total is {rows}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{Input, keyed, plugin};

    #[test]
    fn rows_are_counted_by_key_until_it_is_quiet() {
        let tally = plugin::<Tally>(r#"{"every": 2, "quiet_ms": 100}"#).expect("the configuration fits");
        let mut run = keyed(&tally);
        for (time, key) in [(10, "a"), (20, "b"), (30, "a"), (50, "a")] {
            run.row(Input::null().key(key).at(time));
        }
        run.watermark(150);
        run.row(Input::null().key("a").at(160));
        let out = run.end();
        // The driver of tests goes key by key.
        assert_eq!(out.values(), ["count 2", "total 3", "total 1"]);
        assert_eq!(out.rows.iter().map(|row| row.timestamp).collect::<Vec<_>>(), [30, 150, 120]);
    }

    #[test]
    fn state_has_the_size_that_is_asked_for() {
        let tally =
            plugin::<Tally>(r#"{"every": 0, "quiet_ms": 100, "pad_bytes": 1000}"#).expect("the configuration fits");
        let mut run = keyed(&tally);
        run.row(Input::null().key("a").at(0));
        let state = run.state("a").expect("the row has left some");
        assert_eq!(state.pad.get().map(String::len), Some(1000));
        run.watermark(100);
        assert_eq!(run.keys(), 0);
    }

    #[test]
    fn no_count_is_given_where_none_is_asked_for() {
        let tally = plugin::<Tally>(r#"{"every": 0}"#).expect("the configuration fits");
        let mut run = keyed(&tally);
        (0..3).for_each(|_| run.row(Input::null().key("a")));
        run.watermark(i64::MAX);
        assert!(run.end().rows.is_empty());
        assert!(plugin::<Tally>(r#"{"every": 1, "quiet_ms": 0}"#).is_err());
    }
}

//! The next version of `tally`: it says of each count how much of it the version before has counted, and keeps that in
//! another layout. Its configuration says how it takes the old state over, so that tests see each way with one component.

use millstream_sdk::Migrate;
use millstream_sdk::prelude::*;

/// What to do with the state of the version before.
#[config]
#[derive(Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Old {
    /// Take it over.
    #[default]
    Keep,
    /// Take it over, but forget keys with one row.
    DropSingles,
    /// Refuse a key with more than one row.
    Refuse,
    /// Trap at a key with more than one row.
    Trap,
}

/// The configuration: that of `tally`, and what becomes of its state.
#[config]
pub struct Config {
    /// Each row whose number among those of its key this divides gives the count; 0 for none.
    every: u64,
    /// So many milliseconds after the last row of a key its total is given and the key forgotten; never, if not given.
    quiet_ms: Option<i64>,
    /// What to do with the state of the version before.
    #[serde(default)]
    old: Old,
}

/// The timer that ends a key: the same as before, so that those that are set count on.
const QUIET: u64 = 1;

/// The plugin.
#[derive(Debug)]
pub struct TallyNext {
    every: u64,
    quiet_ms: Option<i64>,
    old: Old,
}

/// What is kept for each key.
#[derive(Debug, Default, Clone, Accumulator)]
pub struct Count {
    /// What was counted by the version before.
    before: u64,
    /// What was counted by this one.
    since: u64,
    /// The version before, if there was one.
    version: String,
}

/// What `tally` keeps for each key.
#[derive(Debug, Default, State)]
pub struct Counted {
    rows: Value<u64>,
    pad: Value<String>,
}

impl Count {
    fn text(&self, what: &str) -> String {
        let Self { before, since, version } = self;
        format!("{what} {}, {before} before{}{version}", before + since, if version.is_empty() { "" } else { " by " })
    }
}

/// Counts the rows of each key.
#[process(migrate, outputs(counts = "The count of a key so far, or the total of one that has gone quiet."))]
impl Process for TallyNext {
    type Config = Config;
    type Input<'a> = ();
    type State = Value<Count>;

    fn new(config: Config) -> Result<Self> {
        Ok(Self { every: config.every, quiet_ms: config.quiet_ms, old: config.old })
    }

    fn on_row(&self, ctx: &mut Context<'_>, counted: &mut Value<Count>, (): ()) -> Result<()> {
        let count = counted.or_default();
        count.since += 1;
        let rows = count.before + count.since;
        let text = count.text("count");
        if let Some(quiet) = self.quiet_ms {
            let at = ctx.time().saturating_add(quiet);
            ctx.timers().set(QUIET, at);
        }
        if rows.is_multiple_of(self.every) {
            ctx.emit(Row::text(text))?;
        }
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, counted: &mut Value<Count>, _: Timer) -> Result<()> {
        ctx.emit(Row::text(counted.take().unwrap_or_default().text("total")))
    }
}

impl Migrate for TallyNext {
    type Old = Counted;
    type New = Value<Count>;

    fn migrate(&self, written_by: &str, old: Counted) -> Result<Option<Value<Count>>> {
        let before = old.rows.get().copied().unwrap_or_default();
        match self.old {
            Old::DropSingles if before == 1 => return Ok(None),
            Old::Refuse if before > 1 => reject!("too-many", "{before} rows are more than one"),
            Old::Trap if before > 1 => panic!("{before} rows are more than one"),
            _ => {}
        }
        let mut new = Value::default();
        new.set(Count { before, since: 0, version: written_by.to_owned() });
        Ok(Some(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{Input, keyed, plugin};

    #[test]
    fn rows_are_counted_by_key_until_it_is_quiet() {
        let tally = plugin::<TallyNext>(r#"{"every": 2, "quiet_ms": 100}"#).expect("the configuration fits");
        let mut run = keyed(&tally);
        for time in [10, 30, 50] {
            run.row(Input::null().key("a").at(time));
        }
        run.watermark(150);
        assert_eq!(run.end().values(), ["count 2, 0 before", "total 3, 0 before"]);
    }

    #[test]
    fn the_count_of_the_version_before_goes_on_or_not_as_configured() {
        for (old, single, several) in [
            ("keep", Some(Some(1)), Some(Some(2))),
            ("drop-singles", Some(None), Some(Some(2))),
            ("refuse", Some(Some(1)), None),
        ] {
            let tally = plugin::<TallyNext>(&format!(r#"{{"every": 1, "old": "{old}"}}"#)).expect("it fits");
            for (rows, expected) in [(1, single), (2, several)] {
                let mut counted = Counted::default();
                counted.rows.set(rows);
                let migrated = tally.migrate("sha256:1", counted).ok();
                let before = migrated.map(|new| new.and_then(|new| new.get().map(|count| count.before)));
                assert_eq!(before, expected, "{old} {rows}");
            }
        }
    }
}

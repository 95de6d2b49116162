//! Passes the first row of each name and keeps back those that come again.

use millstream_sdk::fields::Scalar;
use millstream_sdk::library::dedupe::{Dedupe, Seen, Sight};
use millstream_sdk::prelude::*;

/// The configuration.
#[config]
pub struct Config {
    /// For how many milliseconds a name is known.
    ttl_ms: u64,
    /// What those milliseconds are measured in.
    #[serde(default)]
    time: Time,
    /// Whether a row that comes again gives its name the time anew.
    #[serde(default)]
    refresh: bool,
    /// Paths of the fields that name a row among those of its key, such as `order.id`; none: the key alone names it.
    #[serde(default)]
    fields: Vec<String>,
    /// Whether rows that come again leave by the output `duplicates` instead of being dropped.
    #[serde(default)]
    split: bool,
    /// What becomes of rows from before the time that is known, which may have come before or not.
    #[serde(default)]
    too_late: TooLate,
}

/// What time is measured in.
#[config]
#[derive(Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Time {
    /// The watermark: a name is known until it is that far past the name's first row.
    #[default]
    Event,
    /// The host's clock.
    Processing,
}

/// What becomes of rows from before the time that is known.
#[config]
#[derive(Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum TooLate {
    /// They pass.
    #[default]
    Pass,
    /// They leave by the output `late`.
    Split,
}

/// The place of the output `duplicates`.
const DUPLICATES: u16 = 1;
/// The place of the output `late`.
const LATE: u16 = 2;

/// The plugin.
#[derive(Debug)]
pub struct DedupeRows {
    dedupe: Dedupe,
    fields: Fields,
    paths: Vec<String>,
    split: bool,
    too_late: TooLate,
}

/// Passes the first row of each name and keeps back those that come again.
#[process(outputs(
    first = "The first row of each name, as it came.",
    duplicates = "Rows that came again, where the configuration says `split`.",
    late = "Rows from before the time that is known, where the configuration splits them."
))]
impl Process for DedupeRows {
    type Config = Config;
    type Input<'a> = Option<&'a [u8]>;
    type State = Seen<String>;

    fn new(config: Config) -> Result<Self> {
        if config.ttl_ms == 0 {
            reject!("bad-config", "`ttl_ms` is 0: no name would be known for any time");
        }
        let dedupe = match config.time {
            Time::Event => Dedupe::event_time(config.ttl_ms),
            Time::Processing => Dedupe::processing_time(config.ttl_ms),
        };
        Ok(Self {
            dedupe: if config.refresh { dedupe.refreshed() } else { dedupe },
            fields: Fields::new(&config.fields)?,
            paths: config.fields,
            split: config.split,
            too_late: config.too_late,
        })
    }

    fn state(&self) -> Seen<String> {
        self.dedupe.state()
    }

    fn on_row(&self, ctx: &mut Context<'_>, seen: &mut Seen<String>, value: Option<&[u8]>) -> Result<()> {
        let name = self.name(value)?;
        match self.dedupe.see(ctx, seen, name) {
            Sight::Unknown if self.too_late == TooLate::Split => ctx.out().pass_to(LATE),
            Sight::New | Sight::Unknown => ctx.out().pass(),
            Sight::Again if self.split => ctx.out().pass_to(DUPLICATES),
            Sight::Again => metrics::counter("duplicates").add(1),
        }
        Ok(())
    }
}

impl DedupeRows {
    /// The name of a row among those of its key: its fields as JSON, one after another.
    fn name(&self, value: Option<&[u8]>) -> Result<String> {
        let mut name = String::new();
        if self.paths.is_empty() {
            return Ok(name);
        }
        let Some(value) = value else { reject!("null-value", "the row has no value to look for its name in") };
        for (field, path) in self.fields.read(value)?.into_iter().zip(&self.paths) {
            let Some(text) = field else { reject!("missing-field", "the object has no field `{path}`") };
            match Scalar::read(text)? {
                Scalar::Null => reject!("missing-field", "field `{path}` is null"),
                Scalar::Compound => reject!("bad-name", "field `{path}` is an object or a list, which names nothing"),
                // The same text can be written with and without escapes.
                Scalar::Text(text) => name.push_str(&millstream_sdk::serde_json::to_string(&text)?),
                Scalar::Number(_) | Scalar::Bool(_) => name.push_str(text),
            }
            name.push(',');
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{Input, keyed, plugin};

    fn dedupe(config: &str) -> DedupeRows {
        plugin(config).unwrap_or_else(|error| panic!("{config}: {error}"))
    }

    #[test]
    fn the_first_row_of_a_key_passes() {
        let dedupe = dedupe(r#"{"ttl_ms": 100, "time": "processing"}"#);
        let mut run = keyed(&dedupe);
        for (clock, key) in [(0, "a"), (0, "b"), (99, "a"), (100, "a")] {
            run.clock(clock);
            run.row(Input::null().key(key));
        }
        let out = run.end();
        assert_eq!(
            out.rows.iter().map(|row| (row.key_text(), row.source)).collect::<Vec<_>>(),
            [("a".to_owned(), 0), ("b".to_owned(), 1), ("a".to_owned(), 3)]
        );
    }

    #[test]
    fn fields_name_a_row_within_its_key() {
        let dedupe = dedupe(r#"{"ttl_ms": 1000, "fields": ["id", "n"], "split": true}"#);
        let mut run = keyed(&dedupe);
        for (key, value) in [
            ("k", r#"{"id": "a", "n": 1}"#),
            ("k", r#"{"n": 1, "x": 2, "id": "\u0061"}"#),
            ("k", r#"{"id": "a", "n": "1"}"#),
            ("l", r#"{"id": "a", "n": 1}"#),
        ] {
            run.row(Input::value(value).key(key));
        }
        let out = run.end();
        let outputs: Vec<_> = out.rows.iter().map(|row| (row.source, row.output)).collect();
        assert_eq!(outputs, [(0, "first"), (1, "duplicates"), (2, "first"), (3, "first")]);
    }

    #[test]
    fn duplicates_that_are_dropped_are_counted() {
        let dedupe = dedupe(r#"{"ttl_ms": 1000, "refresh": true}"#);
        let mut run = keyed(&dedupe);
        (0..3).for_each(|_| run.row("x"));
        let out = run.end();
        assert_eq!((out.rows.len(), out.counters["duplicates"]), (1, 2));
    }

    #[test]
    fn rows_that_may_have_come_before_pass_or_are_late() {
        for (config, output) in [(r#"{"ttl_ms": 100}"#, "first"), (r#"{"ttl_ms": 100, "too_late": "split"}"#, "late")] {
            let dedupe = dedupe(config);
            let mut run = keyed(&dedupe);
            run.watermark(1_000);
            run.row(Input::value("x").at(900));
            assert_eq!(run.end().rows[0].output, output);
        }
    }

    #[test]
    fn rows_without_a_name_are_rejected() {
        let dedupe = dedupe(r#"{"ttl_ms": 100, "fields": ["id"]}"#);
        let mut run = keyed(&dedupe);
        run.row(Input::null());
        for value in [r#"{"id": null}"#, "{}", r#"{"id": [1]}"#, "[]", "{"] {
            run.row(value);
        }
        assert_eq!(
            run.end().codes(),
            ["null-value", "missing-field", "missing-field", "bad-name", "not-an-object", "invalid-json"]
        );
    }

    #[test]
    fn configurations_that_make_no_sense_are_refused() {
        for (config, message) in [
            ("{}", "missing field `ttl_ms`"),
            (r#"{"ttl_ms": 0}"#, "`ttl_ms` is 0"),
            (r#"{"ttl_ms": 1, "fields": ["a", "a"]}"#, "named twice"),
            (r#"{"ttl_ms": 1, "time": "wall"}"#, "unknown variant `wall`"),
        ] {
            let error = plugin::<DedupeRows>(config).expect_err(config);
            assert!(error.contains(message), "{config}: {error}");
        }
    }
}

//! Count, sum, min, max and mean of a number in each key and window.
//!
//! The sum carries its rounding error along (`summary`), so that it hardly matters in which order rows come and
//! accumulators are merged.

mod summary;

use std::borrow::Cow;

use millstream_sdk::fields::Scalar;
use millstream_sdk::prelude::*;

use summary::Summary;

/// The configuration.
#[config]
pub struct Config {
    /// Path of the field with the number, such as `order.total`.
    field: String,
}

/// The plugin.
#[derive(Debug)]
pub struct Stats {
    fields: Fields,
    path: String,
}

/// What a window becomes.
#[derive(Debug, Serialize)]
struct Report<'a> {
    key: Option<Cow<'a, str>>,
    start: i64,
    end: i64,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
}

/// Computes count, sum, min, max and mean of a number in each key and window.
#[aggregate(outputs(stats = "One row a key and window: key, start, end, count, sum, min, max, mean."))]
impl Aggregate for Stats {
    type Config = Config;
    type Input<'a> = &'a [u8];
    type Accumulator = Summary;
    type Output = Row;

    fn new(config: Config) -> Result<Self> {
        Ok(Self { fields: Fields::new([&config.field])?, path: config.field })
    }

    fn add(&self, summary: &mut Summary, value: &[u8]) -> Result<()> {
        summary.add(self.number(value)?);
        Ok(())
    }

    fn merge(&self, earlier: &mut Summary, later: Summary) {
        earlier.merge(&later);
    }

    fn finish(&self, window: &Window<'_>, summary: &Summary) -> Result<Row> {
        if !summary.sum().is_finite() {
            reject!("sum-overflow", "the sum of field `{}` is too large for a number of 64 bits", self.path);
        }
        Row::json(&Report {
            key: window.key_text(),
            start: window.start,
            end: window.end,
            count: summary.count(),
            sum: summary.sum(),
            min: summary.min(),
            max: summary.max(),
            mean: summary.mean(),
        })
    }
}

impl Stats {
    fn number(&self, value: &[u8]) -> Result<f64> {
        let Some(text) = self.fields.read(value)?.first().copied().flatten() else {
            reject!("missing-field", "the object has no field `{}`", self.path);
        };
        let number = match Scalar::read(text)? {
            Scalar::Number(number) => number.parse().ok().filter(|number: &f64| number.is_finite()),
            Scalar::Null => reject!("missing-field", "field `{}` is null", self.path),
            Scalar::Bool(_) | Scalar::Text(_) | Scalar::Compound => None,
        };
        number.ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            Error::new("not-a-number", format_args!("field `{}` is `{shown}`, not a number of 64 bits", self.path))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{Input, TestDriver, fold, fold_merged, plugin};

    const WINDOW: (i64, i64) = (0, 1_000);

    fn stats() -> Stats {
        plugin(r#"{"field": "o.x"}"#).expect("the configuration fits")
    }

    fn row(key: &str, number: f64) -> Input {
        Input::value(format!(r#"{{"o": {{"x": {number:?}}}}}"#)).key(key)
    }

    #[test]
    fn each_key_has_its_figures() {
        let rows = [row("a", 1.0), row("b", -2.5), row("a", 4.0), row("a", -2.0)];
        let out = fold(&stats(), WINDOW, rows.clone());
        assert_eq!(
            out.values(),
            [
                r#"{"key":"a","start":0,"end":1000,"count":3,"sum":3.0,"min":-2.0,"max":4.0,"mean":1.0}"#,
                r#"{"key":"b","start":0,"end":1000,"count":1,"sum":-2.5,"min":-2.5,"max":-2.5,"mean":-2.5}"#,
            ]
        );
        assert_eq!(fold_merged(&stats(), WINDOW, rows), out);
    }

    #[test]
    fn rows_without_a_number_are_rejected_and_not_counted() {
        let values = [
            r#"{"o":{"x":1}}"#,
            r#"{"o":{}}"#,
            r#"{"o":{"x":"1"}}"#,
            r#"{"o":{"x":null}}"#,
            r#"{"o":{"x":1e999}}"#,
            "x",
            "[]",
        ];
        let out = fold(&stats(), WINDOW, values);
        assert_eq!(
            out.codes(),
            ["missing-field", "not-a-number", "missing-field", "not-a-number", "invalid-json", "not-an-object"]
        );
        assert_eq!(out.rows[0].json()["count"], 1);
    }

    #[test]
    fn a_sum_that_overflows_rejects_its_window() {
        let out = fold(&stats(), WINDOW, [row("a", f64::MAX), row("a", f64::MAX), row("b", 1.0)]);
        assert_eq!((out.codes(), out.rejected[0].row), (vec!["sum-overflow"], 0));
        assert_eq!(out.rows.len(), 1);
    }

    #[test]
    fn the_field_has_to_be_named() {
        let error = plugin::<Stats>("{}").expect_err("there is no default");
        assert!(error.contains("missing field `field`"), "{error}");
        assert!(plugin::<Stats>(r#"{"field": "a..b"}"#).is_err());
    }

    #[test]
    fn a_pipeline_gives_the_same_figures_however_its_input_is_cut() {
        let setup = TestDriver::of(
            r#"
            name = "figures"
            [source]
            topics = ["numbers"]
            [watermark]
            disorder = "50ms"
            [[steps]]
            name = "stats"
            plugin = "stats"
            config = { field = "o.x" }
            window = { tumbling = "100ms" }
            late = "late-numbers"
            [output]
            topic = "figures"
            [dead-letters]
            topic = "bad-numbers"
            "#,
        )
        .plugin::<Stats>("stats")
        .partitions("numbers", 2);
        setup.check_cuts(|driver| {
            let rows = (0..60_i64).map(|n| row(["a", "b", "c"][n as usize % 3], n as f64 / 7.0).at(n * 5 - n % 2 * 20));
            driver.feed("numbers", rows);
            driver.feed("numbers", [Input::value("?").key("a").at(298), row("b", 1.0).at(2)]);
            driver.end();
            assert_eq!((driver.late("stats").len(), driver.dead_letters()[0].code.as_str()), (1, "invalid-json"));
            let counts: u64 = driver.read("figures").iter().filter_map(|row| row.json()["count"].as_u64()).sum();
            assert_eq!(counts, 60);
        });
    }
}

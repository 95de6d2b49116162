//! Folds the numbers of a window: their sum, their count, the greatest, or all of them.

use millstream_sdk::prelude::*;

/// The configuration.
#[config]
pub struct Config {
    /// What the numbers become.
    agg: Aggregation,
}

/// What numbers become.
#[config]
#[derive(Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Aggregation {
    Sum,
    Count,
    Max,
    List,
}

/// What is kept of numbers; of a list all, of the others one.
#[derive(Debug, Default, Accumulator)]
pub struct Numbers {
    kept: Vec<i64>,
}

/// A row's number.
#[derive(Debug, Deserialize)]
pub struct Event {
    value: i64,
}

/// What a window becomes.
#[derive(Debug, Serialize)]
pub struct Folded<'a> {
    window: [i64; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<&'a [i64]>,
}

/// The plugin.
#[derive(Debug)]
pub struct Fold {
    agg: Aggregation,
}

/// Folds the numbers of a window.
#[aggregate(outputs(results = "One row a result: window and value, or window and values."))]
impl Aggregate for Fold {
    type Config = Config;
    type Input<'a> = Json<Event>;
    type Accumulator = Numbers;
    type Output = Row;

    fn new(config: Config) -> Result<Self> {
        Ok(Fold { agg: config.agg })
    }

    fn add(&self, numbers: &mut Numbers, Json(event): Json<Event>) -> Result<()> {
        self.take(numbers, if self.agg == Aggregation::Count { 1 } else { event.value });
        Ok(())
    }

    fn merge(&self, earlier: &mut Numbers, later: Numbers) {
        later.kept.into_iter().for_each(|number| self.take(earlier, number));
    }

    fn finish(&self, window: &Window<'_>, numbers: &Numbers) -> Result<Row> {
        let list = self.agg == Aggregation::List;
        let value = if list { None } else { Some(numbers.kept.first().copied().unwrap_or_default()) };
        let values = list.then_some(numbers.kept.as_slice());
        Row::json(&Folded { window: [window.start, window.end], value, values })
    }
}

impl Fold {
    fn take(&self, numbers: &mut Numbers, number: i64) {
        match (self.agg, numbers.kept.first_mut()) {
            (Aggregation::List, _) | (_, None) => numbers.kept.push(number),
            (Aggregation::Max, Some(kept)) => *kept = (*kept).max(number),
            (Aggregation::Sum | Aggregation::Count, Some(kept)) => *kept = kept.saturating_add(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_what_the_configuration_says() {
        let rows = [r#"{"value":2}"#, r#"{"value":5}"#, r#"{"value":-1}"#];
        for (agg, folded) in [
            ("sum", r#"{"window":[0,10],"value":6}"#),
            ("count", r#"{"window":[0,10],"value":3}"#),
            ("max", r#"{"window":[0,10],"value":5}"#),
            ("list", r#"{"window":[0,10],"values":[2,5,-1]}"#),
        ] {
            let fold = testing::plugin::<Fold>(&format!(r#"{{"agg":"{agg}"}}"#)).expect("a known aggregation");
            let out = testing::fold(&fold, (0, 10), rows);
            assert_eq!(out.values(), [folded]);
            assert_eq!(testing::fold_merged(&fold, (0, 10), rows), out);
        }
    }
}

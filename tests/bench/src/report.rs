//! The table of figures.

use serde::Serialize;

/// A figure.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    /// How many times the native loop's cost this is; absent where there is no native loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_to_native: Option<f64>,
}

/// All figures of a run.
#[derive(Debug)]
pub struct Report {
    only: String,
    rows: Vec<Row>,
}

impl Report {
    pub fn new(only: String) -> Self {
        Self { only, rows: Vec::new() }
    }

    /// Whether figures of this name are wanted.
    pub fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    /// Adds a figure of which less is better, with the native loop's.
    pub fn cost(&mut self, name: &str, value: f64, unit: &'static str, native: Option<f64>) {
        self.rows.push(Row {
            name: name.to_owned(),
            value,
            unit,
            ratio_to_native: native.map(|native| value / native),
        });
    }

    /// Adds a rate, with the native loop's.
    pub fn rate(&mut self, name: &str, value: f64, unit: &'static str, native: Option<f64>) {
        self.rows.push(Row {
            name: name.to_owned(),
            value,
            unit,
            ratio_to_native: native.map(|native| native / value),
        });
    }

    /// The figures as JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.rows)
    }

    /// Prints the figures as a table.
    #[expect(clippy::print_stdout, reason = "this is what the command is for")]
    pub fn print(&self) {
        println!("{:<32} {:>14}  {:<12} cost to native", "name", "value", "unit");
        for row in &self.rows {
            let ratio = row.ratio_to_native.map(|ratio| format!("{ratio:.1}×")).unwrap_or_default();
            let digits = if row.value < 1000.0 { 2 } else { 0 };
            println!("{:<32} {:>14.digits$}  {:<12} {ratio}", row.name, row.value, row.unit);
        }
    }
}

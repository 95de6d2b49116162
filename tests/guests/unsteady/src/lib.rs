//! Answers by how rows are divided into calls, in the two ways that authors happen on. It is there to be refused.

use std::sync::atomic::{AtomicU64, Ordering};

use millstream_sdk::prelude::*;

/// What its answers depend on.
#[config]
#[derive(Copy)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The rows before in the call, which a `static` counts.
    Static,
    /// The order of a `HashMap` of the standard library, whose seed depends on how many were made before.
    Order,
    /// The row alone.
    Row,
}

/// The configuration.
#[config]
pub struct Config {
    by: By,
}

/// The plugin.
#[derive(Debug)]
pub struct Unsteady {
    by: By,
}

/// Rows of this call.
static ROWS: AtomicU64 = AtomicU64::new(0);

/// Gives for each row what depends on more than the row.
#[transform]
impl Transform for Unsteady {
    type Config = Config;
    type Input<'a> = ();

    fn new(Config { by }: Config) -> Result<Self> {
        Ok(Self { by })
    }

    fn record(&self, (): (), out: &mut Out<'_, '_>) -> Result<()> {
        let value = match self.by {
            By::Static => format!("row {}", ROWS.fetch_add(1, Ordering::Relaxed)),
            By::Order => {
                let map: std::collections::HashMap<u64, ()> = (0..16).map(|number| (number, ())).collect();
                format!("order {:?}", map.keys().collect::<Vec<_>>())
            }
            By::Row => "row".to_owned(),
        };
        out.row().value(Some(value.as_bytes()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{Input, plugin, run};

    #[test]
    fn a_row_alone_is_always_answered_alike() {
        let steady = plugin::<Unsteady>(r#"{"by": "row"}"#).expect("the configuration fits");
        assert_eq!(run(&steady, [Input::null(), Input::null()]).values(), ["row", "row"]);
    }
}

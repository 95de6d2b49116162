//! What is kept of a row: which stages it can be of, and the fields that are in the result.

use millstream_sdk::expression::{Expression, Row};
use millstream_sdk::prelude::*;

/// An event. Its expressions are evaluated once, when it comes.
#[derive(Debug, Accumulator)]
pub struct Event {
    /// A bit for each stage whose expression it fulfils.
    stages: u32,
    /// The JSON text of each chosen field; none if the row lacks it.
    pub(crate) fields: Vec<Option<String>>,
}

impl Event {
    pub(crate) fn of(row: &Row<'_>, conditions: &[Expression], places: &[usize]) -> Result<Self> {
        let mut stages = 0;
        for (bit, condition) in conditions.iter().enumerate() {
            stages |= u32::from(row.fulfils(condition)?) << bit;
        }
        Ok(Self { stages, fields: places.iter().map(|&place| row.field(place).map(str::to_owned)).collect() })
    }

    /// Whether it fulfils the expression of the stage at a place. A pattern has 30 stages at most.
    pub(crate) fn fulfils(&self, stage: u32) -> bool {
        self.stages >> stage & 1 != 0
    }
}

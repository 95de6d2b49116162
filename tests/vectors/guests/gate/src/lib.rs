//! Tells rows from marks: what a vector says of time comes through the log like its events, and so is recovered and cut
//! with them.

use millstream_sdk::prelude::*;

/// The place of the output `watermark`.
const WATERMARK: u16 = 1;
/// The place of the output `idle`.
const IDLE: u16 = 2;
/// The place of the output `active`.
const ACTIVE: u16 = 3;

/// The plugin.
#[derive(Debug)]
pub struct Gate;

/// Sends the rows `watermark`, `idle` and `active` by outputs of those names; the others pass.
#[transform(outputs(
    events = "The rows that are no marks.",
    watermark = "Marks of watermarks, which their event times say.",
    idle = "Marks that no row is to be expected.",
    active = "Marks that rows are to be expected again."
))]
impl Transform for Gate {
    type Config = NoConfig;
    type Input<'a> = &'a [u8];

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Gate)
    }

    fn record(&self, value: &[u8], out: &mut Out<'_, '_>) -> Result<()> {
        match value {
            b"watermark" => out.pass_to(WATERMARK),
            b"idle" => out.pass_to(IDLE),
            b"active" => out.pass_to(ACTIVE),
            _ => out.pass(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_leave_by_their_outputs() {
        let out = testing::run(&Gate, ["watermark", "{}", "idle", "active", "watermarks"]);
        let outputs: Vec<_> = out.rows.iter().map(|row| row.output).collect();
        assert_eq!(outputs, ["watermark", "events", "idle", "active", "events"]);
    }
}

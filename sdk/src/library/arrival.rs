//! Whether a row came in time.

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a late row is the plugin's to send somewhere"]
pub enum Arrival {
    /// It takes part.
    Taken,
    /// It came too late and changed nothing.
    Late,
}

impl Arrival {
    /// Whether the row came too late.
    pub fn is_late(self) -> bool {
        self == Self::Late
    }
}

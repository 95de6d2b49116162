//! What plugins measure.

use serde::{Deserialize, Serialize};

/// A value that a plugin measures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The sum of what was added.
    Counter(u64),
    /// What was set last.
    Gauge(f64),
}

impl Metric {
    /// Where a metric of this kind begins.
    pub const fn zero(self) -> Self {
        match self {
            Self::Counter(_) => Self::Counter(0),
            Self::Gauge(_) => Self::Gauge(0.0),
        }
    }

    /// Puts an update into a value; one of the other kind is dropped.
    pub const fn into(self, value: &mut Self) {
        match (self, value) {
            (Self::Counter(more), Self::Counter(sum)) => *sum = sum.saturating_add(more),
            (Self::Gauge(new), Self::Gauge(last)) => *last = new,
            _ => {}
        }
    }
}

//! The configuration, and the join that it stands for.

use millstream_sdk::library::join::{AsOfJoin, IntervalJoin, Kind, LatestJoin, WindowJoin};
use millstream_sdk::prelude::*;

/// The configuration.
#[config]
pub struct Config {
    /// Which rows belong together.
    by: By,
    /// Which rows without a partner are in the result: those of no side, the left one, the right one, or both.
    #[serde(default)]
    kind: Kind,
    /// The input of the left side: the place of its topic among the pipeline's sources.
    #[serde(default)]
    left: u16,
    /// The input of the right side, or of the table.
    #[serde(default = "second")]
    right: u16,
    /// Whether results without a partner leave by the output `unmatched` instead of `joined`.
    #[serde(default)]
    split: bool,
}

/// Which rows belong together.
#[config]
#[serde(rename_all = "snake_case")]
enum By {
    /// Those with a time between them that is within bounds.
    Interval {
        /// The least time from the left row to the right one, in milliseconds; below zero if the right one can be earlier.
        lower_ms: i64,
        /// The greatest time from the left row to the right one.
        upper_ms: i64,
        /// Whether the least time itself is within the bounds.
        #[serde(default = "yes")]
        lower_inclusive: bool,
        /// Whether the greatest time itself is within the bounds.
        #[serde(default = "yes")]
        upper_inclusive: bool,
    },
    /// Those in the same window.
    Window {
        /// How long a window is, in milliseconds.
        size_ms: i64,
        /// How often one begins; the size, if not given.
        step_ms: Option<i64>,
        /// How long after multiples of the step.
        #[serde(default)]
        offset_ms: i64,
    },
    /// A left row and the newest row of the table on the right that has come.
    Latest {
        /// What makes a row of the table newer than another one.
        #[serde(default)]
        order: Order,
        /// For how many milliseconds of event time a row of the table counts; for good, if not given.
        ttl_ms: Option<u64>,
    },
    /// A left row and the newest row of the table on the right that is not after it.
    AsOf {
        /// How far below the watermark left rows can come, in milliseconds.
        #[serde(default)]
        retention_ms: u64,
        /// For how long after its time a row of the table counts; for good, if not given.
        max_age_ms: Option<u64>,
        /// Whether left rows wait until the watermark has reached their time, so that the table is complete up to there.
        #[serde(default = "yes")]
        wait: bool,
    },
}

/// What makes a row of the table newer than another one.
#[config]
#[derive(Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// Its event time.
    #[default]
    EventTime,
    /// That it came later.
    Arrival,
}

fn second() -> u16 {
    1
}

fn yes() -> bool {
    true
}

/// A join.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Method {
    Interval(IntervalJoin),
    Window(WindowJoin),
    Latest(LatestJoin),
    AsOf(AsOfJoin),
}

/// The plugin.
#[derive(Debug)]
pub struct Join {
    pub(crate) method: Method,
    pub(crate) kind: Kind,
    pub(crate) left: u16,
    pub(crate) right: u16,
    pub(crate) split: bool,
}

impl Join {
    pub(crate) fn of(config: &Config) -> Result<Self> {
        let &Config { ref by, kind, left, right, split } = config;
        if left == right {
            reject!("bad-config", "`left` and `right` are both input {left}: a join has two inputs");
        }
        if split && kind == Kind::Inner {
            reject!("bad-config", "`split` is for rows without a partner, of which an inner join has none: set `kind`");
        }
        if matches!(by, By::Latest { .. } | By::AsOf { .. }) && kind.keeps_right() {
            reject!("bad-config", "with a table on the right, `kind` is `inner` or `left`");
        }
        Ok(Self { method: method(by, kind)?, kind, left, right, split })
    }
}

fn method(by: &By, kind: Kind) -> Result<Method> {
    Ok(match *by {
        By::Interval { lower_ms, upper_ms, lower_inclusive, upper_inclusive } => {
            use std::ops::Bound::{Excluded, Included};
            let lower = if lower_inclusive { Included(lower_ms) } else { Excluded(lower_ms) };
            let upper = if upper_inclusive { Included(upper_ms) } else { Excluded(upper_ms) };
            Method::Interval(IntervalJoin::new(kind, (lower, upper))?)
        }
        By::Window { size_ms, step_ms, offset_ms } => {
            Method::Window(WindowJoin::hopping(kind, size_ms, step_ms.unwrap_or(size_ms))?.offset(offset_ms))
        }
        By::Latest { order, ttl_ms } => {
            let join = LatestJoin::new();
            let join = if order == Order::Arrival { join.by_arrival() } else { join };
            Method::Latest(ttl_ms.map_or(join, |ttl| join.ttl(Ttl::event_time(ttl))))
        }
        By::AsOf { retention_ms, max_age_ms, wait } => {
            let join = AsOfJoin::new().retention(retention_ms);
            let join = max_age_ms.map_or(join, |age| join.max_age(age));
            Method::AsOf(if wait { join } else { join.at_once() })
        }
    })
}

//! The pipelines: one for each kind of state.
//!
//! None depends on how two topics come together: what reads two has rows that are out of order but not late. Rows that are
//! too late are in `clicks` alone, whose pipelines read nothing else.

/// Topics that producers send to, each of one partition.
pub const CLICKS: &str = "clicks";
/// One side of the join.
pub const LEFT: &str = "left";
/// The other side.
pub const RIGHT: &str = "right";
/// What the reference table is made of.
pub const NAMES: &str = "names";

/// How far rows may be behind the newest before them without being late.
pub const DISORDER_MS: u64 = 500;

/// The plugins that the pipelines run.
pub const PLUGINS: &[&str] = &["count", "dedupe", "join", "look-up", "tally"];

/// The pipelines with their manifests.
pub const PIPELINES: &[(&str, &str)] = &[
    (
        "windows",
        r#"
name = "windows"
source = { topics = ["clicks"] }
watermark = { disorder = "500ms" }
output = { topic = "windows-out" }

[[steps]]
name = "count"
plugin = "count"
window = { tumbling = "2s", lateness = "10s" }
late = "windows-late"
"#,
    ),
    (
        "hops",
        r#"
name = "hops"
source = { topics = ["clicks"] }
watermark = { disorder = "500ms" }
output = { topic = "hops-out" }

[[steps]]
name = "count"
plugin = "count"
window = { hopping = "2s", slide = "500ms" }
late = "hops-late"
"#,
    ),
    (
        "sessions",
        r#"
name = "sessions"
source = { topics = ["clicks"] }
watermark = { disorder = "500ms" }
output = { topic = "sessions-out" }

[[steps]]
name = "count"
plugin = "count"
window = { session = "300ms", lateness = "5s" }
late = "sessions-late"
"#,
    ),
    (
        "visits",
        r#"
name = "visits"
source = { topics = ["clicks"] }
watermark = { disorder = "500ms" }
output = { topic = "visits-out" }

[[steps]]
name = "tally"
plugin = "tally"
config = { every = 1, quiet_ms = 400 }
"#,
    ),
    (
        "unique",
        r#"
name = "unique"
source = { topics = ["clicks"] }
watermark = { disorder = "500ms" }
output = { topic = "unique-out" }

[[steps]]
name = "dedupe"
plugin = "dedupe"
config = { ttl_ms = 5000, fields = ["id"], split = true, too_late = "split" }
outputs = { duplicates = "unique-again", late = "unique-late" }
"#,
    ),
    (
        "pairs",
        r#"
name = "pairs"
source = { topics = ["left", "right"] }
watermark = { disorder = "500ms" }
output = { topic = "pairs-out" }

[[steps]]
name = "join"
plugin = "join"
config = { by = { interval = { lower_ms = -500, upper_ms = 1000 } }, kind = "full", split = true }
grants = ["table"]
outputs = { unmatched = "pairs-unmatched", late = "pairs-late" }
"#,
    ),
    (
        "named",
        r#"
name = "named"
source = { topics = ["left"] }
output = { topic = "named-out" }

[[tables]]
name = "names"
topic = "names"

[[steps]]
name = "look-up"
plugin = "look-up"
lookup = ["names"]

[[steps]]
name = "tally"
plugin = "tally"
config = { every = 3 }
"#,
    ),
];

/// All that they write to, dead letters not counted: there are none.
pub const OUTPUTS: &[&str] = &[
    "windows-out",
    "windows-late",
    "hops-out",
    "hops-late",
    "sessions-out",
    "sessions-late",
    "visits-out",
    "unique-out",
    "unique-again",
    "unique-late",
    "pairs-out",
    "pairs-unmatched",
    "pairs-late",
    "named-out",
];

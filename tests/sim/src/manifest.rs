//! The topics and pipelines of a simulation.

use millstream::ids::Digest;
use millstream::log::{Cleanup, TopicConfig};

use crate::machine::Machine;

/// The source topics, with their partitions.
pub const SOURCES: [(&str, u32); 3] = [("in-a", 1), ("in-b", 2), ("in-c", 3)];
/// The topic of the reference table.
pub const NAMES: &str = "names";
/// Two topics that are empty: each is what one of two pipelines writes and the other reads.
pub const RING: [&str; 2] = ["ring-0-out", "ring-1-out"];
/// Keys of all sources: the same ones, so that what belongs together comes by several topics and partitions.
pub const KEYS: u64 = 4;
/// All times are multiples of it, so that rows are often at the end of a window, or just a gap apart.
pub const TICK_MS: u64 = 50;
/// How much older a record may be than the newest of its topic.
pub const BACK_MAX_MS: u64 = 4000;
/// How much newer a record is than the newest before it, always less.
pub const STEP_MAX_MS: u64 = 300;

/// The manifest of one of two pipelines that would pass on to one another.
pub fn ring(number: usize) -> String {
    let (source, output) = (RING[1 - number], RING[number]);
    let digest = Digest::of(b"pass-1");
    format!(
        "name = \"ring-{number}\"\n[source]\ntopics = [{source:?}]\n[[steps]]\nname = \"only\"\nplugin = \"pass@{digest}\"\n\
         [output]\ntopic = {output:?}\n[dead-letters]\ntopic = \"ring-{number}-dead\"\n"
    )
}

/// The configuration of the table's topic.
pub fn compacted(partitions: u32) -> TopicConfig {
    TopicConfig { cleanup: Cleanup::Compact, ..TopicConfig::with_partitions(partitions) }
}

/// What a pipeline does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Each row as it is.
    Pass,
    /// Each row with what a table has for its key.
    Look,
    /// Each row with all that came of its key.
    Chain,
    /// Windows side by side.
    Tumbling,
    /// Windows that overlap.
    Hopping,
    /// Windows of rows that follow one another.
    Session,
}

impl Kind {
    const fn has_windows(self) -> bool {
        matches!(self, Self::Tumbling | Self::Hopping | Self::Session)
    }
}

/// A pipeline. What of it never changes is drawn from the seed; the rest is what `apply` changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Places in [`SOURCES`].
    pub sources: Vec<usize>,
    /// How much out of order rows may be.
    pub disorder_ms: u64,
    /// The size of its windows.
    pub window_ms: u64,
    /// For how long they take late rows.
    pub lateness_ms: u64,
    /// Whether late rows go to a compacted topic.
    pub late_compacted: bool,
    /// After how many seconds without records a partition is idle, and how many it may be ahead; 0 for neither. Only where
    /// no result depends on it.
    pub idle_s: u64,
    /// The version of its plugin.
    pub version: u64,
    /// The seconds between checkpoints; 0 for none.
    pub every_s: u64,
    /// How many of each kind are kept.
    pub keep: u64,
}

impl Shape {
    /// A pipeline of this name.
    pub fn draw(machine: &Machine, name: &str) -> Self {
        const KINDS: [Kind; 7] =
            [Kind::Pass, Kind::Look, Kind::Chain, Kind::Chain, Kind::Tumbling, Kind::Hopping, Kind::Session];
        let kind = KINDS[machine.below(KINDS.len() as u64) as usize];
        // How often a window gives results for late rows is known where one partition says what time it is.
        let late = matches!(kind, Kind::Tumbling | Kind::Hopping) && machine.one_in(2);
        let mut sources = vec![if late { 0 } else { machine.below(3) as usize }];
        let more = machine.below(3) as usize;
        if !late && !sources.contains(&more) {
            sources.push(more);
        }
        Self {
            name: name.to_owned(),
            kind,
            sources,
            // Whether a row that comes too late finds its session is known to nobody, so none may.
            disorder_ms: if kind == Kind::Session { BACK_MAX_MS } else { machine.below(3) * 500 },
            window_ms: 1000 + machine.below(4) * 500,
            lateness_ms: if late { 500 + machine.below(4) * 500 } else { 0 },
            late_compacted: kind.has_windows() && machine.one_in(3),
            idle_s: if kind == Kind::Chain { machine.below(3) * 2 } else { 0 },
            version: 1,
            every_s: 0,
            keep: 1 + machine.below(2),
        }
    }

    /// Changes what `apply` may change.
    pub fn change(&mut self, machine: &Machine) {
        match machine.below(4) {
            0 => self.every_s = machine.below(4) * 5,
            _ => self.version = 1 + machine.below(self.versions()),
        }
    }

    fn versions(&self) -> u64 {
        match self.kind {
            Kind::Pass | Kind::Look => 2,
            Kind::Chain | Kind::Tumbling | Kind::Hopping | Kind::Session => 3,
        }
    }

    fn plugin(&self) -> &'static str {
        match self.kind {
            Kind::Pass => "pass",
            Kind::Look => "look",
            Kind::Chain => "chain",
            Kind::Tumbling | Kind::Hopping | Kind::Session => "collect",
        }
    }

    /// The topic of its late rows.
    pub fn late(&self) -> String {
        format!("{}-late", self.name)
    }

    /// Its manifest.
    pub fn manifest(&self) -> String {
        let Self { name, disorder_ms, window_ms, lateness_ms, every_s, keep, idle_s, version, .. } = self;
        let plugin = self.plugin();
        let digest = Digest::of(format!("{plugin}-{version}").as_bytes());
        let topics: Vec<String> = self.sources.iter().map(|&source| format!("{:?}", SOURCES[source].0)).collect();
        let mut text = format!("name = {name:?}\n[source]\ntopics = [{}]\n", topics.join(", "));
        text += &format!("[watermark]\ndisorder = \"{disorder_ms}ms\"\n");
        if *idle_s > 0 {
            text += &format!("idle = \"{idle_s}s\"\ndrift = \"{idle_s}s\"\n");
        }
        if *every_s > 0 {
            text += &format!("[checkpoint]\nevery = \"{every_s}s\"\nkeep = {keep}\n");
        }
        if self.kind == Kind::Look {
            text += &format!("[[tables]]\nname = \"names\"\ntopic = \"{NAMES}\"\n");
        }
        text += &format!("[[steps]]\nname = \"only\"\nplugin = \"{plugin}@{digest}\"\n");
        let lateness = if *lateness_ms > 0 { format!(", lateness = \"{lateness_ms}ms\"") } else { String::new() };
        match self.kind {
            Kind::Look => text += "lookup = [\"names\"]\n",
            Kind::Tumbling => text += &format!("window = {{ tumbling = \"{window_ms}ms\"{lateness} }}\n"),
            Kind::Hopping => {
                text += &format!("window = {{ hopping = \"{window_ms}ms\", slide = \"500ms\"{lateness} }}\n");
            }
            Kind::Session => {
                let gap_ms = window_ms / 4 / TICK_MS * TICK_MS;
                text += &format!("window = {{ session = \"{gap_ms}ms\" }}\n");
            }
            Kind::Pass | Kind::Chain => {}
        }
        if self.kind.has_windows() {
            text += &format!("late = {:?}\n", self.late());
        }
        text + &format!("[output]\ntopic = \"{name}-out\"\n[dead-letters]\ntopic = \"{name}-dead\"\n")
    }
}

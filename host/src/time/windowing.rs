//! What kinds of window there are and when they give results. Pure description; `state` holds what is in them.

use super::window::{Hopping, Tumbling};

/// How rows are put into windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Windows of one size, side by side.
    Tumbling(Tumbling),
    /// Windows of one size that begin every so often, and overlap.
    Hopping(Hopping),
    /// Rows of a key that follow one another within a gap.
    Session(Session),
    /// Every so many rows of a key.
    Count {
        /// Rows of a window.
        rows: u64,
    },
    /// One window that never ends.
    Global,
}

/// Windows that end when a key has been silent for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The gap in milliseconds, above zero: a row exactly this long after another is still in its session.
    pub gap_ms: i64,
    /// The header that says the gap of its row, in milliseconds, where it is not the usual one.
    pub gap_header: Option<String>,
}

/// What a result has in it when a window gives more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Everything that the window has taken.
    #[default]
    Accumulating,
    /// What it has taken since its last result.
    Discarding,
}

/// Results before a window is complete. A window gives one only if it has taken rows since its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Early {
    /// Whenever the watermark passes a multiple of so many milliseconds since the epoch that comes after the time of the
    /// window's first row.
    Event(i64),
    /// Whenever the clock passes a multiple of so many milliseconds since the epoch.
    Processing(i64),
    /// Whenever the window has taken so many rows since its last result.
    Rows(u64),
}

/// The windows of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windowing {
    /// How rows are put into windows.
    pub kind: Kind,
    /// For how long after its end a window takes rows, in milliseconds; each gives a new result.
    pub lateness_ms: i64,
    /// Results before its end.
    pub early: Option<Early>,
    /// What results have in them.
    pub mode: Mode,
}

impl Windowing {
    /// Whether each row is in one window of a fixed grid that gives one result: the case that is made to be fastest.
    pub fn plain_tumbling(&self) -> Option<Tumbling> {
        match self {
            Self { kind: Kind::Tumbling(tumbling), lateness_ms: 0, early: None, .. } => Some(*tumbling),
            _ => None,
        }
    }

    /// Whether overlapping windows are made of slices, so that each row is kept once. Windows that give early results, or
    /// forget what they gave, are not: each has contents of its own.
    pub fn is_sliced(&self) -> bool {
        let forgets = self.mode == Mode::Discarding && self.lateness_ms > 0;
        match &self.kind {
            Kind::Hopping(hopping) => hopping.size_ms() > hopping.slide_ms() && self.early.is_none() && !forgets,
            _ => false,
        }
    }

    /// The windows in a few words that say what state they have: state of one description fits no other.
    pub fn describe(&self) -> String {
        // What is left out of an open window once it was given is gone, and what was given cannot be taken out.
        let forgets = if self.mode == Mode::Discarding { ", discarding" } else { "" };
        match &self.kind {
            Kind::Tumbling(tumbling) => {
                let (size, offset) = (tumbling.size_ms(), tumbling.offset_ms());
                let more = match self.plain_tumbling() {
                    Some(_) => String::new(),
                    None => format!(", with more than one result{forgets}"),
                };
                format!("tumbling of {size} ms from {offset} ms{more}")
            }
            Kind::Hopping(hopping) => {
                let sliced = if self.is_sliced() { ", in slices" } else { "" };
                let (size, slide, offset) = (hopping.size_ms(), hopping.slide_ms(), hopping.offset_ms());
                format!("hopping of {size} ms every {slide} ms from {offset} ms{sliced}{forgets}")
            }
            Kind::Session(_) => format!("sessions{forgets}"),
            Kind::Count { rows } => format!("of {rows} rows{forgets}"),
            Kind::Global => format!("global{forgets}"),
        }
    }

    /// The windows of a description, if they are [plain tumbling](Self::plain_tumbling) ones.
    pub fn plain_tumbling_of(description: &str) -> Option<Tumbling> {
        let (size, offset) = description.strip_prefix("tumbling of ")?.split_once(" ms from ")?;
        Tumbling::new(size.parse().ok()?, offset.strip_suffix(" ms")?.parse().ok()?)
    }
}

//! What windows must come to, by definition: a model that keeps every row and does everything millisecond by
//! millisecond, key by key.

use std::collections::BTreeSet;

use crate::time::{Early, Kind, Mode, Session, Window, Windowing};

/// A row of a test.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) time: i64,
    pub(super) key: char,
    pub(super) gap: Option<i64>,
    pub(super) rejected: bool,
}

impl Row {
    /// The value that the guests read it from.
    pub(super) fn text(&self, number: usize) -> String {
        let gap = self.gap.map_or("-".to_owned(), |gap| gap.to_string());
        let word = if self.rejected { "reject " } else { "" };
        format!("{} {} {gap} {word}#{number:03}", self.time, self.key)
    }
}

/// A window of a key.
#[derive(Debug, Clone)]
struct KeyedWindow {
    key: char,
    window: Window,
    /// The rows that a result would have in it.
    rows: BTreeSet<usize>,
    /// Whether there is something new since the last result.
    fresh: bool,
    /// Rows since the last result, and since the window began, rejected ones included.
    since: u64,
    count: u64,
    newest: i64,
    /// Early results come after this time, which is that of the first row.
    from: Option<i64>,
}

/// Results and late rows so far.
#[derive(Debug)]
pub(super) struct Model {
    windowing: Windowing,
    watermark: Option<i64>,
    keyed_windows: Vec<KeyedWindow>,
    pub(super) out: Vec<(i64, String)>,
    pub(super) late: Vec<usize>,
}

/// Before every time of a test.
const BEGINNING: i64 = -10_000;

impl Model {
    pub(super) fn new(windowing: Windowing) -> Self {
        Self { windowing, watermark: None, keyed_windows: Vec::new(), out: Vec::new(), late: Vec::new() }
    }

    /// The watermark comes to a time: everything is done that is due at each millisecond until then.
    pub(super) fn advance(&mut self, watermark: Option<i64>) {
        let Some(to) = watermark else { return };
        for now in self.watermark.unwrap_or(BEGINNING) + 1..=to {
            self.keyed_windows
                .sort_by_key(|keyed_window| (keyed_window.window.end, keyed_window.window.start, keyed_window.key));
            for at in 0..self.keyed_windows.len() {
                let at_end = !self.is_endless() && self.keyed_windows[at].window.last() == now;
                let open = self.is_endless() || self.keyed_windows[at].window.last() > now;
                let early = matches!(self.windowing.early, Some(Early::Event(every)) if now.rem_euclid(every) == 0);
                let early = early && self.keyed_windows[at].from.is_some_and(|from| now > from);
                if at_end || open && early {
                    self.fire(at);
                }
            }
            let (endless, lateness) = (self.is_endless(), self.windowing.lateness_ms);
            self.keyed_windows.retain(|keyed_window| endless || keyed_window.window.last() + lateness > now);
        }
        self.watermark = Some(self.watermark.map_or(to, |before| before.max(to)));
    }

    pub(super) fn row(&mut self, number: usize, row: &Row) {
        let windows: Vec<Window> = match &self.windowing.kind {
            Kind::Tumbling(tumbling) => tumbling.window_of(row.time).into_iter().collect(),
            Kind::Hopping(hopping) => hopping.windows_of(row.time).expect("far from the ends").collect(),
            Kind::Session(Session { gap_ms, .. }) => {
                let own = Window { start: row.time, end: row.time + row.gap.unwrap_or(*gap_ms) };
                self.merge(row.key, own)
            }
            Kind::Count { .. } | Kind::Global => vec![Window::ALL],
        };
        let none = windows.is_empty();
        let open: Vec<Window> = windows.into_iter().filter(|window| !self.is_over(window.last())).collect();
        if open.is_empty() && (!none || self.is_over(row.time)) {
            self.late.push(number);
        }
        for window in open {
            self.put(window, number, row);
        }
    }

    /// Makes one of the sessions that touch `own`, if the outcome is still open: the session it is then.
    fn merge(&mut self, key: char, own: Window) -> Vec<Window> {
        let (mut same, others): (Vec<KeyedWindow>, Vec<KeyedWindow>) = self
            .keyed_windows
            .drain(..)
            .partition(|keyed_window| keyed_window.key == key && keyed_window.window.touches(own));
        self.keyed_windows = others;
        same.sort_by_key(|keyed_window| keyed_window.window.start);
        let window = same.iter().fold(own, |window, keyed_window| window.cover(keyed_window.window));
        let several = same.len() > 1;
        let merged = same.into_iter().reduce(|mut merged, keyed_window| {
            merged.rows.extend(keyed_window.rows);
            merged.from = merged.from.min(keyed_window.from);
            (merged.since, merged.count) = (merged.since + keyed_window.since, merged.count + keyed_window.count);
            merged
        });
        if let Some(mut merged) = merged {
            merged.window = window;
            merged.fresh |= several;
            self.keyed_windows.push(merged);
        }
        vec![window]
    }

    fn put(&mut self, window: Window, number: usize, row: &Row) {
        let found = self
            .keyed_windows
            .iter()
            .position(|keyed_window| keyed_window.key == row.key && keyed_window.window == window);
        let at = found.unwrap_or_else(|| {
            let (rows, key) = (BTreeSet::new(), row.key);
            self.keyed_windows.push(KeyedWindow {
                key,
                window,
                rows,
                fresh: false,
                since: 0,
                count: 0,
                newest: i64::MIN,
                from: None,
            });
            self.keyed_windows.len() - 1
        });
        let keyed_window = &mut self.keyed_windows[at];
        keyed_window.from = keyed_window.from.or(Some(row.time));
        keyed_window.since += 1;
        keyed_window.count += 1;
        keyed_window.newest = keyed_window.newest.max(row.time);
        if !row.rejected {
            keyed_window.rows.insert(number);
            keyed_window.fresh = true;
        }
        let (since, count) = (keyed_window.since, keyed_window.count);
        let ended = !self.is_endless() && self.watermark.is_some_and(|watermark| window.last() <= watermark);
        let whole = matches!(self.windowing.kind, Kind::Count { rows } if count >= rows);
        let enough = matches!(self.windowing.early, Some(Early::Rows(rows)) if since >= rows);
        if ended || whole || enough {
            self.fire(at);
        }
        if whole {
            self.keyed_windows.remove(at);
        }
    }

    fn fire(&mut self, at: usize) {
        let (endless, discards) = (self.is_endless(), self.windowing.mode == Mode::Discarding);
        let keyed_window = &mut self.keyed_windows[at];
        keyed_window.since = 0;
        keyed_window.from = if discards && self.windowing.kind == Kind::Global { None } else { Some(i64::MIN) };
        if std::mem::take(&mut keyed_window.fresh) && !keyed_window.rows.is_empty() {
            let rows: Vec<String> = keyed_window.rows.iter().map(|number| format!("#{number:03}")).collect();
            let (key, Window { start, end }) = (keyed_window.key, keyed_window.window);
            let time = if endless { keyed_window.newest } else { keyed_window.window.last() };
            self.out.push((time, format!("{key} [{start} {end}) {}", rows.join(","))));
        }
        if discards {
            keyed_window.rows.clear();
            keyed_window.newest = i64::MIN;
        }
    }

    /// Whether rows of a window that ends with this millisecond are late.
    fn is_over(&self, last: i64) -> bool {
        !self.is_endless() && self.watermark.is_some_and(|watermark| last + self.windowing.lateness_ms <= watermark)
    }

    fn is_endless(&self) -> bool {
        matches!(self.windowing.kind, Kind::Count { .. } | Kind::Global)
    }
}

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
struct Pane {
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
    panes: Vec<Pane>,
    pub(super) out: Vec<(i64, String)>,
    pub(super) late: Vec<usize>,
}

/// Before every time of a test.
const BEGINNING: i64 = -10_000;

impl Model {
    pub(super) fn new(windowing: Windowing) -> Self {
        Self { windowing, watermark: None, panes: Vec::new(), out: Vec::new(), late: Vec::new() }
    }

    /// The watermark comes to a time: everything is done that is due at each millisecond until then.
    pub(super) fn advance(&mut self, watermark: Option<i64>) {
        let Some(to) = watermark else { return };
        for now in self.watermark.unwrap_or(BEGINNING) + 1..=to {
            self.panes.sort_by_key(|pane| (pane.window.end, pane.window.start, pane.key));
            for at in 0..self.panes.len() {
                let at_end = !self.is_endless() && self.panes[at].window.last() == now;
                let open = self.is_endless() || self.panes[at].window.last() > now;
                let early = matches!(self.windowing.early, Some(Early::Event(every)) if now.rem_euclid(every) == 0);
                let early = early && self.panes[at].from.is_some_and(|from| now > from);
                if at_end || open && early {
                    self.fire(at);
                }
            }
            let (endless, lateness) = (self.is_endless(), self.windowing.lateness_ms);
            self.panes.retain(|pane| endless || pane.window.last() + lateness > now);
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
        let (mut same, others): (Vec<Pane>, Vec<Pane>) =
            self.panes.drain(..).partition(|pane| pane.key == key && pane.window.touches(own));
        self.panes = others;
        same.sort_by_key(|pane| pane.window.start);
        let window = same.iter().fold(own, |window, pane| window.cover(pane.window));
        let several = same.len() > 1;
        let merged = same.into_iter().reduce(|mut merged, pane| {
            merged.rows.extend(pane.rows);
            merged.from = merged.from.min(pane.from);
            (merged.since, merged.count) = (merged.since + pane.since, merged.count + pane.count);
            merged
        });
        if let Some(mut merged) = merged {
            merged.window = window;
            merged.fresh |= several;
            self.panes.push(merged);
        }
        vec![window]
    }

    fn put(&mut self, window: Window, number: usize, row: &Row) {
        let found = self.panes.iter().position(|pane| pane.key == row.key && pane.window == window);
        let at = found.unwrap_or_else(|| {
            let (rows, key) = (BTreeSet::new(), row.key);
            self.panes.push(Pane { key, window, rows, fresh: false, since: 0, count: 0, newest: i64::MIN, from: None });
            self.panes.len() - 1
        });
        let pane = &mut self.panes[at];
        pane.from = pane.from.or(Some(row.time));
        pane.since += 1;
        pane.count += 1;
        pane.newest = pane.newest.max(row.time);
        if !row.rejected {
            pane.rows.insert(number);
            pane.fresh = true;
        }
        let (since, count) = (pane.since, pane.count);
        let ended = !self.is_endless() && self.watermark.is_some_and(|watermark| window.last() <= watermark);
        let whole = matches!(self.windowing.kind, Kind::Count { rows } if count >= rows);
        let enough = matches!(self.windowing.early, Some(Early::Rows(rows)) if since >= rows);
        if ended || whole || enough {
            self.fire(at);
        }
        if whole {
            self.panes.remove(at);
        }
    }

    fn fire(&mut self, at: usize) {
        let (endless, discards) = (self.is_endless(), self.windowing.mode == Mode::Discarding);
        let pane = &mut self.panes[at];
        pane.since = 0;
        pane.from = if discards && self.windowing.kind == Kind::Global { None } else { Some(i64::MIN) };
        if std::mem::take(&mut pane.fresh) && !pane.rows.is_empty() {
            let rows: Vec<String> = pane.rows.iter().map(|number| format!("#{number:03}")).collect();
            let (key, Window { start, end }) = (pane.key, pane.window);
            let time = if endless { pane.newest } else { pane.window.last() };
            self.out.push((time, format!("{key} [{start} {end}) {}", rows.join(","))));
        }
        if discards {
            pane.rows.clear();
            pane.newest = i64::MIN;
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

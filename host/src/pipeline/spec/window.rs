//! The table `window` of a step.

use serde::Deserialize;
use toml::Spanned;

use super::{ManifestError, Text};
use crate::time::{Early, HOPS_MAX, Hopping, Kind, Mode, Session, Tumbling, Windowing};

/// Longest allowed lateness, gap and size: a thousand years. Sums with event times are checked; this keeps sums of
/// durations from having to be.
const LONGEST_MS: i64 = 1000 * 366 * 86_400_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WindowTable {
    tumbling: Option<Spanned<String>>,
    hopping: Option<Spanned<String>>,
    slide: Option<Spanned<String>>,
    session: Option<Spanned<String>>,
    pub(super) gap_header: Option<Spanned<String>>,
    count: Option<Spanned<u64>>,
    global: Option<Spanned<bool>>,
    offset: Option<Spanned<String>>,
    lateness: Option<Spanned<String>>,
    early: Option<Spanned<String>>,
    early_clock: Option<Spanned<Clock>>,
    early_rows: Option<Spanned<u64>>,
    results: Option<Results>,
}

/// What early results are timed by.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Clock {
    Event,
    Processing,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Results {
    Accumulating,
    Discarding,
}

impl Text<'_> {
    pub(super) fn windowing(&self, table: &Spanned<WindowTable>) -> Result<Windowing, ManifestError> {
        let window = table.get_ref();
        let kind = self.kind(table)?;
        let timed = matches!(kind, Kind::Tumbling(_) | Kind::Hopping(_) | Kind::Session(_));
        let lateness_ms = match &window.lateness {
            None => 0,
            Some(lateness) if timed => self.length(lateness, 0)?,
            Some(lateness) => {
                return Err(self.at(lateness, "no row is late for a window that does not end by time".to_owned()));
            }
        };
        if let (Some(offset), false) = (&window.offset, matches!(kind, Kind::Tumbling(_) | Kind::Hopping(_))) {
            return Err(self.at(offset, "only `tumbling` and `hopping` windows have an `offset`".to_owned()));
        }
        let mode = match window.results {
            Some(Results::Discarding) => Mode::Discarding,
            Some(Results::Accumulating) | None => Mode::Accumulating,
        };
        let windowing = Windowing { kind, lateness_ms, early: self.early(window)?, mode };
        if windowing.kind == Kind::Global && windowing.early.is_none() {
            let message = "a `global` window never ends: say with `early` or `early-rows` when it gives results";
            return Err(self.at(table, message.to_owned()));
        }
        Ok(windowing)
    }

    fn kind(&self, table: &Spanned<WindowTable>) -> Result<Kind, ManifestError> {
        let window = table.get_ref();
        let global = window.global.as_ref().filter(|global| *global.get_ref());
        let kinds = [
            window.tumbling.is_some(),
            window.hopping.is_some(),
            window.session.is_some(),
            window.count.is_some(),
            global.is_some(),
        ];
        if kinds.iter().filter(|given| **given).count() != 1 {
            let message = "a window is one of `tumbling`, `hopping`, `session`, `count`, `global`";
            return Err(self.at(table, message.to_owned()));
        }
        if let (Some(slide), None) = (&window.slide, &window.hopping) {
            return Err(self.at(slide, "only a `hopping` window has a `slide`".to_owned()));
        }
        if let (Some(header), None) = (&window.gap_header, &window.session) {
            return Err(self.at(header, "only a `session` window has a `gap-header`".to_owned()));
        }
        let offset_ms = window.offset.as_ref().map_or(Ok(0), |offset| self.offset(offset))?;
        if let Some(size) = &window.tumbling {
            let tumbling = Tumbling::new(self.length(size, 1)?, offset_ms);
            return tumbling
                .map(Kind::Tumbling)
                .ok_or_else(|| self.at(size, "a window is at least 1ms long".to_owned()));
        }
        if let Some(size) = &window.hopping {
            let Some(slide) = &window.slide else {
                return Err(self.at(size, "a `hopping` window says its `slide`, such as \"2s\"".to_owned()));
            };
            let (size_ms, slide_ms) = (self.length(size, 1)?, self.length(slide, 1)?);
            return Hopping::new(size_ms, slide_ms, offset_ms).map(Kind::Hopping).ok_or_else(|| {
                let windows = (size_ms - 1) / slide_ms + 1;
                let message =
                    format!("each row would be in {windows} windows, the limit is {HOPS_MAX}: use a longer `slide`");
                self.at(slide, message)
            });
        }
        if let Some(gap) = &window.session {
            let gap_header = window.gap_header.as_ref().map(|header| header.get_ref().clone());
            return Ok(Kind::Session(Session { gap_ms: self.length(gap, 1)?, gap_header }));
        }
        Ok(match &window.count {
            Some(rows) => Kind::Count { rows: self.rows(rows)? },
            None => Kind::Global,
        })
    }

    fn early(&self, window: &WindowTable) -> Result<Option<Early>, ManifestError> {
        match (&window.early, &window.early_clock, &window.early_rows) {
            (None, Some(clock), _) => {
                Err(self.at(clock, "`early-clock` says what `early` is measured in, which is not there".to_owned()))
            }
            (Some(_), _, Some(rows)) => Err(self.at(rows, "use one of `early` and `early-rows`".to_owned())),
            (Some(interval), clock, None) => {
                let interval_ms = self.length(interval, 1)?;
                let processing = clock.as_ref().is_some_and(|clock| *clock.get_ref() == Clock::Processing);
                Ok(Some(if processing { Early::Processing(interval_ms) } else { Early::Event(interval_ms) }))
            }
            (None, None, Some(rows)) => Ok(Some(Early::Rows(self.rows(rows)?))),
            (None, None, None) => Ok(None),
        }
    }

    fn rows(&self, rows: &Spanned<u64>) -> Result<u64, ManifestError> {
        match *rows.get_ref() {
            0 => Err(self.at(rows, "a number of rows is at least 1".to_owned())),
            rows => Ok(rows),
        }
    }

    /// A duration of at least that many milliseconds.
    pub(super) fn length(&self, text: &Spanned<String>, least_ms: i64) -> Result<i64, ManifestError> {
        let ms = self.duration(text)?;
        if ms < least_ms {
            return Err(self.at(text, format!("`{}` is too short: at least {least_ms} ms", text.get_ref())));
        }
        if ms > LONGEST_MS {
            return Err(self.at(text, format!("`{}` is too long: at most a thousand years", text.get_ref())));
        }
        Ok(ms)
    }

    /// A duration that may have a sign, such as `-5h`.
    fn offset(&self, text: &Spanned<String>) -> Result<i64, ManifestError> {
        let (sign, digits) = match text.get_ref().strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text.get_ref().strip_prefix('+').unwrap_or(text.get_ref())),
        };
        match super::duration_ms(digits) {
            Some(ms) if ms <= LONGEST_MS => Ok(sign * ms),
            _ => Err(ManifestError {
                hint: Some("write a whole number and a unit, such as 2h or -5h30m in minutes: -330m".to_owned()),
                ..self.at(text, format!("`{}` is no offset", text.get_ref()))
            }),
        }
    }
}

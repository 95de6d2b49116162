//! Progress bars, on standard error, where somebody sees them.

use std::io::Read;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar without a length shows that something goes on.
const TICK: Duration = Duration::from_millis(120);

/// A bar over bytes. Draws nothing where standard error is no terminal.
pub(super) fn bytes(what: &'static str, length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
        None => (ProgressBar::no_length(), "{msg} {spinner} {bytes} {bytes_per_sec}"),
    };
    styled(bar, what, template)
}

/// A bar over things that are counted.
pub(super) fn steps(what: &'static str, count: u64) -> ProgressBar {
    let bar = styled(ProgressBar::new(count), what, "{msg} {wide_bar} {pos}/{len} {elapsed}");
    bar.enable_steady_tick(TICK);
    bar
}

/// Shows that something goes on whose end is not known.
pub(super) fn spinner(what: &'static str) -> ProgressBar {
    let bar = styled(ProgressBar::new_spinner(), what, "{msg} {spinner} {elapsed}");
    bar.enable_steady_tick(TICK);
    bar
}

fn styled(bar: ProgressBar, what: &'static str, template: &str) -> ProgressBar {
    bar.with_style(ProgressStyle::with_template(template).expect("the templates above are well formed"))
        .with_message(what)
}

/// A reader that moves a bar.
pub(super) struct Shown<R> {
    reader: R,
    bar: ProgressBar,
}

impl<R> Shown<R> {
    pub(super) const fn new(reader: R, bar: ProgressBar) -> Self {
        Self { reader, bar }
    }
}

impl<R: Read> Read for Shown<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(into)?;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

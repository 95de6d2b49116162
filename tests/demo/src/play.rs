//! The demo: clicks are written and counted, the server is killed in the middle, the stream ends, everything is counted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use harness::clicks::Clicks;
use harness::until;
use millstream::pipeline::status::{PipelineStatus, State};
use millstream::record::Batch;

use crate::Flags;
use crate::feed::{Feed, Written};
use crate::interrupt::Interrupt;
use crate::probe::{self, Latency};
use crate::screen::{Scene, Screen};
use crate::stage::{PATIENCE, Stage};

/// Time between two looks at the pipeline.
const LOOK: Duration = Duration::from_millis(50);
/// Time over which the rate that is shown is taken.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// What happened.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) written: Written,
    /// Clicks of the stream, those that end it included.
    pub(crate) clicks: u64,
    /// From the first of them to the last one counted.
    pub(crate) wall: Duration,
    pub(crate) kills: Vec<Kill>,
    pub(crate) latency: Latency,
}

/// A kill and how long it was felt, from the signal on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kill {
    /// Until the server answered.
    pub(crate) answers: Duration,
    /// Until the pipeline had committed new records.
    pub(crate) counts: Duration,
}

/// Runs the demonstration.
pub(crate) fn play(
    flags: Flags,
    stage: &mut Stage,
    screen: &mut Screen,
    interrupt: &Interrupt,
) -> anyhow::Result<Played> {
    let start = Instant::now();
    let feed = Feed::start(flags, stage);
    let mut watch = Watch::new(start);
    let mut kills = Vec::new();
    while !feed.is_over() || (kills.len() as u32) < flags.kills {
        std::thread::sleep(LOOK);
        interrupt.check()?;
        watch.look(stage, &feed, screen)?;
        if start.elapsed() >= Duration::from_secs(flags.seconds) {
            feed.end();
        }
        let next = f64::from(kills.len() as u32 + 1) / f64::from(flags.kills + 1);
        if (kills.len() as u32) < flags.kills && share(flags, start, &feed) >= next {
            kills.push(kill(stage, &feed, screen, start)?);
        }
    }
    let mut written = feed.written()?;
    close(&mut written)?;
    let clicks = written.answer.rows;
    screen.note(start.elapsed(), "the stream has ended; a last click in each partition moves event time on")?;
    drained(stage, interrupt)?;
    let wall = start.elapsed();
    screen.note(wall, "everything is counted; now single clicks, to see how long one takes")?;
    let latency = probe::measure(stage, &mut written, interrupt)?;
    Ok(Played { written, clicks, wall, kills, latency })
}

/// How much of the stream is written, of its clicks or of its time.
fn share(flags: Flags, start: Instant, feed: &Feed) -> f64 {
    let of_records = feed.acknowledged() as f64 / flags.records.max(1) as f64;
    let of_time = start.elapsed().as_secs_f64() / flags.seconds.max(1) as f64;
    of_records.max(of_time)
}

fn kill(stage: &mut Stage, feed: &Feed, screen: &mut Screen, start: Instant) -> anyhow::Result<Kill> {
    screen.note(start.elapsed(), "SIGKILL: the server is gone, with whatever it had in memory")?;
    let killed = Instant::now();
    stage.server.kill()?;
    stage.server.start_again()?;
    let answers = killed.elapsed();
    let mut replay = None;
    let counts = until(PATIENCE, "the pipeline to count again", || {
        let status = stage.client.pipeline(&stage.names.pipeline)?;
        if status.state != State::Running {
            return Ok(None);
        }
        let first = *replay.get_or_insert(status.usage.records_in);
        let goes_on = status.usage.records_in > first || (feed.is_over() && is_drained(&status));
        Ok(goes_on.then(|| killed.elapsed()))
    })?;
    screen.note(
        start.elapsed(),
        &format!(
            "the server answers after {answers:.2?} and counts on after {counts:.2?}; the producers never noticed"
        ),
    )?;
    Ok(Kill { answers, counts })
}

/// Writes the rows that end the stream.
fn close(written: &mut Written) -> anyhow::Result<()> {
    let mut batch = Batch::default();
    Clicks::closing_row(written.end_ms, &mut batch);
    for producer in &mut written.producers {
        producer.send(&batch)?;
    }
    probe::expect_window(written, written.end_ms);
    Ok(())
}

fn drained(stage: &Stage, interrupt: &Interrupt) -> anyhow::Result<()> {
    until(PATIENCE, "the pipeline to read all of its input", || {
        interrupt.check()?;
        Ok(is_drained(&stage.client.pipeline(&stage.names.pipeline)?).then_some(()))
    })
}

fn is_drained(status: &PipelineStatus) -> bool {
    status.state == State::Running && status.inputs.iter().all(|input| input.position == input.end)
}

/// What is shown while it runs.
struct Watch {
    start: Instant,
    /// Records counted at the times of the last looks.
    counted: VecDeque<(Instant, u64)>,
}

impl Watch {
    fn new(start: Instant) -> Self {
        Self { start, counted: VecDeque::new() }
    }

    fn look(&mut self, stage: &mut Stage, feed: &Feed, screen: &mut Screen) -> anyhow::Result<()> {
        let usage = stage.client.pipeline(&stage.names.pipeline)?.usage;
        feed.counted(usage.records_in);
        if !screen.is_due() {
            return Ok(());
        }
        stage.results.follow()?;
        let scene = Scene {
            elapsed: self.start.elapsed(),
            written: feed.acknowledged(),
            counted: usage.records_in,
            rate: self.rate(usage.records_in),
            windows: usage.windows_closed,
            late: usage.late,
            dead_letters: usage.dead_letters,
            newest: stage.results.newest(),
        };
        screen.show(&scene)?;
        Ok(())
    }

    /// Records a second over the last seconds.
    fn rate(&mut self, counted: u64) -> f64 {
        let now = Instant::now();
        self.counted.push_back((now, counted));
        while self.counted.len() > 2 && self.counted.front().is_some_and(|(then, _)| now - *then > RATE_WINDOW) {
            self.counted.pop_front();
        }
        match self.counted.front() {
            Some(&(then, before)) if then < now => counted.saturating_sub(before) as f64 / (now - then).as_secs_f64(),
            _ => 0.0,
        }
    }
}

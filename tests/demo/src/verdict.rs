//! What came out against what went in.

use std::time::Duration;

use harness::clicks::Comparison;

use crate::play::Played;
use crate::stage::{PATIENCE, Stage};

/// A number that must be what the generator says.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) what: &'static str,
    pub(crate) expected: u64,
    pub(crate) got: u64,
}

/// What the whole run came to.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) played: Played,
    /// The windows, one by one.
    pub(crate) windows: Comparison,
    /// Everything else that can be counted.
    pub(crate) checks: Vec<Check>,
    /// Batches that were sent again because there was no answer.
    pub(crate) retries: u64,
    /// Batches that the server had already when they came, and did not store again.
    pub(crate) stored_once: u64,
    /// What the server logged as a warning or an error.
    pub(crate) trouble: Vec<String>,
}

impl Verdict {
    /// Reads everything and compares it, and ends the server.
    pub(crate) fn reach(stage: &mut Stage, played: Played) -> anyhow::Result<Self> {
        let (client, names) = (&stage.client, &stage.names);
        let usage = client.drained(&names.pipeline, PATIENCE)?.usage;
        stage.results.follow()?;
        let answer = &played.written.answer;
        let windows = Comparison::new(answer, stage.results.views().iter().copied());
        let check = |what, expected, got| Check { what, expected, got };
        let checks = vec![
            check("clicks in the topic", answer.rows, client.count(&names.clicks)?),
            check("clicks read by the pipeline", answer.rows, usage.records_in),
            check("results", answer.views.len() as u64, client.count(&names.views)?),
            check("late clicks", answer.late, client.count(&names.late)?),
            check("late clicks, as the pipeline says", answer.late, usage.late),
            check("dead letters", answer.malformed, client.count(&names.dead_letters)?),
            check("dead letters, as the pipeline says", answer.malformed, usage.dead_letters),
        ];
        stage.server.stop()?;
        let producers = &played.written.producers;
        Ok(Self {
            retries: producers.iter().map(|producer| producer.retries).sum(),
            stored_once: producers.iter().map(|producer| producer.duplicates).sum(),
            trouble: stage.server.log().trouble(&[]),
            windows,
            checks,
            played,
        })
    }

    /// Whether everything is as it should be.
    pub(crate) fn is_good(&self) -> bool {
        self.windows.is_exact() && self.checks.iter().all(Check::is_good) && self.trouble.is_empty()
    }

    /// Clicks a second from the first one written to the last one counted.
    pub(crate) fn rate(&self) -> f64 {
        self.played.clicks as f64 / self.played.wall.as_secs_f64()
    }

    /// A time of the latency probe that this share of the clicks was below.
    pub(crate) fn latency(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.played.latency.0.value_at_quantile(quantile))
    }
}

impl Check {
    /// Whether the numbers agree.
    pub(crate) fn is_good(&self) -> bool {
        self.expected == self.got
    }
}

//! How long after a SIGKILL a server has processed a record again, with state for many keys.

use std::time::{Duration, Instant};

use harness::{Producer, Server, until};
use millstream::record::Batch;

use crate::measure::millis;
use crate::report::Report;

/// Rows of a batch that fills the state.
const BATCH_ROWS: u64 = 20_000;
/// Kills: the figure is the worst of them.
const KILLS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(120);

/// Each second row of a key is an output: the first fills the state, the next shows that it is there.
const MANIFEST: &str = r#"
name = "bench"
source = { topics = ["in"] }
output = { topic = "out" }
[[steps]]
name = "tally"
plugin = "tally"
config = { every = 2 }
"#;

pub fn run(report: &mut Report) -> anyhow::Result<()> {
    for (name, keys) in [("recovery-10k", 10_000), ("recovery-1m", 1_000_000)] {
        if !report.wants(name) {
            continue;
        }
        let mut server = Server::start()?;
        let client = server.client();
        client.push_plugins(&["tally"])?;
        client.create_topic("in", 1)?;
        client.apply(MANIFEST)?;
        let mut producer = Producer::new(client.clone(), "in", 0, 1);
        for first in (0..keys).step_by(BATCH_ROWS as usize) {
            producer.send(&rows(first..(first + BATCH_ROWS).min(keys)))?;
        }
        client.drained("bench", PATIENCE)?;
        let mut worst = Duration::ZERO;
        for kill in 0..KILLS {
            server.kill()?;
            let begin = Instant::now();
            server.start_again()?;
            producer.send(&rows(kill..kill + 1))?;
            until(PATIENCE, "the result after the kill", || Ok((client.count("out")? > kill).then_some(())))?;
            worst = worst.max(begin.elapsed());
        }
        report.cost(name, millis(worst), "ms", None);
    }
    Ok(())
}

fn rows(keys: std::ops::Range<u64>) -> Batch {
    let mut batch = Batch::default();
    keys.for_each(|key| batch.push(key as i64, Some(format!("user-{key:07}").as_bytes()), Some(b"/shop/item")));
    batch
}

//! What a server costs that has nothing to do: start-up, memory, CPU, and each idle pipeline.

use std::time::Duration;

use harness::{Server, until};

use crate::measure::{cpu_ticks, resident_kib};
use crate::report::Report;

/// Pipelines of the measurement; the memory of one is the difference divided by this.
const PIPELINES: u32 = 200;
/// How long the idle server is watched.
const WATCHED: Duration = Duration::from_secs(5);

pub fn run(report: &mut Report) -> anyhow::Result<()> {
    if !report.wants("idle") && !report.wants("start-up") {
        return Ok(());
    }
    let mut server = Server::start()?;
    server.stop()?;
    let first_answer = server.start_again()?;
    report.cost("start-up", first_answer.as_secs_f64() * 1e3, "ms", None);
    let pid = server.pid();
    report.cost("idle-server-memory", resident_kib(pid)? as f64 / 1024.0, "MiB", None);
    let client = server.client();
    client.push_plugins(&["count"])?;
    client.create_topic("in", 1)?;
    client.apply(&manifest(0))?;
    let before = resident_kib(pid)?;
    for number in 1..=PIPELINES {
        client.apply(&manifest(number))?;
    }
    let last = format!("idle-{PIPELINES}");
    until(Duration::from_secs(60), "the last pipeline to run", || {
        let status = client.pipeline(&last)?;
        Ok((status.state == millstream::pipeline::status::State::Running).then_some(()))
    })?;
    let grown = resident_kib(pid)?.saturating_sub(before);
    report.cost("idle-pipeline-memory", grown as f64 / f64::from(PIPELINES), "KiB", None);
    let ticks = cpu_ticks(pid)?;
    std::thread::sleep(WATCHED);
    let used = cpu_ticks(pid)? - ticks;
    report.cost("idle-cpu", used as f64 * 10.0 / WATCHED.as_secs_f64(), "ms/s", None);
    Ok(())
}

fn manifest(number: u32) -> String {
    format!(
        r#"
name = "idle-{number}"
[source]
topics = ["in"]
[[steps]]
name = "count"
plugin = "count"
window = {{ tumbling = "1m" }}
late = "late"
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#
    )
}

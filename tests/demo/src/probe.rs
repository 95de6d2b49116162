//! How long one click takes: from sending it to reading the result that it completes.
//!
//! Nothing else is asked of the server meanwhile. A click that is a minute and the disorder newer than the one before, in
//! the last partition that lacks one, completes the window before it. The clock runs from before the click is sent over
//! HTTP until the answer of a waiting reader has arrived: append, sync, micro-batch with two plugin calls, commit, sync,
//! read.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::Client;
use harness::clicks::{Clicks, MINUTE_MS, page_name};
use hdrhistogram::Histogram;
use millstream::log::partition_of;
use millstream::record::Batch;

use crate::feed::Written;
use crate::interrupt::Interrupt;
use crate::results::{View, view};
use crate::stage::{PARTITIONS, PATIENCE, Stage};

/// Clicks that are measured: enough for a 99th percentile.
const PROBES: u32 = 500;
/// After this time no further click is measured.
const TIME_MAX: Duration = Duration::from_secs(5);
/// The page of closing rows.
const PAGE: u64 = 0;
/// How long the reader asks the server to wait for a result.
const WAIT: Duration = Duration::from_secs(1);

/// Times from a click to its result, in microseconds.
#[derive(Debug)]
pub(crate) struct Latency(pub(crate) Histogram<u64>);

/// Adds the window that the closing rows at this time are in to the answer: a view from each partition.
pub(crate) fn expect_window(written: &mut Written, time_ms: i64) {
    let start = time_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
    *written.answer.views.entry((PAGE, start)).or_default() += u64::from(PARTITIONS);
    written.answer.rows += u64::from(PARTITIONS);
}

/// Measures, after everything before is counted.
pub(crate) fn measure(stage: &mut Stage, written: &mut Written, interrupt: &Interrupt) -> anyhow::Result<Latency> {
    stage.results.follow()?;
    let results = read(stage);
    let mut times = Histogram::new(3).context("make a histogram")?;
    let begin = Instant::now();
    let mut time_ms = written.end_ms;
    let mut batch = Batch::default();
    for _ in 0..PROBES {
        interrupt.check()?;
        let completed = time_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        time_ms += MINUTE_MS + stage.disorder_ms;
        batch.clear();
        Clicks::closing_row(time_ms, &mut batch);
        let (last, others) = written.producers.split_last_mut().context("there are producers")?;
        for producer in others {
            producer.send(&batch)?;
        }
        let sent = Instant::now();
        last.send(&batch)?;
        let (seen, (page, start, _)) = results.recv_timeout(PATIENCE).context("wait for a result")??;
        ensure!((page, start) == (PAGE, completed), "{} from {start} came instead of {completed}", page_name(page));
        times.record((seen - sent).as_micros() as u64).context("record a time")?;
        expect_window(written, time_ms);
        if begin.elapsed() > TIME_MAX {
            break;
        }
    }
    // The window of the last click stays open: nothing comes after it.
    written.answer.views.remove(&(PAGE, time_ms.div_euclid(MINUTE_MS) * MINUTE_MS));
    Ok(Latency(times))
}

/// Reads the results of the page from now on, waiting for each, until nobody wants them.
fn read(stage: &Stage) -> Receiver<anyhow::Result<(Instant, View)>> {
    let (send, receive) = channel();
    let partition = partition_of(page_name(PAGE).as_bytes(), stage.results.partitions());
    let mut offset = stage.results.next(partition);
    let (client, topic): (Client, _) = (stage.client.clone(), stage.results.topic().to_owned());
    std::thread::spawn(move || {
        loop {
            let (records, next) = match client.records(&topic, partition, offset, WAIT) {
                Ok(page) => page,
                Err(error) => {
                    // If the receiver is gone, the result is not needed.
                    drop(send.send(Err(error.into())));
                    return;
                }
            };
            let seen = Instant::now();
            offset = next;
            for record in &records {
                if send.send(view(record).map(|view| (seen, view))).is_err() {
                    return;
                }
            }
        }
    });
    receive
}

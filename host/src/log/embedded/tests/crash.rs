//! A process that is killed while it writes: what it had been told is durable is there, each write whole.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::log::conformance::{at, commit, fence, now, place, read_all, task, tenant, topic, values};
use crate::log::{Block, Commit, CommitLog as _};

const FOLDER: &str = "MILLSTREAM_TEST_CRASH";
const ACKNOWLEDGED: &str = "acknowledged ";
/// Kills, each in another place.
const ROUNDS: u32 = 12;

/// Appends and commits for ever, two at a time, and says after each what has been acknowledged.
#[tokio::test]
#[ignore = "the process to be killed, which `what_was_acknowledged_survives_a_kill` starts"]
async fn writes_for_ever() {
    let log = EmbeddedLog::open(EmbeddedConfig::new(std::env::var_os(FOLDER).unwrap())).unwrap();
    log.create_topic(&tenant(), &topic("t"), TopicConfig::with_partitions(3)).await.unwrap();
    let epoch = fence(&log, 7).await;
    let mut sequence = log.recover(&tenant(), task(7)).unwrap().head.sequence;
    let mut appended = log.topics(&tenant()).await.unwrap()[&topic("t")].partitions[0].end;
    loop {
        sequence += 1;
        let commit = Commit {
            positions: vec![(at("in", 0), place(1, sequence))],
            outputs: vec![
                (at("t", 1), values([(sequence - 1).to_string()])),
                (at("t", 2), values([(sequence - 1).to_string()])),
            ],
            block: Block::Some { bytes: Bytes::new(), oldest: sequence - sequence % 10 },
            ..commit(7, epoch, sequence)
        };
        // Of different sizes, so that a kill finds the write-ahead log in different places.
        let value = format!("{appended:0>width$}", width = (appended as usize * 7919) % 60_000 + 1);
        let (done, committed) =
            tokio::join!(log.append(&tenant(), &at("t", 0), values([value])), log.commit(&tenant(), commit));
        assert_eq!(done.unwrap().base_offset, appended);
        committed.unwrap();
        appended += 1;
        writeln!(std::io::stdout(), "{ACKNOWLEDGED}{appended} {sequence}").unwrap();
    }
}

/// Starts a writer, kills it after some acknowledgements, and answers the last one that it made.
fn kill_a_writer(config: &EmbeddedConfig, after: u32) -> (u64, u64) {
    let mut writer: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "log::embedded::tests::crash::writes_for_ever", "--ignored", "--nocapture"])
        .env(FOLDER, &config.folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut last = (0, 0);
    let mut count = 0;
    for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, numbers)) = line.split_once(ACKNOWLEDGED) else { continue };
        // The last line may be torn: then its acknowledgement is not counted.
        let Some((appended, sequence)) = numbers.split_once(' ') else { continue };
        last = (appended.parse().unwrap(), sequence.parse().unwrap());
        count += 1;
        if count == after {
            writer.kill().unwrap();
        }
    }
    assert!(count >= after, "the writer ended by itself");
    writer.wait().unwrap();
    last
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { tail_bytes: 0, ..EmbeddedConfig::new(folder.path().join("log")) };
    for round in 0..ROUNDS {
        // Early and late; where in a write it happens is up to the machine.
        let after = 1 + round * 7919 % 60;
        let (appended, sequence) = kill_a_writer(&config, after);
        let log = EmbeddedLog::open(config.clone()).unwrap();
        for (partition, acknowledged) in [(0, appended), (1, sequence), (2, sequence)] {
            let values = read_all(&log, &at("t", partition), 0, 1 << 20).unwrap();
            let kept = values.len() as u64;
            assert!(kept >= acknowledged, "round {round}: {kept} of {acknowledged} in partition {partition}");
            assert!(values.iter().enumerate().all(|(place, value)| value.parse() == Ok(place)), "round {round}");
        }
        // The commit is whole: its outputs, its position and its number agree.
        let recovery = log.recover(&tenant(), task(7)).unwrap();
        assert_eq!(recovery.head.positions[&at("in", 0)].offset, recovery.head.sequence);
        assert_eq!(
            recovery.blocks.len() as u64,
            recovery.head.sequence.min(recovery.head.sequence % 10 + u64::from(recovery.head.sequence > 9))
        );
        for partition in [1, 2] {
            let end = now(log.topics(&tenant())).unwrap()[&topic("t")].partitions[partition].end;
            assert_eq!(end, recovery.head.sequence, "round {round}");
        }
    }
}

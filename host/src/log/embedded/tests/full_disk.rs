//! A disk that takes no more. A limit on the size of files stands in for it: it needs no file system of its own, and the
//! system refuses a write as it does when the disk is full. The limit holds for a process, so this is one of its own.

use std::process::Command;

use super::*;
use crate::log::CommitLog as _;
use crate::log::conformance::{at, commit, read_all, tenant, topic, values};

const FOLDER: &str = "MILLSTREAM_TEST_FULL_DISK";
/// In units of 512 bytes, as the shell counts: 4 MiB.
const FILE_BLOCKS: u32 = 8192;

/// Appends until the disk is full, and answers how many appends were acknowledged.
async fn fill(log: &EmbeddedLog) -> usize {
    for acknowledged in 0..1000 {
        let number = format!("{acknowledged:0>10000}");
        match log.append(&tenant(), &at("t", 0), values([number])).await {
            Ok(_) => {}
            Err(Error::StorageFull { .. }) => return acknowledged,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the limit on the size of files does not hold");
}

#[tokio::test]
#[ignore = "the process with the limit, which `a_full_disk_stops_writes_and_loses_nothing` starts"]
async fn within_the_limit() {
    let log = EmbeddedLog::open(EmbeddedConfig::new(std::env::var_os(FOLDER).unwrap())).unwrap();
    log.create_topic(&tenant(), &topic("t"), TopicConfig::with_partitions(1)).await.unwrap();
    let acknowledged = fill(&log).await;
    assert!(acknowledged > 10, "{acknowledged} appends were acknowledged");
    // No more writes of any kind; reads go on.
    for _ in 0..3 {
        let append = log.append(&tenant(), &at("t", 0), values(["x"])).await;
        assert!(matches!(append, Err(Error::StorageFull { .. })), "{append:?}");
    }
    assert!(matches!(log.commit(&tenant(), commit(7, 1, 1)).await, Err(Error::StorageFull { .. })));
    assert!(matches!(log.delete_topic(&tenant(), &topic("t")).await, Err(Error::StorageFull { .. })));
    assert_eq!(read_all(&log, &at("t", 0), 0, usize::MAX).unwrap().len(), acknowledged);
    std::fs::write(std::env::var(FOLDER).unwrap() + ".acknowledged", acknowledged.to_string()).unwrap();
}

#[tokio::test]
async fn a_full_disk_stops_writes_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("log");
    let limited = Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; ulimit -f {FILE_BLOCKS}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "log::embedded::tests::full_disk::within_the_limit", "--ignored", "--nocapture"])
        .env(FOLDER, &data)
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&limited.stdout) + String::from_utf8_lossy(&limited.stderr);
    assert!(limited.status.success(), "{message}");
    let acknowledged: usize = std::fs::read_to_string(folder.path().join("log.acknowledged")).unwrap().parse().unwrap();
    // With room again, all is there and the log goes on.
    let log = EmbeddedLog::open(EmbeddedConfig::new(&data)).unwrap();
    let kept = read_all(&log, &at("t", 0), 0, usize::MAX).unwrap();
    assert!(kept.len() >= acknowledged, "{} of {acknowledged}", kept.len());
    assert!(kept.iter().enumerate().all(|(place, value)| value.parse() == Ok(place)));
    let next = log.append(&tenant(), &at("t", 0), values(["x"])).await.unwrap();
    assert_eq!(next.base_offset, kept.len() as u64);
}

//! What retention removes is given back to the disk.

use super::*;
use crate::log::Durability;
use crate::log::conformance::{at, tenant, topic, values};

#[tokio::test]
async fn retention_gives_the_space_back() {
    const BATCH_BYTES: usize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { durability: Durability::Os, ..EmbeddedConfig::new(folder.path().join("log")) };
    let log = EmbeddedLog::open(config).unwrap();
    let kept = TopicConfig { retention_bytes: Some(2 * BATCH_BYTES as u64), ..TopicConfig::with_partitions(1) };
    log.create_topic(&tenant(), &topic("t"), kept).await.unwrap();
    let value = vec![b'x'; BATCH_BYTES];
    let store = &log.shared.store;
    let handle = store.handle(keys::Family::Batches);
    for number in 0..100 {
        log.append(&tenant(), &at("t", 0), values([&value])).await.unwrap();
        // Or else how fast the disk is would decide how many batches lie in one file with those that stay.
        if number % 20 == 19 {
            store.database().flush_cf(handle).unwrap();
        }
    }
    let blobs = || store.database().property_int_value_cf(handle, "rocksdb.live-blob-file-size").unwrap().unwrap();
    assert!(blobs() > 60 << 20, "{} bytes", blobs());
    log.enforce_retention(0).unwrap();
    // The file with the newest batches stays.
    assert!(blobs() < 30 << 20, "{} bytes", blobs());
}

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
    log.create_topic(&tenant(), &topic("t"), kept).unwrap();
    let value = vec![b'x'; BATCH_BYTES];
    for _ in 0..100 {
        log.append(&tenant(), &at("t", 0), values([&value])).await.unwrap();
    }
    let store = &log.shared.store;
    let handle = store.handle(keys::Family::Batches);
    let blobs = || store.database().property_int_value_cf(handle, "rocksdb.live-blob-file-size").unwrap().unwrap();
    store.database().flush_cf(handle).unwrap();
    assert!(blobs() > 60 << 20, "{} bytes", blobs());
    log.enforce_retention(0).unwrap();
    assert!(blobs() < 40 << 20, "{} bytes", blobs());
}

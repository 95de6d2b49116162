//! Appending and reading.

use super::*;

pub(crate) async fn offsets_are_dense(subject: &mut dyn Subject) {
    let at = at("t", 1);
    make(subject.log(), "t", 2);
    assert_eq!(append(subject.log(), &at, values(["a", "b"])).await, Ok((0, 2, false)));
    let two = run(&[values(["c"]), values(["d", "e", "f"])]);
    assert_eq!(append(subject.log(), &at, two).await, Ok((2, 6, false)));
    subject.reopen();
    assert_eq!(append(subject.log(), &at, values(["g"])).await, Ok((6, 7, false)));
    assert_eq!(everything(subject.log(), &at), ["a", "b", "c", "d", "e", "f", "g"]);
    let info = &subject.log().topics(&tenant()).await.unwrap()[&at.topic].partitions;
    assert_eq!((info[0].start, info[0].end, info[0].bytes), (0, 0, 0));
    let stored = fetch(subject.log(), &at, 0, usize::MAX).unwrap();
    assert_eq!((info[1].start, info[1].end), (stored.start, stored.end));
    assert_eq!(info[1].bytes, stored.batches.iter().map(|batch| batch.len() as u64).sum::<u64>());
}

pub(crate) async fn a_read_from_the_middle_begins_with_the_batch_that_holds_it(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    let all: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    for batch in all.chunks(3) {
        append(subject.log(), &at, values(batch)).await.unwrap();
    }
    for _ in 0..2 {
        for from in 0..=30 {
            assert_eq!(read_all(subject.log(), &at, from, 200).unwrap(), &all[from as usize..], "from {from}");
        }
        let fetched = fetch(subject.log(), &at, 4, 0).unwrap();
        assert_eq!(batch::verify(&fetched.batches[0]).unwrap().base_offset, 3);
        subject.reopen();
    }
}

pub(crate) async fn a_read_is_bounded_by_bytes_and_gives_at_least_one_batch(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    let one = values(["12345678"]);
    for _ in 0..5 {
        append(subject.log(), &at, one.clone()).await.unwrap();
    }
    for _ in 0..2 {
        for (bytes_max, batches) in [(0, 1), (one.len(), 1), (2 * one.len() - 1, 1), (3 * one.len(), 3), (1 << 20, 5)] {
            let fetched = fetch(subject.log(), &at, 0, bytes_max).unwrap();
            assert_eq!(fetched.batches.len(), batches, "{bytes_max} bytes");
            assert_eq!((fetched.start, fetched.end), (0, 5));
        }
        subject.reopen();
    }
}

pub(crate) async fn a_read_outside_of_the_partition_is_refused(subject: &mut dyn Subject) {
    let at0 = at("t", 0);
    make(subject.log(), "t", 1);
    assert_eq!(fetch(subject.log(), &at0, 0, 100).unwrap().batches, Vec::<Bytes>::new());
    append(subject.log(), &at0, values(["a"])).await.unwrap();
    assert_eq!(fetch(subject.log(), &at0, 1, 100).unwrap().batches, Vec::<Bytes>::new());
    let outside = Error::OffsetOutOfRange { at: at0.clone(), offset: 2, start: 0, end: 1 };
    assert_eq!(fetch(subject.log(), &at0, 2, 100), Err(outside));
    assert_eq!(code(fetch(subject.log(), &at("t", 1), 0, 100)), "partition_not_found");
    assert_eq!(code(fetch(subject.log(), &at("u", 0), 0, 100)), "topic_not_found");
}

pub(crate) async fn an_append_is_there_whole_or_not_at_all(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    let mut broken = values(["b"]).to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    assert_eq!(code(append(subject.log(), &at, run(&[values(["a"]), broken.into()])).await), "invalid_batch");
    assert_eq!(everything(subject.log(), &at), Vec::<String>::new());
    assert_eq!(append(subject.log(), &at, values(["c"])).await, Ok((0, 1, false)));
    subject.reopen();
    assert_eq!(everything(subject.log(), &at), ["c"]);
}

pub(crate) async fn what_is_no_batch_or_too_large_is_refused_with_its_code(subject: &mut dyn Subject) {
    let log = subject.log();
    let at = at("t", 0);
    make(log, "t", 1);
    assert_eq!(code(append(log, &at, Bytes::new()).await), "invalid_batch");
    assert_eq!(code(append(log, &at, Bytes::from_static(b"no batch")).await), "invalid_batch");
    let record = append(log, &at, values([vec![0; (1 << 20) + 1]])).await;
    let (size, limit) = ((1 << 20) + 1, 1 << 20);
    assert_eq!(record, Err(Error::TooLarge { at: at.clone(), what: "record", size, limit }));
    let many = values((0..9).map(|_| vec![0; 1 << 20]));
    let (size, limit) = (many.len() as u64, 8 << 20);
    assert_eq!(append(log, &at, many).await, Err(Error::TooLarge { at: at.clone(), what: "append", size, limit }));
    assert_eq!(append(log, &at, values([vec![b'a'; 1 << 20]])).await, Ok((0, 1, false)));
    assert_eq!(code(append(log, &self::at("t", 1), values(["a"])).await), "partition_not_found");
    assert_eq!(code(append(log, &self::at("u", 0), values(["a"])).await), "topic_not_found");
}

pub(crate) async fn the_largest_timestamp_of_a_batch_is_that_of_its_records(subject: &mut dyn Subject) {
    let kept = Some(std::time::Duration::from_millis(100));
    let config = TopicConfig { retention: kept, ..TopicConfig::with_partitions(5) };
    subject.log().create_topic(&tenant(), &topic("t"), config).await.unwrap();
    let mut rows = Batch::default();
    for timestamp in [10, 500, -3] {
        rows.push(timestamp, Some(b"key"), Some(&[b'v'; 200]));
    }
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (partition, compression) in (0..).zip(codecs) {
        let at = at("t", partition);
        let honest = batch::encode(rows.view(), &EncodeOptions { compression, producer: None });
        let told = [i64::MIN, 20, 501, i64::MAX].map(|max_timestamp| {
            let mut lying = honest.to_vec();
            batch::set_max_timestamp(&mut lying, max_timestamp);
            assert_eq!(batch::verify(&lying).unwrap().max_timestamp, max_timestamp);
            Bytes::from(lying)
        });
        append(subject.log(), &at, run(&[&[honest.clone()][..], &told].concat())).await.unwrap();
        for _ in 0..2 {
            let stored = fetch(subject.log(), &at, 0, usize::MAX).unwrap().batches;
            assert_eq!(stored.len(), 5);
            for (place, stored) in (0..).zip(&stored) {
                let header = batch::validate(stored, &batch::Limits::default()).unwrap();
                assert_eq!((header.max_timestamp, header.compression), (500, compression));
                let mut expected = honest.to_vec();
                batch::set_base_offset(&mut expected, place * 3);
                assert_eq!(stored, &expected, "as an honest sender's, byte for byte");
            }
            subject.reopen();
        }
    }
    // Nothing is removed before its time, and then all is but the newest.
    assert_eq!(subject.enforce_retention(600), Ok(0));
    assert_eq!(subject.enforce_retention(601), Ok(5 * 4));
}

pub(crate) async fn timestamps_that_only_a_log_may_give_are_refused(subject: &mut dyn Subject) {
    make(subject.log(), "t", 1);
    let mut batch = values(["a"]).to_vec();
    // The attribute of a batch whose records all have the time at which a broker took them.
    batch[22] |= 1 << 3;
    batch::set_max_timestamp(&mut batch, i64::MAX);
    assert!(batch::verify(&batch).unwrap().log_append_time);
    assert_eq!(code(append(subject.log(), &at("t", 0), batch.into()).await), "invalid_batch");
    assert_eq!(everything(subject.log(), &at("t", 0)), Vec::<String>::new());
}

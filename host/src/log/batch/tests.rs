//! Record batches: round trips, hostile bytes, and batches that another client wrote.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::record::Batch;

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn bytes(size_max: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![1 => Just(None), 6 => vec(any::<u8>(), 0..size_max).prop_map(Some)]
}

fn timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -1000_i64..1_000_000, 1 => any::<i64>()]
}

prop_compose! {
    fn rows()(
        rows in vec((timestamp(), bytes(80), bytes(300)), 1..40),
        headers in proptest::option::of(vec(vec((vec(any::<u8>(), 0..9), bytes(9)), 0..4), 40)),
    ) -> Batch {
        let mut batch = Batch::default();
        for (index, (timestamp, key, value)) in rows.iter().enumerate() {
            batch.push(*timestamp, key.as_deref(), value.as_deref());
            if let Some(headers) = &headers {
                batch.headers.push_row(headers[index].iter().map(|(name, value)| (&name[..], value.as_deref())));
            }
        }
        batch
    }
}

fn options(compression: Compression) -> EncodeOptions {
    EncodeOptions { compression, producer: None }
}

fn decoded(batch: &[u8], from: u64, headers: bool) -> Result<Batch, Invalid> {
    let mut into = Batch::default();
    decode(batch, from, headers, &mut into).map(|_| into)
}

proptest! {
    #[test]
    fn rows_come_back_as_they_were(rows in rows(), codec in 0..5_usize) {
        let batch = encode(rows.view(), &options(CODECS[codec]));
        let header = validate(&batch, &Limits::default()).unwrap();
        prop_assert_eq!(header.count as usize, rows.len());
        prop_assert_eq!(Some(&header.max_timestamp), rows.timestamps.iter().max());
        prop_assert_eq!(&decoded(&batch, 0, rows.headers.are_carried()).unwrap(), &rows);
    }

    #[test]
    fn reading_from_the_middle_gives_the_rest(rows in rows(), base in 0..1000_u64, from in 0..1100_u64) {
        let mut batch = encode(rows.view(), &EncodeOptions::default()).to_vec();
        set_base_offset(&mut batch, base);
        prop_assert_eq!(validate(&batch, &Limits::default()).unwrap().base_offset, base);
        let mut into = Batch::default();
        prop_assert_eq!(decode(&batch, from, true, &mut into), Ok(base + rows.len() as u64));
        let skipped = (from.saturating_sub(base) as usize).min(rows.len());
        let (_, rest) = rows.view().split_at(skipped);
        prop_assert_eq!(into.view().timestamps, rest.timestamps);
        prop_assert_eq!(into.view().values.bytes, rest.values.bytes);
        prop_assert_eq!(into.view().keys.lengths, rest.keys.lengths);
    }

    #[test]
    fn hostile_bytes_never_panic_and_leave_the_columns_alone(
        rows in rows(),
        codec in 0..5_usize,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut batch = encode(rows.view(), &options(CODECS[codec])).to_vec();
        for (at, byte) in changes {
            // Past the CRC, so that what lies behind it is reached too.
            let at = HEADER_BYTES - 4 + at.index(batch.len() - HEADER_BYTES + 4);
            batch[at] = byte;
        }
        let mut into = Batch::default();
        into.push(7, None, Some(b"before"));
        let before = into.clone();
        if decode(&batch, 0, true, &mut into).is_err() {
            prop_assert_eq!(into, before);
        }
        let _ = decoded(&batch[..cut.index(batch.len())], 0, true);
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        let decodes = decoded(&batch, 0, true).is_ok();
        prop_assert_eq!(validate(&batch, &Limits::default()).is_ok(), decodes);
    }

    #[test]
    fn what_is_retained_keeps_its_offsets_and_all_else(
        rows in rows(),
        codec in 0..5_usize,
        base in 0..1000_u64,
        kept in vec(any::<bool>(), 40),
        again in vec(any::<bool>(), 40),
        from in 0..1100_u64,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut batch = encode(rows.view(), &options(CODECS[codec])).to_vec();
        set_base_offset(&mut batch, base);
        let mut left: Vec<u64> = (base..base + rows.len() as u64).collect();
        // Twice, for what is left is compacted again.
        for (kept, horizon) in [(kept, 77), (again, 99)] {
            let before = left.len() as u64;
            let deletion = |offset: u64| rows.values.lengths[(offset - base) as usize] < 0;
            left.retain(|offset| kept[(offset - base) as usize]);
            let retained = retain(&batch, horizon, |seen| {
                assert_eq!(seen.is_deletion, deletion(seen.offset));
                kept[(seen.offset - base) as usize]
            }).unwrap();
            prop_assert_eq!(u64::from(retained.removed), before - left.len() as u64);
            prop_assert_eq!(retained.horizon.is_some(), left.iter().any(|&offset| deletion(offset)));
            match retained.change {
                Change::Unchanged => prop_assert_eq!(retained.removed, 0),
                Change::Rewritten(bytes) => batch = bytes.to_vec(),
                Change::Emptied => {
                    prop_assert!(left.is_empty());
                    return Ok(());
                }
            }
            prop_assert!(retained.horizon.is_none_or(|horizon| horizon == 77));
        }
        let header = validate(&batch, &Limits::default()).unwrap();
        prop_assert_eq!((header.base_offset, header.offsets as usize), (base, rows.len()));
        prop_assert_eq!(header.count as usize, left.len());
        left.retain(|&offset| offset >= from);
        let (mut into, mut offsets) = (Batch::default(), Offsets::default());
        let next = decode_with_offsets(&batch, from, rows.headers.are_carried(), &mut into, &mut offsets);
        prop_assert_eq!(next, Ok(base + rows.len() as u64));
        let mut expected = Batch::default();
        for &offset in &left {
            let (_, rest) = rows.view().split_at((offset - base) as usize);
            let (one, _) = rest.split_at(1);
            expected.push(one.timestamps[0], one.keys.iter().next().unwrap(), one.values.iter().next().unwrap());
            one.headers.rows().for_each(|headers| expected.headers.push_row(headers));
        }
        prop_assert_eq!(&into, &expected);
        prop_assert_eq!(offsets.iter().collect::<Vec<_>>(), left);
        // Hostile bytes.
        for (at, byte) in changes {
            let at = 23 + at.index(batch.len() - 23);
            batch[at] = byte;
        }
        if decode_with_offsets(&batch, 0, true, &mut into, &mut offsets).is_err() {
            prop_assert_eq!((into, offsets.len()), (expected.clone(), expected.len()));
        }
        let _ = retain(&batch, 0, |seen| seen.offset % 2 == 0);
    }

    #[test]
    fn any_flipped_bit_under_the_crc_is_seen(rows in rows(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut batch = encode(rows.view(), &EncodeOptions::default()).to_vec();
        let at = 17 + at.index(batch.len() - 17);
        batch[at] ^= 1_u8 << bit;
        prop_assert!(verify(&batch).is_err());
    }

    #[test]
    fn random_bytes_are_no_batch(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(validate(&bytes, &Limits::default()).is_err());
        prop_assert!(decoded(&bytes, 0, true).is_err());
    }
}

/// Written by hand after Kafka's description of the format.
#[test]
fn a_batch_is_the_bytes_that_kafka_describes() {
    let mut rows = Batch::default();
    rows.push(1000, Some(b"k"), Some(b"v"));
    rows.push(998, None, Some(b""));
    rows.headers.push_row([]);
    rows.headers.push_row([(&b"h"[..], None)]);
    let producer = Some(Producer { id: 5, epoch: 1, base_sequence: 9 });
    let batch = encode(rows.view(), &EncodeOptions { compression: Compression::None, producer });
    let records = [
        // length 8: attributes, delta 0, offset 0, key 1 "k", value 1 "v", no headers
        &[16, 0, 0, 0, 2, b'k', 2, b'v', 0][..],
        // length 9: attributes, delta -2, offset 1, key null, value empty, 1 header: 1 "h", null
        &[18, 0, 3, 2, 1, 0, 2, 2, b'h', 1],
    ]
    .concat();
    let mut body = vec![0, 0, 0, 0, 0, 1];
    body.extend(1000_i64.to_be_bytes());
    body.extend(1000_i64.to_be_bytes());
    body.extend(5_i64.to_be_bytes());
    body.extend(1_i16.to_be_bytes());
    body.extend(9_i32.to_be_bytes());
    body.extend(2_i32.to_be_bytes());
    body.extend(&records);
    let mut expected = vec![0; 8];
    expected.extend((body.len() as i32 + 9).to_be_bytes());
    expected.extend([0xff, 0xff, 0xff, 0xff, 2]);
    expected.extend(crc32c::crc32c(&body).to_be_bytes());
    expected.extend(body);
    assert_eq!(batch, expected);
    assert_eq!(validate(&batch, &Limits::default()).map(|header| header.producer), Ok(producer));
}

/// Written by hand after Kafka's description: a broker has removed the records 0, 2 and 3, and set a horizon.
#[test]
fn a_compacted_batch_is_the_bytes_that_kafka_describes() {
    let mut rows = Batch::default();
    for (timestamp, value) in [(1000, Some(&b"v"[..])), (998, None), (1, None), (2, None), (1003, Some(b"w"))] {
        rows.push(timestamp, Some(b"k"), value);
    }
    let batch = encode(rows.view(), &EncodeOptions::default());
    let retained = retain(&batch, 1010, |seen| matches!(seen.offset, 1 | 4)).unwrap();
    assert_eq!((retained.removed, retained.horizon), (3, Some(1010)));
    let Change::Rewritten(compacted) = retained.change else { panic!("three records are gone") };
    let records = [
        // length 7: attributes, delta -12, offset 1, key 1 "k", value null, no headers
        &[14, 0, 23, 2, 2, b'k', 1, 0][..],
        // length 8: attributes, delta -7, offset 4, key 1 "k", value 1 "w", no headers
        &[16, 0, 13, 8, 2, b'k', 2, b'w', 0],
    ]
    .concat();
    // The attribute of a horizon, the last offset delta, the horizon as base timestamp, the largest timestamp.
    let mut body = vec![0, 0x40, 0, 0, 0, 4];
    body.extend(1010_i64.to_be_bytes());
    body.extend(1003_i64.to_be_bytes());
    body.extend([0xff; 14]);
    body.extend(2_i32.to_be_bytes());
    body.extend(&records);
    let mut expected = vec![0; 8];
    expected.extend((body.len() as i32 + 9).to_be_bytes());
    expected.extend([0xff, 0xff, 0xff, 0xff, 2]);
    expected.extend(crc32c::crc32c(&body).to_be_bytes());
    expected.extend(body);
    assert_eq!(compacted, expected);
    assert_eq!(decoded(&compacted, 0, false).unwrap().timestamps, [998, 1003]);
}

/// The same three records as another client (kafka-python 3) wrote them.
const FOREIGN: [(Compression, &str); 5] = [
    (
        Compression::None,
        "00000000000000000000009c000000000202dee15600000000000200000000000003e80000000000011170ffffffffff\
         ffffffffffffffffff00000003b201000000066b6579900176616c75652076616c75652076616c75652076616c756520\
         76616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c756520\
         04026802310269010c000302010000100090b60804000100",
    ),
    (
        Compression::Gzip,
        "00000000000000000000006f000000000279327f5500010000000200000000000003e80000000000011170ffffffffff\
         ffffffffffffffffff000000031f8b08008c24016b02ffdbc4c8c0c0c0969d5a3981b12c31a73455817292852983c990\
         2993918781990968ba00c3846d1c2c0c8c0c00cd2125236b000000",
    ),
    (
        Compression::Snappy,
        "0000000000000000000000760000000002ae626c6100020000000200000000000003e80000000000011170ffffffffff\
         ffffffffffffffffff0000000382534e41505059000000000100000001000000316b40b201000000066b657990017661\
         6c756520ee060009065c04026802310269010c000302010000100090b60804000100",
    ),
    (
        Compression::Lz4,
        "00000000000000000000007800000000029e59d65200030000000200000000000003e80000000000011170ffffffffff\
         ffffffffffffffffff0000000304224d1868406b00000000000000f030000000ff02b201000000066b6579900176616c\
         75652006002ff00904026802310269010c000302010000100090b6080400010000000000",
    ),
    (
        Compression::Zstd,
        "00000000000000000000006b0000000002901d389e00040000000200000000000003e80000000000011170ffffffffff\
         ffffffffffffffffff0000000328b52ffd206b8d01009402b201000000066b6579900176616c75652004026802310269\
         010c000302010000100090b6080400010001001fa92c01",
    ),
];

#[test]
fn batches_of_another_client_are_read() {
    let mut expected = Batch::default();
    expected.push(1000, Some(b"key"), Some("value ".repeat(12).as_bytes()));
    expected.push(998, None, Some(b""));
    expected.push(70_000, Some(b""), None);
    expected.headers.push_row([(&b"h"[..], Some(&b"1"[..])), (b"i", None)]);
    expected.headers.push_row([]);
    expected.headers.push_row([]);
    for (codec, hex) in FOREIGN {
        let batch: Vec<u8> = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        assert_eq!(validate(&batch, &Limits::default()).unwrap().compression, codec);
        assert_eq!(decoded(&batch, 0, true).unwrap(), expected, "{codec}");
        if codec == Compression::None {
            // But for the leader epoch, which is the broker's to give, ours are the same bytes.
            let ours = encode(expected.view(), &options(codec));
            assert_eq!((&ours[..12], &ours[16..]), (&batch[..12], &batch[16..]));
        }
    }
}

/// A batch of one record with that content, its CRC right.
fn with_content(codec: Compression, content: &[u8]) -> Vec<u8> {
    let mut rows = Batch::default();
    rows.push(0, None, None);
    let mut batch = encode(rows.view(), &EncodeOptions::default()).to_vec();
    batch.truncate(HEADER_BYTES);
    batch.extend_from_slice(content);
    batch[22] = codec as u8;
    let length = batch.len() as i32 - 12;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0; 4 << 20];
    let limits = Limits { inflated_bytes_max: 1 << 20, ..Limits::default() };
    for codec in &CODECS[1..] {
        let bomb = with_content(*codec, &codec::deflate(*codec, &zeros).unwrap());
        assert_eq!(validate(&bomb, &limits), Err(Invalid::Inflated { limit: 1 << 20 }), "{codec}");
    }
}

#[test]
fn a_content_that_is_no_stream_of_its_codec_is_named() {
    for codec in &CODECS[1..] {
        let Err(error) = validate(&with_content(*codec, b"neither fish nor fowl"), &Limits::default()) else {
            panic!("{codec} took it");
        };
        assert!(error.to_string().starts_with(&format!("its {codec} content cannot be read")), "{error}");
    }
}

#[test]
fn snappy_is_read_without_framing_too() {
    let record = [14, 0, 0, 0, 1, 2, b'x', 0];
    let raw = snap::raw::Encoder::new().compress_vec(&record).unwrap();
    let batch = with_content(Compression::Snappy, &raw);
    assert_eq!(decoded(&batch, 0, false).unwrap().values.bytes, b"x");
    // A block that says it is a gigabyte allocates nothing.
    let liar = with_content(Compression::Snappy, &[0x80, 0x80, 0x80, 0x80, 4, 0, 1]);
    assert!(matches!(validate(&liar, &Limits::default()), Err(Invalid::Codec { .. })));
}

#[test]
fn a_record_over_the_limit_is_refused_with_its_size() {
    let mut rows = Batch::default();
    rows.push(0, None, Some(b"small"));
    rows.push(0, Some(b"key"), Some(&[7; 98]));
    let limits = Limits { record_bytes_max: 100, ..Limits::default() };
    let refused = validate(&encode(rows.view(), &EncodeOptions::default()), &limits);
    assert_eq!(refused, Err(Invalid::RecordTooLarge { index: 1, size: 101, limit: 100 }));
}

#[test]
fn headers_that_no_batch_of_ours_has_are_refused() {
    let mut rows = Batch::default();
    rows.push(0, None, Some(b"v"));
    let good = encode(rows.view(), &EncodeOptions::default());
    for (at, byte) in [
        (0, 0x80),  // base offset below zero
        (8, 0x80),  // length below zero
        (8, 0x7f),  // length of 2 GiB
        (16, 1),    // magic 1
        (22, 5),    // unknown codec
        (22, 0x10), // transactional
        (22, 0x20), // control
        (23, 0x80), // last offset delta below zero
        (57, 0x80), // count below zero
        (60, 0),    // no records
        (43, 0),    // a producer without an epoch
    ] {
        let mut batch = good.to_vec();
        batch[at] = byte;
        assert!(Header::parse(&batch).is_err(), "{at} {byte}");
    }
    let mut trailing = good.to_vec();
    trailing.push(0);
    assert_eq!(validate(&trailing, &Limits::default()), Err(Invalid::Header("bytes follow its end")));
}

#[test]
fn a_count_beyond_the_bytes_allocates_nothing() {
    let mut rows = Batch::default();
    rows.push(0, None, Some(b"v"));
    let mut batch = encode(rows.view(), &EncodeOptions::default()).to_vec();
    batch[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    batch[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    let mut into = Batch::default();
    assert!(decode(&batch, 0, false, &mut into).is_err());
    assert_eq!(into.timestamps.capacity(), 0);
}

#[test]
fn a_run_is_split_at_its_batches() {
    let mut rows = Batch::default();
    let mut run = Vec::new();
    for count in 1..4 {
        rows.push(count, None, Some(b"v"));
        run.extend_from_slice(&encode(rows.view(), &EncodeOptions::default()));
    }
    let whole: Vec<_> = split(Bytes::from(run.clone())).map(|batch| batch.map(|(header, _)| header.count)).collect();
    assert_eq!(whole, [Ok(1), Ok(2), Ok(3)]);
    run.pop();
    let cut: Vec<_> = split(Bytes::from(run)).map(|batch| batch.is_ok()).collect();
    assert_eq!(cut, [true, true, false]);
}

#[test]
fn no_rows_are_no_batch() {
    assert!(encode(Batch::default().view(), &EncodeOptions::default()).is_empty());
}

#[test]
fn timestamps_of_the_append_are_the_same_for_all() {
    let mut rows = Batch::default();
    rows.push(5, None, None);
    rows.push(9, None, None);
    let mut batch = encode(rows.view(), &EncodeOptions::default()).to_vec();
    batch[22] |= 1 << 3;
    assert_eq!(decoded(&batch, 0, false).unwrap().timestamps, [9, 9]);
}

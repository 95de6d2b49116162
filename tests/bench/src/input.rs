//! Record batches for a pipeline and for the native loop beside it.

use bytes::Bytes;
use millstream::log::batch::{EncodeOptions, decode, encode, set_base_offset};
use millstream::record::Batch;

use crate::measure::cpu_time;

/// Records in one record batch, as a busy producer sends them.
const BATCH_RECORDS: u64 = 4096;
/// Event time from one record to the next: a hundred thousand records a second.
pub const MICROS_A_RECORD: u64 = 10;

/// Record batches, encoded, with offsets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Input {
    pub batches: Vec<Bytes>,
    /// Offset after each batch.
    pub ends: Vec<u64>,
    pub records: u64,
}

impl Input {
    pub fn new(records: u64, row: impl Fn(u64, &mut Batch)) -> Self {
        Self::in_batches(records, BATCH_RECORDS, row)
    }

    /// In batches of so many records.
    pub fn in_batches(records: u64, batch_records: u64, row: impl Fn(u64, &mut Batch)) -> Self {
        let (mut batches, mut ends, mut batch) = (Vec::new(), Vec::new(), Batch::default());
        for base in (0..records).step_by(batch_records as usize) {
            let end = (base + batch_records).min(records);
            batch.clear();
            (base..end).for_each(|at| row(at, &mut batch));
            let mut encoded = encode(batch.view(), &EncodeOptions::default()).to_vec();
            set_base_offset(&mut encoded, base);
            batches.push(encoded.into());
            ends.push(end);
        }
        Self { batches, ends, records }
    }

    /// Records a CPU second of a native loop.
    pub fn native(&self, work: impl Fn(&Self) -> anyhow::Result<u64>) -> anyhow::Result<f64> {
        let before = cpu_time()?;
        let result = work(self)?;
        let time = cpu_time()? - before;
        std::hint::black_box(result);
        Ok(self.records as f64 / time.as_secs_f64())
    }

    /// Decodes batch after batch.
    pub fn decoded(&self) -> impl Iterator<Item = anyhow::Result<Batch>> {
        self.batches.iter().map(|encoded| {
            let mut batch = Batch::default();
            decode(encoded, 0, false, &mut batch)?;
            Ok(batch)
        })
    }
}

/// A number that is spread evenly over `0..count` by a multiplicative step.
pub fn spread(at: u64, count: u64) -> u64 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % count
}

/// The event time of a record, in milliseconds.
pub fn time_of(at: u64) -> i64 {
    (at * MICROS_A_RECORD / 1000) as i64
}

/// A row of one of so many keys.
pub fn keyed_row(at: u64, keys: u64, batch: &mut Batch) {
    let key = format!("user-{:07}", spread(at, keys));
    batch.push(time_of(at), Some(key.as_bytes()), Some(b"/shop/item"));
}

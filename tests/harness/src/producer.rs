//! A producer whose batches are written once, however often they are sent.

use std::time::Duration;

use anyhow::bail;
use millstream::log::batch::{EncodeOptions, Producer as Identity, encode};
use millstream::record::Batch;

use crate::client::{CallError, Client};
use crate::wait::until;

/// How long a batch is sent again and again: longer than any restart in a test.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sends to one partition, in order, each batch until the server has acknowledged it.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    topic: String,
    partition: u32,
    id: i64,
    sequence: i32,
    /// Batches that the server had already when they were sent again.
    pub duplicates: u64,
    /// Times that a batch had to be sent again because there was no answer.
    pub retries: u64,
}

impl Producer {
    /// A producer with an id of its own.
    pub fn new(client: Client, topic: &str, partition: u32, id: i64) -> Self {
        Self { client, topic: topic.to_owned(), partition, id, sequence: 0, duplicates: 0, retries: 0 }
    }

    /// Sends rows as one batch. Through crashes of the server: what has no answer is sent again, byte for byte.
    pub fn send(&mut self, rows: &Batch) -> anyhow::Result<()> {
        let bytes = self.encode(rows);
        self.deliver(&bytes)?;
        self.sequence += rows.len() as i32;
        Ok(())
    }

    /// Sends rows twice, as a producer does that has not heard the answer, and sees to it that they are written once.
    pub fn send_twice(&mut self, rows: &Batch) -> anyhow::Result<()> {
        let bytes = self.encode(rows);
        self.deliver(&bytes)?;
        if !self.deliver(&bytes)? {
            bail!("partition {} took the same batch twice", self.partition);
        }
        self.sequence += rows.len() as i32;
        Ok(())
    }

    fn encode(&self, rows: &Batch) -> bytes::Bytes {
        let producer = Identity { id: self.id, epoch: 0, base_sequence: self.sequence };
        encode(rows.view(), &EncodeOptions { producer: Some(producer), ..EncodeOptions::default() })
    }

    /// Whether the server had it already.
    fn deliver(&mut self, bytes: &[u8]) -> anyhow::Result<bool> {
        let (client, topic, partition) = (&self.client, &self.topic, self.partition);
        let retries = &mut self.retries;
        let appended =
            until(PATIENCE, "a batch to be acknowledged", || match client.append(topic, partition, bytes) {
                Ok(appended) => Ok(Some(appended)),
                Err(CallError::Refused(refusal)) if refusal.status != 503 => Err(refusal.into()),
                Err(_) => {
                    *retries += 1;
                    Ok(None)
                }
            })?;
        self.duplicates += u64::from(appended.duplicate);
        Ok(appended.duplicate)
    }
}

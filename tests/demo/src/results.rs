//! The results as a consumer sees them: followed by offset through every restart of the server.

use std::time::Duration;

use anyhow::Context;
use harness::clicks::{page_name, page_number};
use harness::{CallError, Client, Record};

/// One window of one page: page, start, views.
pub(crate) type View = (u64, i64, u64);

/// A consumer of the topic with the results. Each record of it is read once.
#[derive(Debug)]
pub(crate) struct Results {
    client: Client,
    topic: String,
    /// The next record of each partition.
    next: Vec<u64>,
    views: Vec<View>,
}

impl Results {
    /// A consumer that begins at the first record.
    pub(crate) fn new(client: &Client, topic: &str) -> anyhow::Result<Self> {
        let partitions = client.topic(topic)?.partitions.len();
        Ok(Self { client: client.clone(), topic: topic.to_owned(), next: vec![0; partitions], views: Vec::new() })
    }

    /// Reads what has come. While the server is down nothing comes.
    pub(crate) fn follow(&mut self) -> anyhow::Result<()> {
        for partition in 0..self.next.len() {
            self.follow_partition(partition)?;
        }
        Ok(())
    }

    fn follow_partition(&mut self, partition: usize) -> anyhow::Result<()> {
        loop {
            let offset = self.next[partition];
            let (records, next) = match self.client.records(&self.topic, partition as u32, offset, Duration::ZERO) {
                Ok(page) => page,
                Err(CallError::NoAnswer(_)) => return Ok(()),
                Err(CallError::Refused(refusal)) if refusal.status == 503 => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if records.is_empty() {
                return Ok(());
            }
            for record in &records {
                self.views.push(view(record)?);
            }
            self.next[partition] = next;
        }
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The next record of a partition.
    pub(crate) fn next(&self, partition: u32) -> u64 {
        self.next.get(partition as usize).copied().unwrap_or_default()
    }

    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> u32 {
        self.next.len() as u32
    }

    /// Everything read so far.
    pub(crate) fn views(&self) -> &[View] {
        &self.views
    }

    /// The newest minute of which all results have come, and its most viewed pages.
    pub(crate) fn newest(&self) -> Option<(i64, Vec<(String, u64)>)> {
        let newest = self.views.iter().map(|&(_, start, _)| start).max()?;
        // Of the newest itself more may be on its way; those before it were committed before it.
        let minute = self.views.iter().map(|&(_, start, _)| start).filter(|&start| start < newest).max()?;
        let mut pages: Vec<_> = self.views.iter().filter(|view| view.1 == minute).collect();
        pages.sort_by_key(|&&(page, _, views)| (std::cmp::Reverse(views), page));
        Some((minute, pages.iter().take(3).map(|&&(page, _, views)| (page_name(page), views)).collect()))
    }
}

/// Reads a result of the plugin `count`.
pub(crate) fn view(record: &Record) -> anyhow::Result<View> {
    let value = record.json()?;
    let page = value["key"].as_str().and_then(page_number);
    let view = page.zip(value["start"].as_i64()).zip(value["count"].as_u64());
    let ((page, start), count) = view.with_context(|| format!("{record:?} is a result"))?;
    Ok((page, start, count))
}

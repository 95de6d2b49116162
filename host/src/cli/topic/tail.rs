//! `millstream topic tail`: records as they are, or as they come.

use std::sync::mpsc::{SyncSender, sync_channel};

use clap::Args;

use super::super::Format;
use super::super::client::Client;
use super::super::failure::Failure;
use super::super::output;
use super::text;
use crate::api::ReadFrom;
use crate::api::records::{COUNT_MAX, Page, Record};
use crate::api::topics::Topic;
use crate::ids::{PartitionId, TopicName};

/// How long a question waits for a record that is not there yet.
const WAIT_MS: u64 = 20_000;
/// Pages that are read ahead of what is printed.
const PAGES_AHEAD: usize = 4;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  millstream topic tail results --follow\n  millstream topic tail clicks --offset earliest -n 5\n  \
                        millstream topic tail clicks --partition 2 --offset -100 -o json"
)]
pub(in crate::cli) struct Tail {
    /// The topic
    topic: TopicName,
    /// Only this partition
    #[arg(long)]
    partition: Option<PartitionId>,
    /// Where to begin in each partition: a number, -number (before the end), `earliest` or `latest`
    #[arg(long, default_value = "-10", allow_hyphen_values = true)]
    offset: ReadFrom,
    /// End after this many records
    #[arg(short = 'n', long)]
    count: Option<usize>,
    /// Go on with records as they come
    #[arg(short = 'f', long)]
    follow: bool,
}

impl Tail {
    pub(super) fn run(self, client: &Client, format: Format) -> Result<(), Failure> {
        let topic: Topic = client.get(&format!("/v1/topics/{}", self.topic))?;
        let partitions: Vec<_> = match self.partition {
            Some(partition) => vec![partition],
            None => topic.partitions.iter().map(|partition| partition.partition).collect(),
        };
        let mut left = self.count.unwrap_or(usize::MAX);
        if !self.follow {
            for partition in partitions {
                self.read(client, partition, &mut |page| print(&page, format, &mut left))?;
            }
            return Ok(());
        }
        let (pages, read) = sync_channel::<Result<Page, Failure>>(PAGES_AHEAD);
        std::thread::scope(|scope| {
            for partition in partitions {
                let pages = pages.clone();
                let follower = Follower { tail: &self, client, partition };
                scope.spawn(move || follower.run(&pages));
            }
            drop(pages);
            for page in read {
                if !print(&page?, format, &mut left)? {
                    // Followers wait for records; the program need not wait for them.
                    std::process::exit(0);
                }
            }
            Ok(())
        })
    }

    /// Reads what is there now.
    fn read(
        &self,
        client: &Client,
        partition: PartitionId,
        each: &mut dyn FnMut(Page) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let mut from = self.offset;
        let mut until = None;
        loop {
            let page = self.page(client, partition, from, 0)?;
            let until = *until.get_or_insert(page.end_offset);
            // Without records there is nothing up to the end; compaction may have left fewer than there are offsets.
            let (next, empty) = (page.next_offset, page.records.is_empty());
            if !each(page)? || empty || next >= until {
                return Ok(());
            }
            from = ReadFrom::At(next);
        }
    }

    fn page(&self, client: &Client, partition: PartitionId, from: ReadFrom, wait_ms: u64) -> Result<Page, Failure> {
        let limit = self.count.unwrap_or(COUNT_MAX).clamp(1, COUNT_MAX);
        let query = format!("partition={partition}&offset={from}&limit={limit}&wait_ms={wait_ms}");
        client.get(&format!("/v1/topics/{}/records?{query}", self.topic))
    }
}

/// Reads one partition for ever.
struct Follower<'a> {
    tail: &'a Tail,
    client: &'a Client,
    partition: PartitionId,
}

impl Follower<'_> {
    /// Ends when there is nobody to read for, or when reading fails.
    fn run(&self, pages: &SyncSender<Result<Page, Failure>>) {
        let mut from = self.tail.offset;
        loop {
            let page = self.tail.page(self.client, self.partition, from, WAIT_MS);
            if let Ok(page) = &page {
                from = ReadFrom::At(page.next_offset);
            }
            let failed = page.is_err();
            if pages.send(page).is_err() || failed {
                return;
            }
        }
    }
}

/// Prints records, and answers whether more are wanted.
fn print(page: &Page, format: Format, left: &mut usize) -> Result<bool, Failure> {
    for record in page.records.iter().take(*left) {
        match format {
            Format::Json => output::json_line(record)?,
            Format::Table => output::line(shown(record))?,
        }
    }
    *left = left.saturating_sub(page.records.len());
    Ok(*left > 0)
}

/// A record on one line, its fields between tabs.
fn shown(record: &Record) -> String {
    let data = |data: &Option<_>| {
        data.as_ref().map_or("null".to_owned(), |data| output::printable(&text(data)).replace('\n', "\\n"))
    };
    let place = format!("{}/{}", record.partition.unwrap_or_default(), record.offset.unwrap_or_default());
    let time = record.timestamp.map(output::time).unwrap_or_default();
    format!("{place}\t{time}\t{}\t{}", data(&record.key), data(&record.value))
}

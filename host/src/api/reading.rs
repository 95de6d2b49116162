//! Reading a partition, and waiting for records that have not arrived yet if the client asks for that.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{App, Problem};
use crate::ids::{Offset, TenantId, TopicPartition};
use crate::log::{self, Fetched, PartitionInfo};

/// How long a reader may wait at most: proxies and clients cut longer ones off.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Where to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReadFrom {
    /// The oldest record.
    #[default]
    Earliest,
    /// After the newest record.
    Latest,
    /// A place.
    At(Offset),
    /// That many records before the end.
    BeforeEnd(u64),
}

impl FromStr for ReadFrom {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            digits.parse().map_err(|_| format!("offset `{text}` is none of a number, -number, `earliest`, `latest`"))
        };
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => match text.strip_prefix('-') {
                Some(back) => number(back).map(Self::BeforeEnd),
                None => number(text).map(Self::At),
            },
        }
    }
}

impl TryFrom<String> for ReadFrom {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ReadFrom> for String {
    fn from(from: ReadFrom) -> Self {
        from.to_string()
    }
}

impl std::fmt::Display for ReadFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::At(offset) => write!(f, "{offset}"),
            Self::BeforeEnd(count) => write!(f, "-{count}"),
        }
    }
}

impl ReadFrom {
    fn resolve(self, partition: &PartitionInfo) -> Offset {
        match self {
            Self::Earliest => partition.start,
            Self::Latest => partition.end,
            Self::At(offset) => offset,
            Self::BeforeEnd(count) => partition.end.saturating_sub(count).max(partition.start),
        }
    }
}

/// Reads from a place on, and answers with it. Where nothing is there, waits for at most `wait`.
pub(super) async fn fetch(
    app: &App,
    tenant: &TenantId,
    at: &TopicPartition,
    from: ReadFrom,
    bytes_max: usize,
    wait: Duration,
) -> Result<(Offset, Fetched), Problem> {
    let until = Instant::now() + wait.min(WAIT_MAX);
    let mut changes = app.log.watch(tenant, &at.topic)?;
    let offset = place(app, tenant, at, from).await?;
    let mut stop = app.stop.clone();
    loop {
        // Seen before the read, so that what comes after it is noticed.
        changes.borrow_and_update();
        let fetched = app.log.fetch(tenant, at, offset, bytes_max).await?;
        if !fetched.batches.is_empty() || Instant::now() >= until {
            return Ok((offset, fetched));
        }
        tokio::select! {
            biased;
            () = super::stopped(&mut stop) => return Ok((offset, fetched)),
            () = tokio::time::sleep_until(until) => return Ok((offset, fetched)),
            changed = changes.changed() => {
                changed.map_err(|_| log::Error::TopicNotFound { topic: at.topic.clone() })?;
            }
        }
    }
}

async fn place(app: &App, tenant: &TenantId, at: &TopicPartition, from: ReadFrom) -> Result<Offset, Problem> {
    if let ReadFrom::At(offset) = from {
        return Ok(offset);
    }
    let topic = app.log.topic(tenant, &at.topic).await?;
    let partition = topic
        .partitions
        .get(at.partition as usize)
        .ok_or_else(|| log::Error::PartitionNotFound { at: at.clone(), partitions: topic.config.partitions })?;
    Ok(from.resolve(partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_number_or_a_distance_from_an_end() {
        let partition = PartitionInfo { start: 10, end: 15, records: 5, bytes: 0 };
        let at = |text: &str| text.parse::<ReadFrom>().map(|from| (from.resolve(&partition), from.to_string()));
        for (text, offset) in [("earliest", 10), ("latest", 15), ("12", 12), ("-2", 13), ("-9", 10), ("99", 99)] {
            assert_eq!(at(text), Ok((offset, text.to_owned())));
        }
        for text in ["", "newest", "--2", "1.5", "99999999999999999999"] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}

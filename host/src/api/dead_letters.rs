//! `/v1/pipelines/{pipeline}/dead-letters`: the records that a pipeline could not process, and why.
//!
//! A dead letter is the record as it was, with headers that say where it came from and what was wrong. Here those
//! headers are fields.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::caller::{Authorized, Consumer};
use super::extract::{ValidPath, ValidQuery};
use super::reading::ReadFrom;
use super::records::{self, Data, Page, Record};
use super::{Problem, Shared};
use crate::ids::{Offset, PartitionId, PipelineName, TopicName, TopicPartition};
use crate::pipeline::DEAD_LETTER_HEADER_PREFIX as PREFIX;

/// Dead letters of an answer where nothing is asked for.
const COUNT_DEFAULT: usize = 100;

/// A record that a pipeline could not process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// What was wrong and where it came from: the headers of provenance, without their prefix.
    pub provenance: BTreeMap<String, Data>,
    /// The record as it was; its partition and offset are those in the dead letter topic.
    pub record: Record,
}

/// Dead letters of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// The topic that they are in.
    pub topic: TopicName,
    /// The dead letters, in order.
    pub items: Vec<DeadLetter>,
    /// Where to read on.
    pub next_offset: Offset,
    /// The oldest that is kept.
    pub start_offset: Offset,
    /// The end of the partition.
    pub end_offset: Offset,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    #[serde(default)]
    partition: PartitionId,
    #[serde(default)]
    offset: ReadFrom,
    limit: Option<usize>,
}

pub(super) async fn list(
    caller: Authorized<Consumer>,
    State(app): Shared,
    ValidPath(name): ValidPath<PipelineName>,
    ValidQuery(query): ValidQuery<Query>,
) -> Result<Response, Problem> {
    let topic = app.pipelines.show(&caller.tenant, &name).await?.dead_letters;
    let at = TopicPartition { topic: topic.clone(), partition: query.partition };
    let count = query.limit.unwrap_or(COUNT_DEFAULT).clamp(1, records::COUNT_MAX);
    let page = records::read_page(&app, &caller.tenant, &at, query.offset, count, Duration::ZERO).await?;
    let json = app.off_thread(move |_| records::to_json(&letters(topic, page))).await?;
    Ok(([("content-type", "application/json")], app.budget.answer([json])?).into_response())
}

fn letters(topic: TopicName, page: Page) -> DeadLetters {
    DeadLetters {
        topic,
        items: page.records.into_iter().map(letter).collect(),
        next_offset: page.next_offset,
        start_offset: page.start_offset,
        end_offset: page.end_offset,
    }
}

/// Takes the headers of provenance out of a record's.
fn letter(mut record: Record) -> DeadLetter {
    let mut provenance = BTreeMap::new();
    record.headers.retain(|(name, value)| match name {
        Data::Text(name) if name.starts_with(PREFIX) => {
            let value = value.clone().unwrap_or_else(|| Data::Text(String::new()));
            provenance.insert(name[PREFIX.len()..].to_owned(), value);
            false
        }
        _ => true,
    });
    DeadLetter { provenance, record }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provenance_is_taken_out_of_the_headers_and_the_records_own_stay() {
        let header = |name: &str, value: &str| (Data::of(name.as_bytes()), Some(Data::of(value.as_bytes())));
        let record = Record {
            partition: Some(0),
            offset: Some(4),
            timestamp: Some(1),
            key: None,
            value: Some(Data::of(b"bad")),
            headers: vec![header("own", "1"), header("millstream.code", "not_json"), header("millstream.offset", "7")],
        };
        let letter = letter(record);
        assert_eq!(letter.record.headers, [header("own", "1")]);
        let fields: Vec<_> = letter.provenance.keys().map(String::as_str).collect();
        assert_eq!(fields, ["code", "offset"]);
    }
}

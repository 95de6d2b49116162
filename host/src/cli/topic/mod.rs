//! `millstream topic`: topics and their records.

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::output::{self, bytes, facts, table};
use super::{Format, Session};
use crate::api::List;
use crate::api::records::Data;
use crate::api::topics::{NewTopic, Topic as Info};
use crate::ids::TopicName;
use crate::log::Cleanup;
use crate::pipeline::spec::duration_ms;

mod produce;
mod tail;

#[derive(Debug, Subcommand)]
pub(super) enum Topic {
    /// Make a topic
    #[command(after_help = "Examples:\n  millstream topic create clicks --partitions 4\n  \
                            millstream topic create logs --retention 7d --retention-bytes 1GiB\n  \
                            millstream topic create users --cleanup compact")]
    Create(Create),
    /// List topics
    List,
    /// Show a topic and its partitions
    Describe {
        /// The topic
        name: TopicName,
    },
    /// Remove a topic and its records
    Delete {
        /// The topic
        name: TopicName,
    },
    /// Write lines of a file or of standard input as records, each once
    Produce(produce::Produce),
    /// Show records, the last ones unless told otherwise
    Tail(tail::Tail),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The topic
    name: TopicName,
    /// How many partitions it has
    #[arg(long, default_value_t = 1)]
    partitions: u32,
    /// How long records are kept, such as 12h or 7d; for ever unless given
    #[arg(long, value_parser = milliseconds)]
    retention: Option<u64>,
    /// How much each partition keeps, such as 500MiB; any amount unless given
    #[arg(long, value_parser = amount)]
    retention_bytes: Option<u64>,
    /// Which old records go: `delete` those beyond the retention, `compact` those that a newer record of their key
    /// replaces (each record must have a key), or `compact,delete`
    #[arg(long, default_value_t, value_name = "POLICY")]
    cleanup: Cleanup,
    /// How long a compacted topic keeps deletions, which are records with a null value; 1d unless given
    #[arg(long, value_parser = milliseconds, value_name = "TIME")]
    tombstone_retention: Option<u64>,
}

impl Topic {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        let format = session.format;
        match self {
            Self::Create(create) => {
                let new = NewTopic {
                    name: create.name,
                    partitions: create.partitions,
                    retention_ms: create.retention,
                    retention_bytes: create.retention_bytes,
                    cleanup_policy: create.cleanup,
                    tombstone_retention_ms: create.tombstone_retention,
                };
                let topic: Info = client.post("/v1/topics", &new)?;
                format.show(&topic, |topic| format!("topic `{}` has {} partitions", topic.name, topic.partitions.len()))
            }
            Self::List => {
                let topics: List<Info> = client.get("/v1/topics")?;
                format.show(&topics, |topics| list(&topics.items))
            }
            Self::Describe { name } => describe(format, &client.get(&format!("/v1/topics/{name}"))?),
            Self::Delete { name } => {
                client.delete(&format!("/v1/topics/{name}"))?;
                output::say(format_args!("topic `{name}` deleted"));
                Ok(())
            }
            Self::Produce(produce) => produce.run(&client, format),
            Self::Tail(tail) => tail.run(&client, format),
        }
    }
}

fn list(topics: &[Info]) -> String {
    table(
        ["NAME", "PARTITIONS", "CLEANUP", "RECORDS", "BYTES"],
        topics.iter().map(|topic| {
            [
                topic.name.to_string(),
                topic.partitions.len().to_string(),
                topic.cleanup_policy.to_string(),
                topic.records.to_string(),
                bytes(topic.bytes),
            ]
        }),
    )
}

fn describe(format: Format, topic: &Info) -> Result<(), Failure> {
    format.show(topic, |topic| {
        let mut about = vec![
            ("name", topic.name.to_string()),
            ("cleanup", topic.cleanup_policy.to_string()),
            ("retention", topic.retention_ms.map_or("for ever".to_owned(), |ms| format!("{} s", ms / 1000))),
            ("retention bytes", topic.retention_bytes.map_or("any".to_owned(), bytes)),
        ];
        about.extend(topic.tombstone_retention_ms.map(|ms| ("tombstone retention", format!("{} s", ms / 1000))));
        about.extend([("records", topic.records.to_string()), ("bytes", bytes(topic.bytes))]);
        let about = facts(about);
        let partitions = table(
            ["PARTITION", "START", "END", "RECORDS", "BYTES"],
            topic.partitions.iter().map(|partition| {
                [
                    partition.partition.to_string(),
                    partition.start.to_string(),
                    partition.end.to_string(),
                    partition.records.to_string(),
                    bytes(partition.bytes),
                ]
            }),
        );
        format!("{about}\n\n{partitions}")
    })
}

/// Data as text: what is not UTF-8 stays in base64, marked.
pub(super) fn text(data: &Data) -> String {
    match data {
        Data::Text(text) => text.clone(),
        Data::Bytes { base64 } => format!("base64:{base64}"),
    }
}

fn milliseconds(text: &str) -> Result<u64, String> {
    let ms = duration_ms(text).and_then(|ms| u64::try_from(ms).ok());
    ms.ok_or_else(|| "write a whole number and a unit, such as 500ms, 30s, 1m, 2h or 1d".to_owned())
}

fn amount(text: &str) -> Result<u64, String> {
    let wrong = || "write a whole number of bytes, or one with KiB, MiB or GiB".to_owned();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        assert_eq!([amount("12"), amount("1KiB"), amount("2GiB")], [Ok(12), Ok(1024), Ok(2 << 30)]);
        for text in ["", "x", "1kb", "-1", "99999999999GiB"] {
            assert!(amount(text).is_err(), "{text}");
        }
        assert_eq!(milliseconds("2h"), Ok(7_200_000));
        assert!(milliseconds("2").is_err());
    }
}

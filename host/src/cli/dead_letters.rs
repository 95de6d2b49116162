//! `millstream dead-letters`: what pipelines could not process.

use clap::Subcommand;

use super::failure::Failure;
use super::output::{facts, printable, table, time};
use super::{Session, topic};
use crate::api::ReadFrom;
use crate::api::dead_letters::{DeadLetter, DeadLetters as Letters};
use crate::error::Kind;
use crate::ids::{Offset, PartitionId, PipelineName};

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// List dead letters of a pipeline, the newest last
    #[command(
        after_help = "Examples:\n  millstream dead-letters list views\n  millstream dead-letters list views --offset earliest -n 100"
    )]
    List {
        /// The pipeline
        pipeline: PipelineName,
        /// Partition of the dead letter topic
        #[arg(long, default_value_t = 0)]
        partition: PartitionId,
        /// Where to begin: a number, -number, `earliest` or `latest`
        #[arg(long, default_value = "-20", allow_hyphen_values = true)]
        offset: ReadFrom,
        /// How many to show at most
        #[arg(short = 'n', long, default_value_t = 20)]
        count: usize,
    },
    /// Show one dead letter with everything that is known of it
    Show {
        /// The pipeline
        pipeline: PipelineName,
        /// Its offset in the dead letter topic
        offset: Offset,
        /// Partition of the dead letter topic
        #[arg(long, default_value_t = 0)]
        partition: PartitionId,
    },
}

impl DeadLetters {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self {
            Self::List { pipeline, partition, offset, count } => {
                let query = format!("partition={partition}&offset={offset}&limit={count}");
                let letters: Letters = client.get(&format!("/v1/pipelines/{pipeline}/dead-letters?{query}"))?;
                session.format.show(&letters, |letters| list(&letters.items))
            }
            Self::Show { pipeline, offset, partition } => {
                let query = format!("partition={partition}&offset={offset}&limit=1");
                let letters: Letters = client.get(&format!("/v1/pipelines/{pipeline}/dead-letters?{query}"))?;
                let letter = letters.items.first().ok_or_else(|| {
                    let detail = format!("`{}/{partition}` has no dead letter {offset} yet", letters.topic);
                    Failure::new("offset_out_of_range", Kind::Invalid, detail)
                })?;
                session.format.show(letter, show)
            }
        }
    }
}

fn field(letter: &DeadLetter, name: &str) -> String {
    letter.provenance.get(name).map(topic::text).unwrap_or_default()
}

fn list(letters: &[DeadLetter]) -> String {
    table(
        ["OFFSET", "TIME", "STEP", "CODE", "REASON", "SOURCE"],
        letters.iter().map(|letter| {
            [
                letter.record.offset.unwrap_or_default().to_string(),
                letter.record.timestamp.map(time).unwrap_or_default(),
                field(letter, "step"),
                field(letter, "code"),
                field(letter, "reason").replace('\n', " "),
                source(letter),
            ]
        }),
    )
}

/// Where it came from: a record's place, or a window.
fn source(letter: &DeadLetter) -> String {
    match letter.provenance.contains_key("topic") {
        true => format!("{}/{}@{}", field(letter, "topic"), field(letter, "partition"), field(letter, "offset")),
        false => format!("window {}..{}", field(letter, "window-start"), field(letter, "window-end")),
    }
}

fn show(letter: &DeadLetter) -> String {
    let record = &letter.record;
    let mut about = vec![
        ("source", source(letter)),
        ("time", record.timestamp.map(time).unwrap_or_default()),
        ("step", field(letter, "step")),
        ("plugin", format!("{}@{}", field(letter, "plugin"), field(letter, "digest"))),
        ("code", field(letter, "code")),
        ("reason", field(letter, "reason")),
        ("key", record.key.as_ref().map(topic::text).unwrap_or_default()),
    ];
    for (name, value) in &record.headers {
        about.push((
            "header",
            format!("{}: {}", topic::text(name), value.as_ref().map(topic::text).unwrap_or_default()),
        ));
    }
    let value = record.value.as_ref().map(topic::text).unwrap_or_default();
    let backtrace = field(letter, "backtrace");
    let backtrace =
        if backtrace.is_empty() { String::new() } else { format!("\n\nbacktrace:\n{}", printable(&backtrace)) };
    format!("{}{backtrace}\n\n{}", facts(about), printable(&value))
}

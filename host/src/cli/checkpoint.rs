//! `millstream checkpoint`: copies of pipelines, and what there is of them.

use clap::Subcommand;

use super::client::Client;
use super::failure::Failure;
use super::output::{self, bytes, facts, table, time};
use super::{Session, progress};
use crate::api::List;
use crate::api::checkpoints::{Summary, Take};
use crate::api::operations::{Operation, OperationState};
use crate::checkpoint::{CheckpointId, Chunk, Kind, Manifest};
use crate::ids::PipelineName;

/// How long the server holds a question back while the operation goes on.
const WAIT_MS: u64 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Checkpoint {
    /// Take a savepoint of a pipeline, which is kept until it is deleted; the pipeline goes on meanwhile
    #[command(after_help = "Examples:\n  millstream checkpoint take page-views --note \"before the move\"")]
    Take {
        /// The pipeline
        pipeline: PipelineName,
        /// What it is for, for whoever looks at the list
        #[arg(long)]
        note: Option<String>,
    },
    /// List a pipeline's checkpoints, oldest first
    List {
        /// The pipeline
        pipeline: PipelineName,
    },
    /// Show a checkpoint: where it is in the inputs, what it holds, what ran
    Show {
        /// The pipeline
        pipeline: PipelineName,
        /// The checkpoint
        checkpoint: CheckpointId,
    },
    /// Read all of a checkpoint and say what of it is missing, truncated or damaged
    #[command(after_help = "Examples:\n  millstream checkpoint verify page-views 7-1042\n\n\
                            Ends with an error if the checkpoint is not whole; codes are those with which a restore \
                            would refuse it.")]
    Verify {
        /// The pipeline
        pipeline: PipelineName,
        /// The checkpoint
        checkpoint: CheckpointId,
    },
    /// Remove a checkpoint and what only it needs
    Delete {
        /// The pipeline
        pipeline: PipelineName,
        /// The checkpoint
        checkpoint: CheckpointId,
    },
}

impl Checkpoint {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self {
            Self::Take { pipeline, note } => {
                let begun: Operation = client.post(&format!("/v1/pipelines/{pipeline}/checkpoints"), &Take { note })?;
                finish(session, &client, begun, "copying")
            }
            Self::List { pipeline } => {
                let listed: List<Summary> = client.get(&format!("/v1/pipelines/{pipeline}/checkpoints"))?;
                session.format.show(&listed, |listed| list(&listed.items))
            }
            Self::Show { pipeline, checkpoint } => {
                let manifest: Manifest = client.get(&format!("/v1/pipelines/{pipeline}/checkpoints/{checkpoint}"))?;
                session.format.show(&manifest, show)
            }
            Self::Verify { pipeline, checkpoint } => {
                let path = format!("/v1/pipelines/{pipeline}/checkpoints/{checkpoint}/verify");
                verify(session, &client, client.tell(&path)?)
            }
            Self::Delete { pipeline, checkpoint } => {
                client.delete(&format!("/v1/pipelines/{pipeline}/checkpoints/{checkpoint}"))?;
                output::say(format_args!("checkpoint {checkpoint} of pipeline `{pipeline}` deleted"));
                Ok(())
            }
        }
    }
}

/// Waits for the end of an operation.
fn ended(client: &Client, begun: Operation, doing: &'static str) -> Result<Operation, Failure> {
    let bar = progress::bytes(doing, None);
    let path = format!("/v1/operations/{}?wait_ms={WAIT_MS}", begun.id);
    let mut operation = begun;
    while operation.state == OperationState::Running {
        bar.set_position(operation.bytes);
        operation = client.get(&path)?;
    }
    bar.finish_and_clear();
    match operation.error {
        Some(error) => Err(error.into()),
        None => Ok(operation),
    }
}

/// Waits for what is found out about a checkpoint, and shows it.
fn verify(session: &Session, client: &Client, begun: Operation) -> Result<(), Failure> {
    let operation = ended(client, begun, "verifying")?;
    session.format.show(&operation, |operation| {
        let Some(verified) = operation.result.as_ref().and_then(|done| done.verified.as_ref()) else {
            return String::new();
        };
        let about = facts([
            ("checkpoint", verified.checkpoint.to_string()),
            ("size", format!("{} in {} chunks", bytes(verified.bytes), verified.chunks)),
            ("not whole", format!("{} chunks", verified.faults.len())),
        ]);
        let rows = verified.faults.iter().map(|fault| {
            let Chunk { digest, bytes: size, first, last } = fault.chunk;
            [digest.to_string(), bytes(size), format!("{first} to {last}"), fault.code.clone()]
        });
        match verified.faults.is_empty() {
            true => about,
            false => format!("{about}\n\n{}", table(["CHUNK", "SIZE", "BLOCKS", "FAULT"], rows)),
        }
    })?;
    let faults = operation.result.and_then(|done| done.verified).map(|verified| verified.faults).unwrap_or_default();
    match faults.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(Failure::new(&first.code, crate::error::Kind::Corrupt, first.detail)),
    }
}

/// Waits for the end of an operation, and shows what it came to.
pub(super) fn finish(session: &Session, client: &Client, begun: Operation, doing: &'static str) -> Result<(), Failure> {
    let operation = ended(client, begun, doing)?;
    session.format.show(&operation, |operation| {
        let Some(done) = &operation.result else { return String::new() };
        let mut about = vec![("pipeline", done.pipeline.to_string())];
        about.extend(done.checkpoint.map(|id| ("checkpoint", id.to_string())));
        about.extend(done.undo.map(|id| ("to undo it", format!("millstream pipeline restore {} {id}", done.pipeline))));
        about.extend(done.pause_ms.map(|ms| ("stood still", format!("{ms:.1} ms"))));
        about.push(("copied", bytes(operation.bytes)));
        facts(about)
    })
}

fn list(checkpoints: &[Summary]) -> String {
    table(
        ["CHECKPOINT", "KIND", "TAKEN", "SIZE", "WRITTEN", "NOTE"],
        checkpoints.iter().map(|checkpoint| match &checkpoint.about {
            Some(about) => [
                checkpoint.id.to_string(),
                kind(about.kind).to_owned(),
                time(about.created_at_ms),
                bytes(about.bytes),
                bytes(about.written_bytes),
                about.note.clone().unwrap_or_default(),
            ],
            None => {
                let code = checkpoint.error.as_ref().map_or("-", |error| error.code.as_str());
                let dash = || "-".to_owned();
                [checkpoint.id.to_string(), "damaged".to_owned(), dash(), dash(), dash(), code.to_owned()]
            }
        }),
    )
}

fn show(manifest: &Manifest) -> String {
    let about = facts([
        ("checkpoint", manifest.id.to_string()),
        ("kind", kind(manifest.kind).to_owned()),
        ("note", manifest.note.clone().unwrap_or_else(|| "-".to_owned())),
        ("taken", time(manifest.created_at_ms)),
        ("pipeline", manifest.deployment.pipeline.to_string()),
        ("size", format!("{} in {} chunks", bytes(manifest.bytes()), manifest.chunks.len())),
        ("written", bytes(manifest.written_bytes)),
    ]);
    let steps = table(
        ["STEP", "VERSION"],
        manifest.deployment.digests.iter().map(|(step, digest)| [step.to_string(), digest.to_string()]),
    );
    let inputs = table(
        ["INPUT", "POSITION"],
        manifest
            .positions
            .iter()
            .map(|position| [format!("{}/{}", position.topic, position.partition), position.offset.to_string()]),
    );
    format!("{about}\n\n{steps}\n\n{inputs}")
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Interval => "interval",
        Kind::Savepoint => "savepoint",
        Kind::Upgrade => "upgrade",
    }
}

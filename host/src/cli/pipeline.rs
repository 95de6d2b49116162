//! `millstream pipeline`: deploying and controlling pipelines.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::failure::Failure;
use super::output::{self, bytes, facts, table, time};
use super::when::When;
use super::{Format, Session, checkpoint};
use crate::api::List;
use crate::api::pipelines::Applied;
use crate::checkpoint::CheckpointId;
use crate::error::Kind;
use crate::ids::{PipelineName, StepName};
use crate::pipeline::status::{Activity, Doing, PipelineStatus, State, StepStatus};
use crate::pipeline::{Change, Orphan, Orphans, Restore, Rewind, StartOffset};
use crate::plugin::Metric;

#[derive(Debug, Subcommand)]
pub(super) enum Pipeline {
    /// Make or change a pipeline as a manifest describes it
    #[command(
        after_help = "Examples:\n  millstream pipeline apply views.toml\n  cat views.toml | millstream pipeline apply -\n  \
                      millstream pipeline apply views.toml --drop-state count\n\n\
                      A step for which the manifest names no version runs the newest, unless a restore or rollback put it \
                      back to another: then it stays at that until the manifest names one, or --upgrade is given."
    )]
    Apply {
        /// The manifest; `-` is standard input
        file: PathBuf,
        /// Run the newest versions, also of steps that a restore or rollback put back to others
        #[arg(long)]
        upgrade: bool,
        /// Leave the state of this step behind, by the name that it has now; may be given for several
        #[arg(long, value_name = "STEP")]
        drop_state: Vec<StepName>,
        /// Do not try the plugins on samples: for one that is refused because its answers differ, and may
        #[arg(long)]
        untried: bool,
    },
    /// List pipelines
    List,
    /// Show a pipeline: its state, where it is, what it has done
    Show {
        /// The pipeline
        name: PipelineName,
    },
    /// Stop a pipeline between two commits; its input waits
    Pause {
        /// The pipeline
        name: PipelineName,
    },
    /// Let a paused or failed pipeline go on
    Resume {
        /// The pipeline
        name: PipelineName,
    },
    /// Put a pipeline back to a checkpoint, or make another pipeline from it
    #[command(after_help = "Examples:\n  millstream pipeline restore page-views 7-1042\n  \
                            millstream pipeline restore page-views 7-1042 --as what-if\n\n\
                            State, place and versions are the checkpoint's. What the pipeline has now is copied first: \
                            the answer says how to undo it. A fork writes to topics of its own: those that the manifest \
                            names get its name in front, unless --manifest says otherwise.")]
    Restore {
        /// The pipeline that the checkpoint is of
        name: PipelineName,
        /// The checkpoint
        checkpoint: CheckpointId,
        /// Make a new pipeline of this name instead
        #[arg(long = "as", value_name = "NAME")]
        into: Option<PipelineName>,
        /// The manifest to run on the state, instead of the one that ran; `-` is standard input
        #[arg(long, value_name = "FILE")]
        manifest: Option<PathBuf>,
        /// Go on at this record; in other partitions where the checkpoint is
        #[arg(long, value_name = "TOPIC:PARTITION=N", value_parser = place)]
        to_offset: Vec<StartOffset>,
    },
    /// Restart a pipeline, with empty state, at an earlier position of its inputs
    #[command(after_help = "Examples:\n  millstream pipeline rewind page-views --to-time 2026-01-31T08:30:00Z\n  \
                            millstream pipeline rewind page-views --to-offset clicks:0=1500 --to-offset clicks:1=1480\n\n\
                            What the pipeline has now is copied first: the answer says how to undo it. Results are \
                            written again behind those that there are.")]
    Rewind {
        /// The pipeline
        name: PipelineName,
        /// In each partition to the first record of this time or later: milliseconds since 1970, or a time in UTC
        #[arg(long, value_name = "TIME", required_unless_present = "to_offset", allow_negative_numbers = true)]
        to_time: Option<When>,
        /// To this record; other partitions go on where they are
        #[arg(long, value_name = "TOPIC:PARTITION=N", conflicts_with = "to_time", value_parser = place)]
        to_offset: Vec<StartOffset>,
    },
    /// Put a pipeline back to before its last upgrade: versions, manifest and state
    Rollback {
        /// The pipeline
        name: PipelineName,
    },
    /// Show state in the log that belongs to no known pipeline, such as one whose file was lost
    Orphans,
    /// Make an orphan a pipeline again: the manifest goes on with its state, from its place
    #[command(after_help = "Examples:\n  millstream pipeline orphans\n  millstream pipeline adopt 7 views.toml")]
    Adopt {
        /// The orphan, as `pipeline orphans` shows it
        deployment: u64,
        /// The manifest; `-` is standard input
        file: PathBuf,
    },
    /// Remove an orphan for good
    Discard {
        /// The orphan, as `pipeline orphans` shows it
        deployment: u64,
    },
    /// Remove a pipeline and its state; its topics and savepoints stay
    Delete {
        /// The pipeline
        name: PipelineName,
    },
}

impl Pipeline {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        let format = session.format;
        match self {
            Self::Apply { file, upgrade, drop_state, untried } => {
                let manifest = read(&file)?;
                let steps: Vec<_> = drop_state.iter().map(StepName::as_str).collect();
                let path = format!("/v1/pipelines?upgrade={upgrade}&drop-state={}&untried={untried}", steps.join(","));
                let applied: Applied = client.put_bytes("PUT", &path, "application/toml", &manifest)?;
                format.show(&applied, |applied| {
                    let changed = match applied.change {
                        Change::Created => "created",
                        Change::Changed => "changed",
                        Change::Unchanged => "unchanged",
                    };
                    let name = &applied.pipeline.name;
                    let pause = applied.pause_ms.map(|ms| format!(" in {ms:.1} ms")).unwrap_or_default();
                    let undo = applied.checkpoint.map(|_| format!("; `millstream pipeline rollback {name}` undoes it"));
                    let held: Vec<_> = applied.pipeline.steps.iter().filter(|step| step.held).collect();
                    let held = held.iter().map(|step| {
                        let StepStatus { name, plugin, digest, .. } = step;
                        format!("\nstep `{name}` stays at `{plugin}@{digest}`, to which it was put back: --upgrade runs the newest")
                    });
                    format!("pipeline `{name}` {changed}{pause}{}{}", undo.unwrap_or_default(), held.collect::<String>())
                })
            }
            Self::List => {
                let pipelines: List<PipelineStatus> = client.get("/v1/pipelines")?;
                format.show(&pipelines, |pipelines| list(&pipelines.items))
            }
            Self::Show { name } => show(format, &client.get(&format!("/v1/pipelines/{name}"))?),
            Self::Pause { name } => show(format, &client.tell(&format!("/v1/pipelines/{name}/pause"))?),
            Self::Resume { name } => show(format, &client.tell(&format!("/v1/pipelines/{name}/resume"))?),
            Self::Restore { name, checkpoint, into, manifest, to_offset } => {
                let manifest = manifest.map(|file| text(&file)).transpose()?;
                let restore = Restore { checkpoint, into, manifest, to_offsets: to_offset };
                let begun = client.post(&format!("/v1/pipelines/{name}/restore"), &restore)?;
                checkpoint::finish(session, &client, begun, "restoring")
            }
            Self::Rewind { name, to_time, to_offset } => {
                let rewind = match to_time {
                    Some(When(time)) => Rewind::ToTime(time),
                    None => Rewind::ToOffsets(to_offset),
                };
                let begun = client.post(&format!("/v1/pipelines/{name}/rewind"), &rewind)?;
                checkpoint::finish(session, &client, begun, "rewinding")
            }
            Self::Rollback { name } => {
                let begun = client.tell(&format!("/v1/pipelines/{name}/rollback"))?;
                checkpoint::finish(session, &client, begun, "rolling back")
            }
            Self::Orphans => {
                let orphans: Orphans = client.get("/v1/orphans")?;
                format.show(&orphans, orphans_table)
            }
            Self::Adopt { deployment, file } => {
                let path = format!("/v1/orphans/{deployment}/adopt");
                let applied: Applied = client.put_bytes("POST", &path, "application/toml", &read(&file)?)?;
                format.show(&applied, |applied| {
                    format!("pipeline `{}` goes on with the state of deployment {deployment}", applied.pipeline.name)
                })
            }
            Self::Discard { deployment } => {
                client.delete(&format!("/v1/orphans/{deployment}"))?;
                output::say(format_args!("the state of deployment {deployment} is removed"));
                Ok(())
            }
            Self::Delete { name } => {
                client.delete(&format!("/v1/pipelines/{name}"))?;
                output::say(format_args!("pipeline `{name}` deleted"));
                Ok(())
            }
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let result = match file == Path::new("-") {
        true => std::io::stdin().read_to_end(&mut text).map(|_| text),
        false => std::fs::read(file),
    };
    result.map_err(|error| Failure::file("read", file, &error))
}

fn text(file: &Path) -> Result<String, Failure> {
    String::from_utf8(read(file)?)
        .map_err(|error| Failure::new("local_file", Kind::Invalid, format!("read `{}`: {error}", file.display())))
}

/// A place such as `clicks:0=1500`.
fn place(text: &str) -> Result<StartOffset, String> {
    let wrong = || "it is not like `TOPIC:PARTITION=N`".to_owned();
    let (at, offset) = text.rsplit_once('=').ok_or_else(wrong)?;
    let (topic, partition) = at.rsplit_once(':').ok_or_else(wrong)?;
    Ok(StartOffset {
        topic: topic.parse().map_err(|error: crate::ids::InvalidName| error.to_string())?,
        partition: partition.parse().map_err(|_| wrong())?,
        offset: offset.parse().map_err(|_| wrong())?,
    })
}

fn list(pipelines: &[PipelineStatus]) -> String {
    table(
        ["NAME", "STATE", "IN", "OUT", "LATE", "DEAD", "LAG", "WATERMARK"],
        pipelines.iter().map(|pipeline| {
            [
                pipeline.name.to_string(),
                state(pipeline).to_owned(),
                pipeline.usage.records_in.to_string(),
                pipeline.usage.records_out.to_string(),
                pipeline.usage.late.to_string(),
                pipeline.usage.dead_letters.to_string(),
                lag(pipeline).to_string(),
                pipeline.watermark.map_or("-".to_owned(), time),
            ]
        }),
    )
}

fn orphans_table(orphans: &Orphans) -> String {
    let inputs = |orphan: &Orphan| {
        let inputs =
            orphan.inputs.iter().map(|input| format!("{}/{} at {}", input.topic, input.partition, input.position));
        inputs.collect::<Vec<_>>().join(", ")
    };
    let items = table(
        ["DEPLOYMENT", "PIPELINE", "COMMITS", "INPUTS"],
        orphans.items.iter().map(|orphan| {
            let pipeline = orphan.pipeline.as_ref().map_or("-".to_owned(), PipelineName::to_string);
            [orphan.id.to_string(), pipeline, orphan.commits.to_string(), inputs(orphan)]
        }),
    );
    if orphans.damaged.is_empty() {
        return items;
    }
    let damaged = orphans.damaged.iter().map(|damaged| [damaged.file.clone(), damaged.reason.clone()]);
    format!("{items}\n\n{}", table(["DAMAGED FILE", "REASON"], damaged))
}

fn show(format: Format, pipeline: &PipelineStatus) -> Result<(), Failure> {
    format.show(pipeline, |pipeline| {
        let usage = &pipeline.usage;
        let mut about = vec![("name", pipeline.name.to_string()), ("state", state(pipeline).to_owned())];
        if let Some(reason) = &pipeline.reason {
            about.push(("reason", format!("{} [{}]", reason.message, reason.code)));
        }
        about.extend(pipeline.activity.as_ref().map(|activity| ("doing", doing(activity))));
        about.extend([
            ("watermark", pipeline.watermark.map_or("-".to_owned(), time)),
            ("output", pipeline.output.to_string()),
            ("dead letters", format!("{} in {}", usage.dead_letters, pipeline.dead_letters)),
            ("records in", format!("{} ({})", usage.records_in, bytes(usage.bytes_in))),
            ("records out", format!("{} ({})", usage.records_out, bytes(usage.bytes_out))),
            ("late", usage.late.to_string()),
            ("windows", format!("{} closed, {} open", usage.windows_closed, pipeline.open_groups)),
            ("further results", usage.windows_updated.to_string()),
            (
                "state",
                format!("{} in memory, {} on disk", bytes(pipeline.state_bytes), bytes(pipeline.state_disk_bytes)),
            ),
            ("unrouted", usage.unrouted.to_string()),
            ("trimmed", usage.trimmed.to_string()),
            ("superseded", usage.superseded.to_string()),
            ("commits", usage.commits.to_string()),
            ("failed calls", usage.failed_calls.to_string()),
            ("fuel", usage.fuel.to_string()),
        ]);
        about.extend(pipeline.checkpoint.as_ref().map(|taken| {
            ("checkpoint", format!("{} of {} ({})", taken.id, time(taken.created_at_ms), bytes(taken.bytes)))
        }));
        about.extend(
            pipeline
                .checkpoint_failure
                .as_ref()
                .map(|reason| ("no checkpoint", format!("{} [{}]", reason.message, reason.code))),
        );
        let steps = table(
            ["STEP", "PLUGIN", "VERSION"],
            pipeline.steps.iter().map(|step| {
                let held = if step.held { " (held)" } else { "" };
                [step.name.to_string(), step.plugin.to_string(), format!("{}{held}", step.digest)]
            }),
        );
        let inputs = table(
            ["INPUT", "POSITION", "END", "LAG", "NEWEST"],
            pipeline.inputs.iter().map(|input| {
                [
                    format!("{}/{}", input.topic, input.partition),
                    input.position.to_string(),
                    input.end.to_string(),
                    input.end.saturating_sub(input.position).to_string(),
                    input.newest.map_or("-".to_owned(), time),
                ]
            }),
        );
        let mut text = format!("{}\n\n{steps}\n\n{inputs}", facts(about));
        let measured = pipeline.steps.iter().flat_map(|step| step.metrics.iter().map(move |metric| (step, metric)));
        let metrics = measured.map(|(step, (name, metric))| {
            let value = match metric {
                Metric::Counter(count) => count.to_string(),
                Metric::Gauge(value) => value.to_string(),
            };
            [step.name.to_string(), name.clone(), value]
        });
        if pipeline.steps.iter().any(|step| !step.metrics.is_empty()) {
            text = format!("{text}\n\n{}", table(["STEP", "METRIC", "VALUE"], metrics));
        }
        text
    })
}

fn doing(activity: &Activity) -> String {
    let what = match (activity.doing, &activity.step) {
        (Doing::Waiting, _) => "waiting for records".to_owned(),
        (Doing::Taking, _) => "reading records".to_owned(),
        (Doing::Applying, Some(step)) => format!("step `{step}`: {} calls in this micro-batch so far", activity.calls),
        (Doing::Applying, None) => "applying records".to_owned(),
        (Doing::Committing, _) => "committing".to_owned(),
    };
    format!("{what}, since {}", time(activity.since_ms))
}

const fn state(pipeline: &PipelineStatus) -> &'static str {
    match pipeline.state {
        State::Starting => "starting",
        State::Running => "running",
        State::Stopping => "stopping",
        State::Paused => "paused",
        State::BackingOff => "backing-off",
        State::Failed => "failed",
    }
}

fn lag(pipeline: &PipelineStatus) -> u64 {
    pipeline.inputs.iter().map(|input| input.end.saturating_sub(input.position)).sum()
}

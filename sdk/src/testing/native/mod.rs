//! A plugin compiled natively, as the engine calls it.
//!
//! The functions over columns are those of the guest; what differs is what surrounds them. A panic is what a trap is to the
//! sandbox. Fuel is not counted, and the limits of the sandbox do not hold.

mod columns;
pub mod probe;
mod stores;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use millstream::plugin as host;
use millstream::plugin::{
    Aggregator, Call, Called, Closed, Contribution, Failure, Folded, Guest, Metric, Migrator, Plugin, Processor,
    Stateful, Transformer,
};
use millstream::record;

use self::columns::{batch, column, due, emitted, rejected, timers};
use self::stores::within;
use super::output::Reported;
use crate::aggregate::Aggregate;
use crate::answer::Answer;
use crate::columns::Column;
use crate::config;
use crate::describe::{Output, Reads};
use crate::migrate::{self, Migrate};
use crate::process::{self, Process};
use crate::state::State;
use crate::testing::driver::Drivable;
use crate::transform::Transform;
use crate::{Accumulator, fold};

/// Turns state of another version into this one's.
pub type Migration<P> = fn(&P, &str, &Column) -> Result<Column, String>;

/// Lines that plugins logged: the step, the level, the text.
pub(super) type Lines = Arc<Mutex<Vec<(String, u8, String)>>>;

/// What a plugin does, by its world.
#[derive(Debug)]
pub struct World<P> {
    summary: &'static str,
    reads: Reads,
    outputs: &'static [Output],
    schema: fn() -> String,
    calls: Calls<P>,
}

/// The functions of a world.
#[derive(Debug, Clone, Copy)]
enum Calls<P> {
    Transform(Transforms<P>),
    Aggregate(Aggregates<P>),
    Process(Processes<P>),
}

/// Rows in, rows out.
type Transforms<P> = fn(&P, record::BatchRef<'_>) -> host::Answer;

/// Folds rows into windows.
#[derive(Debug, Clone, Copy)]
struct Aggregates<P> {
    add: fn(&P, Contribution<'_>) -> Folded,
    merge: fn(&P, &Column, &Column) -> Column,
    finish: fn(&P, Closed<'_>) -> host::Answer,
}

/// Rows and timers of keys.
type Processes<P> = fn(&P, &process::Work) -> host::Done;

impl<P: Transform> World<P> {
    /// The world `transform`.
    pub fn transform() -> Self {
        let calls = Calls::Transform(|plugin: &P, rows| {
            let rows = batch(rows);
            let mut out = Answer::new(&rows, P::OUTPUTS);
            plugin.batch(&rows, &mut out);
            columns::answer(out.into_parts())
        });
        Self { summary: P::SUMMARY, reads: P::READS, outputs: P::OUTPUTS, schema: config::schema::<P::Config>, calls }
    }
}

impl<P: Aggregate> World<P> {
    /// The world `aggregate`.
    pub fn aggregate() -> Self {
        let calls = Calls::Aggregate(Aggregates {
            add: |plugin, call| {
                let (groups, rejects) = fold::add(plugin, &column(call.groups), call.row_groups, &batch(call.rows));
                Folded { groups: columns::back(groups), rejected: rejected(rejects) }
            },
            merge: fold::merge,
            finish: |plugin, windows| {
                let (groups, keys) = (column(windows.groups), column(windows.keys));
                columns::answer(fold::finish(plugin, &groups, keys, windows.starts, windows.ends))
            },
        });
        Self { summary: P::SUMMARY, reads: P::READS, outputs: P::OUTPUTS, schema: config::schema::<P::Config>, calls }
    }
}

impl<P: Process> World<P> {
    /// The world `process`.
    pub fn process() -> Self {
        let calls = Calls::Process(|plugin: &P, work| {
            let done = process::process(plugin, work);
            host::Done {
                early: columns::early(done.early),
                emitted: emitted(done.rows),
                rejected: rejected(done.rejected),
                state: columns::back(done.state),
                timers: timers(done.timers),
                fired: columns::fired(done.fired),
                going_on: done.going_on,
            }
        });
        Self { summary: P::SUMMARY, reads: P::READS, outputs: P::OUTPUTS, schema: config::schema::<P::Config>, calls }
    }
}

/// A plugin that takes over state of other versions.
pub trait Migrates: Sized {
    /// How.
    fn migration() -> Migration<Self>;
}

/// How a keyed plugin does.
pub fn migrate_states<P>(plugin: &P, written_by: &str, old: &Column) -> Result<Column, String>
where
    P: Process + Migrate<Old: State, New: State>,
{
    migrate::states(plugin, written_by, old)
}

/// How an aggregate does.
pub fn migrate_accumulators<P>(plugin: &P, written_by: &str, old: &Column) -> Result<Column, String>
where
    P: Aggregate + Migrate<Old: Accumulator, New: Accumulator>,
{
    migrate::accumulators(plugin, written_by, old)
}

/// A plugin in the place of a step.
#[derive(Debug)]
struct Native<P, C> {
    plugin: P,
    /// The functions of its world.
    calls: C,
    description: host::Description,
    migration: Option<Migration<P>>,
    grants: host::Grants,
    step: String,
    metrics: Mutex<BTreeMap<String, Metric>>,
    lines: Lines,
}

/// A plugin for programs that run the engine themselves, such as a simulator. What it logs is not kept.
pub fn load<P: Drivable>(config: &str, grants: host::Grants) -> Result<Guest, String> {
    guest::<P>("step", config, grants, Lines::default())
}

/// Makes the plugin of a step.
pub(super) fn guest<P: Drivable>(
    step: &str,
    config: &str,
    grants: host::Grants,
    lines: Lines,
) -> Result<Guest, String> {
    drop(crate::host::take());
    let plugin = P::from_config(config)?;
    let world = P::world();
    let kind = match world.calls {
        Calls::Transform(_) => host::World::Transform,
        Calls::Aggregate(_) => host::World::Aggregate,
        Calls::Process(_) => host::World::Process,
    };
    let Reads { keys, values, headers } = world.reads;
    let output = |output: &Output| host::Output { name: output.name.to_owned(), summary: output.summary.to_owned() };
    let description = host::Description {
        world: kind,
        summary: world.summary.to_owned(),
        config_schema: (world.schema)(),
        reads: host::Reads { keys, values, headers },
        outputs: world.outputs.iter().map(output).collect(),
    };
    let native = Native {
        plugin,
        calls: (),
        description,
        migration: P::migration(),
        grants,
        step: step.to_owned(),
        metrics: Mutex::default(),
        lines,
    };
    native.take_said(true);
    Ok(match world.calls {
        Calls::Transform(calls) => Guest::Transform(Arc::new(native.calling(calls))),
        Calls::Aggregate(calls) => Guest::Aggregate(Arc::new(native.calling(calls))),
        Calls::Process(calls) => Guest::Process(Arc::new(native.calling(calls))),
    })
}

impl<P> Native<P, ()> {
    fn calling<C>(self, calls: C) -> Native<P, C> {
        let Self { plugin, calls: (), description, migration, grants, step, metrics, lines } = self;
        Native { plugin, calls, description, migration, grants, step, metrics, lines }
    }
}

impl<P: Code, C> Native<P, C> {
    fn call<'a, T: Send + 'a>(&'a self, tables: Option<host::SharedTables>, run: impl FnOnce(&P) -> T) -> Call<'a, T> {
        drop(crate::host::take());
        let result = within(&self.grants, tables, || catch_unwind(AssertUnwindSafe(|| run(&self.plugin))));
        self.take_said(result.is_ok());
        let result = match result {
            Ok(answer) => Ok(Called { answer, fuel: 0 }),
            Err(panic) => Err(Failure {
                code: host::FailureCode::Unreachable.as_str(),
                message: format!("panicked: {}", message(&*panic)),
                backtrace: Vec::new(),
                fuel: 0,
                guest: true,
            }),
        };
        Box::pin(std::future::ready(result))
    }

    /// Takes what the plugin reported. What it measured counts only if the call ended.
    fn take_said(&self, whole: bool) {
        let Reported { logs, counters, gauges } = crate::host::take();
        if !logs.is_empty() {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.extend(logs.into_iter().map(|(level, text)| (self.step.clone(), level, text)));
        }
        if whole {
            let counters = counters.into_iter().map(|(name, more)| (name, Metric::Counter(more)));
            let gauges = gauges.into_iter().map(|(name, value)| (name, Metric::Gauge(value)));
            let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, update) in counters.chain(gauges) {
                update.into(metrics.entry(name).or_insert_with(|| update.zero()));
            }
        }
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it printed nothing")
}

/// What is called, also at once.
trait Code: Debug + Send + Sync {}

impl<P: Debug + Send + Sync> Code for P {}

impl<P: Code, C: Code> Plugin for Native<P, C> {
    fn description(&self) -> &host::Description {
        &self.description
    }

    fn metrics(&self) -> BTreeMap<String, Metric> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<P: Code> Transformer for Native<P, Transforms<P>> {
    fn transform<'a>(&'a self, rows: record::BatchRef<'a>) -> Call<'a, host::Answer> {
        self.call(None, |plugin| (self.calls)(plugin, rows))
    }
}

impl<P: Code> Aggregator for Native<P, Aggregates<P>> {
    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded> {
        self.call(None, |plugin| (self.calls.add)(plugin, rows))
    }

    fn merge<'a>(&'a self, left: record::ColumnRef<'a>, right: record::ColumnRef<'a>) -> Call<'a, record::Column> {
        self.call(None, |plugin| columns::back((self.calls.merge)(plugin, &column(left), &column(right))))
    }

    fn finish<'a>(&'a self, windows: Closed<'a>) -> Call<'a, host::Answer> {
        self.call(None, |plugin| (self.calls.finish)(plugin, windows))
    }
}

impl<P: Code> Processor for Native<P, Processes<P>> {
    fn process<'a>(&'a self, work: host::Work<'a>) -> Call<'a, host::Done> {
        let native = process::Work {
            group_rows: work.group_rows.to_vec(),
            rows: batch(work.rows),
            inputs: work.inputs.to_vec(),
            row_watermarks: work.row_watermarks.to_vec(),
            keys: column(work.keys),
            state: column(work.state),
            due: due(work.due),
            watermark: work.watermark,
            processing_time: work.processing_time,
        };
        self.call(work.tables, |plugin| (self.calls)(plugin, &native))
    }

    fn has_pages(&self) -> bool {
        true
    }
}

impl<P: Code, C: Code> Stateful for Native<P, C> {
    fn migrator(&self) -> Option<&dyn Migrator> {
        self.migration.is_some().then_some(self as &dyn Migrator)
    }
}

impl<P: Code, C: Code> Migrator for Native<P, C> {
    fn migrate<'a>(&'a self, from: &'a str, state: record::ColumnRef<'a>) -> Call<'a, Result<record::Column, String>> {
        self.call(None, |plugin| match self.migration {
            Some(migrate) => migrate(plugin, from, &column(state)).map(columns::back),
            None => Ok(columns::back(column(state))),
        })
    }
}

//! One call: a fresh instance of the image on a fiber, a slice of fuel and of time, and gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower};
use wasmtime::{Engine, Store};

use super::bindings::{
    AnswerResult, BatchParam, ClosedParam, ColumnParam, ColumnResult, ContributionParam, DoneResult, FoldedResult,
    WorkParam,
};
use super::check::{CallShape, Given};
use super::code::{Code, Entry};
use super::ctx::{self, Ctx};
use super::emission::Emission;
use super::failure::{self, Code as FailureCode, Trap};
use super::grant::Grant;
use super::lines::{Lines, Owner, Sink};
use super::measured::GuestMetrics;
use super::reach::Reach;
use super::ticker::Ticker;
use super::{
    Aggregator, Answer, Call, Called, Closed, Contribution, Description, Done, Failure, Folded, Grants, Guest, Lookups,
    Metric, Migrator, Plugin, Processor, Stateful, Transformer, Work, wasi,
};
use crate::record::{BatchRef, Column, ColumnRef};

/// What all calls of the process share.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) engine: Engine,
    pub(super) ticker: Ticker,
    /// As many as the pool has instances: a call over them waits.
    pub(super) slots: Semaphore,
}

/// A step's code with its configuration, ready to be called.
#[derive(Debug)]
pub struct Image {
    code: Arc<Code>,
    pool: Arc<Pool>,
    sink: Sink,
    metrics: GuestMetrics,
    grants: Grants,
}

impl Image {
    /// An image of code whose needs these grants cover.
    pub(super) fn new(code: Arc<Code>, pool: Arc<Pool>, owner: Owner, grants: Grants) -> Self {
        let sink = Sink::new(owner, &code.limits);
        Self { code, pool, sink, metrics: GuestMetrics::default(), grants }
    }

    /// Whether calls start from a snapshot; if not, `init` runs in each.
    pub fn is_snapshot(&self) -> bool {
        self.code.init.is_none()
    }

    pub(super) fn log(&self, lines: &Lines) {
        self.sink.write(lines);
    }

    /// Calls a function and checks its answer. `units` is what fuel and host calls grow with.
    async fn call<P, R, A>(
        &self,
        function: &ComponentExportIndex,
        units: usize,
        reach: Reach,
        params: P,
        check: impl FnOnce(R, Emission) -> Result<A, Trap> + Send,
    ) -> Result<Called<A>, Failure>
    where
        P: ComponentNamedList + Lower + Send,
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList,
    {
        let code = &*self.code;
        let fuel = ctx::fuel_for(&code.limits, units);
        let broken = |what: &str, error: &dyn std::fmt::Display| {
            Trap::new(FailureCode::Host, format!("{what}: {error:#}")).charged(0)
        };
        let _slot = self.pool.slots.acquire().await.map_err(|error| broken("wait for an instance", &error))?;
        let _running = self.pool.ticker.running();
        let mut store = code.store(units, fuel).map_err(|error| broken("make a store", &error))?;
        let outcome = self.run::<P, R>(&mut store, function, reach, params, fuel).await;
        let left = store.get_fuel().unwrap_or_default();
        let ctx = store.data_mut();
        wasi::finish(ctx);
        self.sink.write(&ctx.lines);
        let fuel = fuel.saturating_add(ctx.granted);
        match outcome {
            Ok(result) => {
                let emission = ctx.reach.emission.take().unwrap_or_default();
                let answer = check(result, emission).map_err(|trap| trap.charged(fuel))?;
                self.metrics.apply(std::mem::take(&mut ctx.updates), &code.limits);
                Ok(Called { answer, fuel: fuel.saturating_sub(left) })
            }
            Err(Stopped::Refused(reason)) => {
                let message = format!("`init` refused the configuration that it took before: {reason}");
                Err(Trap::new(FailureCode::InitFailed, message).charged(fuel))
            }
            Err(Stopped::Error(error)) => {
                let slice = ctx::slice(&code.limits, fuel);
                Err(failure::read(&error, &ctx.memory, &slice).charged(fuel))
            }
        }
    }

    async fn run<P, R>(
        &self,
        store: &mut Store<Ctx>,
        function: &ComponentExportIndex,
        reach: Reach,
        params: P,
        fuel: u64,
    ) -> Result<R, Stopped>
    where
        P: ComponentNamedList + Lower + Send,
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList,
    {
        if let Some(init) = &self.code.init {
            store.set_fuel(init.fuel)?;
        }
        let instance = self.code.pre.instantiate_async(&mut *store).await?;
        if let Some(init) = &self.code.init {
            let function = instance.get_typed_func::<(&str,), (Result<(), String>,)>(&mut *store, init.function)?;
            let (initialized,) = function.call_async(&mut *store, (init.config.as_str(),)).await?;
            initialized.map_err(Stopped::Refused)?;
            // What `init` wrote was logged when the step was deployed.
            let ctx = store.data_mut();
            wasi::finish(ctx);
            (ctx.lines, ctx.updates) = Default::default();
            store.set_fuel(fuel)?;
        }
        // Only now: what `init` finds is the same in every instance and in the compiling process.
        store.data_mut().reach = reach;
        let function = instance.get_typed_func::<P, (R,)>(&mut *store, function)?;
        let (result,) = function.call_async(&mut *store, params).await?;
        Ok(result)
    }

    fn shape(&self, rows: usize, units: usize) -> CallShape<'_> {
        let outputs = self.code.description.outputs.len();
        CallShape { rows, units, outputs, values_as_source: true, limits: &self.code.limits }
    }

    /// The reference tables that the plugin was granted.
    fn lookups(&self) -> Option<Arc<dyn Lookups>> {
        if self.code.needs.contains(&Grant::Lookup) { self.grants.lookups.clone() } else { None }
    }

    /// What `process` reaches.
    fn reach(&self, work: &Work<'_>) -> Result<Reach, Failure> {
        let needs_tables = self.code.has_pages || self.code.needs.contains(&Grant::Table);
        let tables = match (needs_tables, &work.tables) {
            (false, _) => None,
            (true, Some(tables)) => Some(Arc::clone(tables)),
            (true, None) => {
                let message = "the plugin has tables or pages, and the call comes without them";
                return Err(Trap::new(FailureCode::Host, message).charged(0));
            }
        };
        Ok(Reach { tables, groups: work.keys.len(), lookups: self.lookups(), ..emitting() })
    }
}

/// What a call reaches that may emit rows.
fn emitting() -> Reach {
    Reach { emission: Some(Emission::default()), ..Reach::default() }
}

/// Why there is no result.
enum Stopped {
    Refused(String),
    Error(wasmtime::Error),
}

impl From<wasmtime::Error> for Stopped {
    fn from(error: wasmtime::Error) -> Self {
        Self::Error(error)
    }
}

/// A call that this world does not have: a fault of the caller.
fn not_of_this_world(function: &str, description: &Description) -> Failure {
    let message = format!("a plugin of the world `{}` has no `{function}`", description.world);
    Trap::new(FailureCode::Host, message).charged(0)
}

impl Image {
    /// The guest of the world that the code is made for.
    pub fn guest(self: Arc<Self>) -> Guest {
        match self.code.entry {
            Entry::Transform { .. } => Guest::Transform(self),
            Entry::Aggregate { .. } => Guest::Aggregate(self),
            Entry::Process { .. } => Guest::Process(self),
        }
    }
}

impl Plugin for Image {
    fn description(&self) -> &Description {
        &self.code.description
    }

    fn metrics(&self) -> BTreeMap<String, Metric> {
        self.metrics.snapshot()
    }
}

impl Transformer for Image {
    fn transform<'a>(&'a self, rows: BatchRef<'a>) -> Call<'a, Answer> {
        Box::pin(async move {
            let Entry::Transform { transform } = &self.code.entry else {
                return Err(not_of_this_world("transform", self.description()));
            };
            let shape = self.shape(rows.len(), rows.len());
            let reach = Reach { lookups: self.lookups(), ..emitting() };
            let check = |answer: AnswerResult, emission| shape.answer(answer, emission);
            self.call(transform, shape.units, reach, (BatchParam::from(rows),), check).await
        })
    }
}

impl Aggregator for Image {
    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded> {
        Box::pin(async move {
            let Entry::Aggregate { add, .. } = &self.code.entry else {
                return Err(not_of_this_world("add", self.description()));
            };
            let groups = rows.groups.len();
            let shape = self.shape(rows.rows.len(), rows.rows.len() + groups);
            let check = |folded: FoldedResult, _| shape.folded(groups, folded);
            self.call(add, shape.units, Reach::default(), (ContributionParam::from(rows),), check).await
        })
    }

    fn finish<'a>(&'a self, windows: Closed<'a>) -> Call<'a, Answer> {
        Box::pin(async move {
            let Entry::Aggregate { finish, .. } = &self.code.entry else {
                return Err(not_of_this_world("finish", self.description()));
            };
            let count = windows.groups.len();
            let shape = CallShape { values_as_source: false, ..self.shape(count, count) };
            let check = |answer: AnswerResult, emission| shape.answer(answer, emission);
            self.call(finish, count, emitting(), (ClosedParam::from(windows),), check).await
        })
    }

    fn merge<'a>(&'a self, left: ColumnRef<'a>, right: ColumnRef<'a>) -> Call<'a, Column> {
        Box::pin(async move {
            let Entry::Aggregate { merge, .. } = &self.code.entry else {
                return Err(not_of_this_world("merge", self.description()));
            };
            let pairs = left.len();
            let shape = self.shape(0, pairs);
            let check = |merged: ColumnResult, _| shape.merged(pairs, merged);
            let params = (ColumnParam::from(left), ColumnParam::from(right));
            self.call(merge, pairs, Reach::default(), params, check).await
        })
    }
}

impl Processor for Image {
    fn process<'a>(&'a self, work: Work<'a>) -> Call<'a, Done> {
        Box::pin(async move {
            let Entry::Process { process } = &self.code.entry else {
                return Err(not_of_this_world("process", self.description()));
            };
            let reach = self.reach(&work)?;
            let (rows, given) = (work.rows.len(), Given { groups: work.keys.len(), due: work.due.groups.len() });
            let shape = self.shape(rows, rows + given.groups + given.due);
            let check = |done: DoneResult, emission| shape.done(given, done, emission);
            self.call(process, shape.units, reach, (WorkParam::from(&work),), check).await
        })
    }

    fn has_pages(&self) -> bool {
        self.code.has_pages
    }
}

impl Stateful for Image {
    fn migrator(&self) -> Option<&dyn Migrator> {
        self.code.migrate.as_ref().map(|_| self as &dyn Migrator)
    }
}

impl Migrator for Image {
    fn migrate<'a>(&'a self, from: &'a str, state: ColumnRef<'a>) -> Call<'a, Result<Column, String>> {
        Box::pin(async move {
            let Some(migrate) = &self.code.migrate else {
                let message = "the plugin has no `migrate`: state of other versions is given to it as it is";
                return Err(Trap::new(FailureCode::Host, message).charged(0));
            };
            let (world, values) = (self.code.description.world, state.len());
            let shape = self.shape(0, values);
            let check = |migrated: Result<ColumnResult, String>, _| shape.migrated(world, values, migrated);
            self.call(migrate, values, Reach::default(), (from, ColumnParam::from(state)), check).await
        })
    }
}

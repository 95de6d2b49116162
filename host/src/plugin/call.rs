//! One call: a fresh instance of the image on a fiber, a slice of fuel and of time, and gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower};
use wasmtime::{Engine, Store};

use super::bindings::{AnswerResult, BatchParam, ClosedParam, ContributionParam, FoldedResult};
use super::check::Asked;
use super::code::{Code, Entry};
use super::ctx::{self, Ctx};
use super::failure::{self, Code as FailureCode, Trap};
use super::host::log::{Lines, Owner, Sink};
use super::host::metrics::{GuestMetrics, Metric};
use super::ticker::Ticker;
use super::{Answer, Call, Called, Closed, Contribution, Description, Done, Failure, Folded, Guest, Work, wasi};
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
}

impl Image {
    pub(super) fn new(code: Arc<Code>, pool: Arc<Pool>, owner: Owner) -> Self {
        let sink = Sink::new(owner, &code.limits);
        Self { code, pool, sink, metrics: GuestMetrics::default() }
    }

    /// Whether calls start from a snapshot; if not, `init` runs in each.
    pub fn is_snapshot(&self) -> bool {
        self.code.init.is_none()
    }

    pub(super) fn log(&self, lines: &Lines) {
        self.sink.write(lines);
    }

    /// Calls a function and checks its answer.
    async fn call<P, R, A>(
        &self,
        function: &ComponentExportIndex,
        rows: usize,
        params: P,
        check: impl FnOnce(R) -> Result<A, Trap> + Send,
    ) -> Result<Called<A>, Failure>
    where
        P: ComponentNamedList + Lower + Send,
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList,
    {
        let code = &*self.code;
        let fuel = ctx::fuel_for(&code.limits, rows);
        let broken = |what: &str, error: &dyn std::fmt::Display| {
            Trap::new(FailureCode::Host, format!("{what}: {error:#}")).charged(0)
        };
        let _slot = self.pool.slots.acquire().await.map_err(|error| broken("wait for an instance", &error))?;
        let _running = self.pool.ticker.running();
        let mut store = code.store(rows, fuel).map_err(|error| broken("make a store", &error))?;
        let outcome = self.run::<P, R>(&mut store, function, params, fuel).await;
        let left = store.get_fuel().unwrap_or_default();
        let ctx = store.data_mut();
        wasi::finish(ctx);
        self.sink.write(&ctx.lines);
        match outcome {
            Ok(result) => {
                let answer = check(result).map_err(|trap| trap.charged(fuel))?;
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
        let function = instance.get_typed_func::<P, (R,)>(&mut *store, function)?;
        let (result,) = function.call_async(&mut *store, params).await?;
        Ok(result)
    }

    fn asked(&self, rows: usize) -> Asked<'_> {
        let outputs = self.code.description.outputs.len();
        Asked { rows, outputs, values_as_source: true, limits: &self.code.limits }
    }
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

impl Guest for Image {
    fn description(&self) -> &Description {
        &self.code.description
    }

    fn metrics(&self) -> BTreeMap<String, Metric> {
        self.metrics.snapshot()
    }

    fn transform<'a>(&'a self, rows: BatchRef<'a>) -> Call<'a, Answer> {
        Box::pin(async move {
            let Entry::Transform { transform } = &self.code.entry else {
                return Err(not_of_this_world("transform", self.description()));
            };
            let asked = self.asked(rows.len());
            let check = |answer: AnswerResult| asked.answer(answer);
            self.call(transform, rows.len(), (BatchParam::from(rows),), check).await
        })
    }

    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded> {
        Box::pin(async move {
            let Entry::Aggregate { add, .. } = &self.code.entry else {
                return Err(not_of_this_world("add", self.description()));
            };
            let groups = rows.groups.len();
            let asked = self.asked(rows.rows.len());
            let check = |folded: FoldedResult| asked.folded(groups, folded);
            self.call(add, rows.rows.len() + groups, (ContributionParam::from(rows),), check).await
        })
    }

    fn finish<'a>(&'a self, windows: Closed<'a>) -> Call<'a, Answer> {
        Box::pin(async move {
            let Entry::Aggregate { finish, .. } = &self.code.entry else {
                return Err(not_of_this_world("finish", self.description()));
            };
            let count = windows.groups.len();
            let asked = Asked { values_as_source: false, ..self.asked(count) };
            let check = |answer: AnswerResult| asked.answer(answer);
            self.call(finish, count, (ClosedParam::from(windows),), check).await
        })
    }

    fn merge<'a>(&'a self, _: ColumnRef<'a>, _: ColumnRef<'a>) -> Call<'a, Column> {
        Box::pin(std::future::ready(Err(not_of_this_world("merge", self.description()))))
    }

    fn process<'a>(&'a self, _: Work<'a>) -> Call<'a, Done> {
        Box::pin(std::future::ready(Err(not_of_this_world("process", self.description()))))
    }

    fn migrates(&self) -> bool {
        false
    }

    fn migrate<'a>(&'a self, _: &'a str, _: ColumnRef<'a>) -> Call<'a, Result<Column, String>> {
        Box::pin(std::future::ready(Err(not_of_this_world("migrate", self.description()))))
    }
}

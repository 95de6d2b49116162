//! The compiling process, from the inside: reads one request, answers it, ends.
//!
//! Everything that an upload could use to hurt happens here, under limits of the operating system: scan, compilation,
//! `describe`, `init`, snapshot. Nothing is kept, nothing is shared but two pipes.

use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, setrlimit};
use wasmtime::component::{Component, ComponentNamedList, Instance, InstancePre, Lift, Lower, TypedFunc, WasmList};
use wasmtime::{Engine, Store};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

use super::bindings::{
    AGGREGATOR, AnswerResult, BatchParam, ClosedParam, ColumnParam, ColumnResult, ContributionParam, DescriptionResult,
    DoneResult, FoldedResult, LIFECYCLE, MIGRATION, PROCESSOR, TRANSFORMER, WorkParam,
};
use super::ctx::{self, Ctx};
use super::error::Error;
use super::failure;
use super::limits::{CallLimits, CompileLimits, Limits};
use super::lines::Lines;
use super::linker::linker;
use super::prescan::{self, Scanned};
use super::wire::{self, Certified, Made, Reply, Request, Work};
use super::{Description, World, describe, engine, wasi};

/// Files that the process may open: the pipes, and what the engine needs.
const FILES_MAX: u64 = 16;

/// Bytes that it may write to one file: the engine keeps images of memories in files without names.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Serves one request on the standard streams. This is all that the hidden command `compile-worker` does.
pub fn run_worker() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            use std::io::Write as _;
            // The parent reads this; there is no one else to tell.
            let told = writeln!(std::io::stderr(), "{reason}");
            ExitCode::from(if told.is_ok() { 70 } else { 74 })
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    // Nothing of the upload has been read yet.
    confine_first()?;
    let (request, component) = wire::read_request(&mut std::io::stdin().lock())?;
    confine(&request.limits.compile)?;
    let (reply, artifact) = match work(&request, &component) {
        Ok((reply, artifact)) => (Ok(reply), artifact),
        Err(error) => (Err(error), Vec::new()),
    };
    wire::write_reply(&mut std::io::stdout().lock(), &reply, &artifact)?;
    Ok(())
}

fn confine_first() -> Result<(), rustix::io::Errno> {
    // The signal comes with the end of the thread that started this process; the server's are there as long as it is.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    let exactly = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::Core, exactly(0))?;
    setrlimit(Resource::Nofile, exactly(FILES_MAX))?;
    setrlimit(Resource::Fsize, exactly(FILE_BYTES_MAX))
}

fn confine(limits: &CompileLimits) -> Result<(), rustix::io::Errno> {
    let exactly = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::As, exactly(limits.memory_bytes))?;
    // First the signal that says why, a second later the one that cannot be ignored.
    let cpu = Rlimit { current: Some(limits.cpu_seconds), maximum: Some(limits.cpu_seconds + 1) };
    setrlimit(Resource::Cpu, cpu)?;
    // Others first: an upload can wait.
    rustix::process::nice(10).map(|_| ())
}

fn work(request: &Request, component: &[u8]) -> Result<(Reply, Vec<u8>), Error> {
    let limits = &request.limits;
    let scanned = prescan::scan(component, limits)?;
    match &request.work {
        Work::Certify => certify(&scanned, component, limits).map(|reply| (Reply::Certified(reply), Vec::new())),
        Work::Image { config } => {
            let (made, artifact) = image(&scanned, component, config, limits)?;
            Ok((Reply::Made(made), artifact))
        }
    }
}

fn certify(scanned: &Scanned, component: &[u8], limits: &Limits) -> Result<Certified, Error> {
    let mut guest = Plugin::compile(component, limits)?.instantiate()?;
    guest.fits(scanned.world)?;
    let description = guest.describe(scanned.world)?;
    Ok(Certified {
        description,
        no_snapshot: instrument(&Wizer::new(), component).err(),
        imports: scanned.imports.clone(),
        lines: guest.lines(),
    })
}

fn image(scanned: &Scanned, component: &[u8], config: &str, limits: &Limits) -> Result<(Made, Vec<u8>), Error> {
    let wizer = Wizer::new();
    let instrumented = instrument(&wizer, component);
    let code = instrumented.as_ref().map_or(component, |(_, code)| code.as_slice());
    let plugin = Plugin::compile(code, limits)?;
    // Apart from `init`: what it leaves in memory must not be in the snapshot.
    let description = plugin.instantiate()?.describe(scanned.world)?;
    let mut guest = plugin.instantiate()?;
    guest.init(config)?;
    let lines = guest.lines();
    let (code, no_snapshot) = match instrumented {
        Err(reason) => (component.to_vec(), Some(reason)),
        // The handles that a guest holds are no part of its memory: in a snapshot they would dangle.
        Ok(_) if guest.store.data().wasi.handles > 0 => {
            let held = guest.store.data().wasi.handles;
            (component.to_vec(), Some(format!("it holds {held} handles after `init`")))
        }
        Ok((context, _)) => (guest.snapshot(&wizer, &context)?, None),
    };
    let artifact = compile(&code, limits)?;
    let imports = scanned.imports.clone();
    Ok((Made { description, no_snapshot, imports, lines }, artifact))
}

/// The component with functions that show its state, or why there is no such component.
fn instrument<'a>(wizer: &Wizer, component: &'a [u8]) -> Result<(ComponentContext<'a>, Vec<u8>), String> {
    // The library is made for components of common toolchains and panics at some others; those can still be called.
    match std::panic::catch_unwind(|| wizer.instrument_component(component)) {
        Ok(instrumented) => instrumented.map_err(|reason| reason.to_string()),
        Err(_) => Err("its structure cannot be instrumented".to_owned()),
    }
}

/// Compiles for the server's engine.
fn compile(code: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let engine = engine::compiler().map_err(|error| Error::host("make the compiler", error))?;
    let component = Component::new(&engine, code).map_err(|error| refused(&error, &limits.compile))?;
    let artifact = component.serialize().map_err(|error| Error::host("serialize the artifact", error))?;
    let limit = limits.compile.artifact_bytes;
    if artifact.len() > limit {
        return Err(Error::ArtifactTooLarge { use_: artifact.len() as u64, limit: limit as u64 });
    }
    Ok(artifact)
}

/// What the compiler's refusal means: no memory, or no valid component.
fn refused(error: &wasmtime::Error, limits: &CompileLimits) -> Error {
    let no_memory = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::OutOfMemory)
            || cause.downcast_ref::<rustix::io::Errno>() == Some(&rustix::io::Errno::NOMEM)
    };
    if error.chain().any(no_memory) {
        return Error::CompileMemory { limit_bytes: limits.memory_bytes };
    }
    Error::InvalidComponent { offset: 0, reason: format!("{error:#}") }
}

/// The plugin, compiled for this process.
struct Plugin<'a> {
    engine: Engine,
    pre: InstancePre<Ctx>,
    call: Arc<CallLimits>,
    limits: &'a Limits,
}

impl<'a> Plugin<'a> {
    fn compile(code: &[u8], limits: &'a Limits) -> Result<Self, Error> {
        let engine = engine::runner().map_err(|error| Error::host("make the engine", error))?;
        let component = Component::new(&engine, code).map_err(|error| refused(&error, &limits.compile))?;
        let linked = linker(&engine, &component).and_then(|linker| linker.instantiate_pre(&component));
        // Interfaces were checked by name; what is left are functions that are not there or have other types.
        let pre = linked.map_err(|error| Error::ImportUnknown {
            import: "a function".to_owned(),
            hint: format!(": {}", failure::clip(&format!("{error:#}"))),
        })?;
        Ok(Self { engine, pre, call: Arc::new(limits.call.clone()), limits })
    }

    fn instantiate(&self) -> Result<Guest, Error> {
        let limits = self.limits.clone();
        let fuel = limits.compile.init_fuel;
        let mut store =
            ctx::store(&self.engine, &self.call, 0, fuel).map_err(|error| Error::host("make a store", error))?;
        match self.pre.instantiate(&mut store) {
            Ok(instance) => Ok(Guest { store, instance, limits }),
            Err(error) => Err(trapped("instantiation", &error, &store, fuel)),
        }
    }
}

/// An instance of the plugin in this process.
struct Guest {
    store: Store<Ctx>,
    instance: Instance,
    limits: Limits,
}

impl Guest {
    fn lines(&mut self) -> Lines {
        let ctx = self.store.data_mut();
        wasi::finish(ctx);
        std::mem::take(&mut ctx.lines)
    }

    /// A function of an interface, if it is there with these types.
    fn function<P, R>(&mut self, interface: &str, function: &str) -> Result<TypedFunc<P, R>, Error>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        let lacks = |error: &dyn std::fmt::Display| Error::WrongWorld {
            found: format!("`{interface}` without a `{function}` of the contract ({error:#})"),
        };
        let index = self
            .instance
            .get_export_index(&mut self.store, None, interface)
            .and_then(|interface| self.instance.get_export_index(&mut self.store, Some(&interface), function))
            .ok_or_else(|| lacks(&"there is none"))?;
        self.instance.get_typed_func::<P, R>(&mut self.store, index).map_err(|error| lacks(&error))
    }

    /// Whether it has the functions of its world, with the types of the contract.
    fn fits(&mut self, world: World) -> Result<(), Error> {
        match world {
            World::Transform => drop(self.function::<(BatchParam<'_>,), (AnswerResult,)>(TRANSFORMER, "transform")?),
            World::Aggregate => {
                self.function::<(ContributionParam<'_>,), (FoldedResult,)>(AGGREGATOR, "add")?;
                self.function::<(ColumnParam<'_>, ColumnParam<'_>), (ColumnResult,)>(AGGREGATOR, "merge")?;
                self.function::<(ClosedParam<'_>,), (AnswerResult,)>(AGGREGATOR, "finish")?;
            }
            World::Process => drop(self.function::<(WorkParam<'_>,), (DoneResult,)>(PROCESSOR, "process")?),
        }
        if self.instance.get_export_index(&mut self.store, None, MIGRATION).is_some() {
            type Migrated = Result<ColumnResult, String>;
            self.function::<(&str, ColumnParam<'_>), (Migrated,)>(MIGRATION, "migrate")?;
        }
        Ok(())
    }

    /// Calls a function of `lifecycle` with fresh fuel.
    fn call<P, R>(&mut self, function: &str, params: P) -> Result<R, Error>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        let fuel = self.limits.compile.init_fuel;
        self.store.set_fuel(fuel).map_err(|error| Error::host("give fuel", error))?;
        let typed = self.function::<P, R>(LIFECYCLE, function)?;
        let called = typed.call(&mut self.store, params);
        called.map_err(|error| trapped(function, &error, &self.store, fuel))
    }

    fn describe(&mut self, world: World) -> Result<Description, Error> {
        let (description,) = self.call::<(), (DescriptionResult,)>("describe", ())?;
        describe::check(description, world, &self.limits.compile)
    }

    fn init(&mut self, config: &str) -> Result<(), Error> {
        let (initialized,) = self.call::<(&str,), (Result<(), String>,)>("init", (config,))?;
        initialized.map_err(|reason| {
            let most = reason.floor_char_boundary(self.limits.call.reason_bytes);
            Error::InitFailed { reason: reason[..most].to_owned() }
        })
    }

    /// The component with the memory and globals that it has now.
    fn snapshot(mut self, wizer: &Wizer, context: &ComponentContext<'_>) -> Result<Vec<u8>, Error> {
        // From here on only code that wizer added runs.
        self.store.data_mut().memory.lift();
        self.store.set_hostcall_fuel(usize::MAX);
        self.store.set_fuel(u64::MAX).map_err(|error| Error::host("give fuel", error))?;
        ready(wizer.snapshot_component(context, &mut self)).map_err(|error| Error::host("take a snapshot", error))
    }

    /// Reads a part of the instance's state through a function that wizer added.
    fn read<R: Lift + Send + Sync + 'static>(&mut self, interface: &str, function: &str) -> R {
        let index = self
            .instance
            .get_export_index(&mut self.store, None, interface)
            .and_then(|interface| self.instance.get_export_index(&mut self.store, Some(&interface), function))
            .expect("wizer exports what it asks for");
        let typed = self.instance.get_typed_func::<(), (R,)>(&mut self.store, index);
        let read = typed.and_then(|function| function.call(&mut self.store, ()));
        read.expect("wizer's functions have the types that it asks for and read memory that is there").0
    }
}

impl ComponentInstanceState for Guest {
    async fn call_func_ret_list_u8(&mut self, instance: &str, func: &str, contents: impl FnOnce(&[u8]) + Send) {
        let list: WasmList<u8> = self.read(instance, func);
        contents(list.as_le_slice(&self.store));
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.read(instance, func)
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.read(instance, func)
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.read::<f32>(instance, func).to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.read::<f64>(instance, func).to_bits()
    }
}

/// The result of a future that never waits: [`Guest`]'s do not.
fn ready<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => unreachable!("no function of the guest's state waits"),
    }
}

fn trapped(function: &str, error: &wasmtime::Error, store: &Store<Ctx>, fuel: u64) -> Error {
    let ctx = store.data();
    let trap = failure::read(error, &ctx.memory, &ctx::slice(&ctx.limits, fuel));
    Error::Trapped { function: function.to_owned(), trap }
}

//! A step's code, loaded: from an artifact to what can be instantiated.

use std::sync::Arc;

use wasmtime::component::{Component, ComponentExportIndex, InstancePre};
use wasmtime::{Engine, Store};

use super::bindings::{AGGREGATOR, LIFECYCLE, MIGRATION, PAGES, PROCESSOR, TRANSFORMER};
use super::ctx::{self, Ctx};
use super::error::Error;
use super::grant::Grant;
use super::limits::{CallLimits, Limits};
use super::linker::linker;
use super::wire::Made;
use super::{Description, World};

/// Code that any number of steps with the same component and configuration share.
pub(super) struct Code {
    engine: Engine,
    pub(super) pre: InstancePre<Ctx>,
    pub(super) description: Description,
    pub(super) entry: Entry,
    /// What takes over the state of another version, if the plugin has such a function.
    pub(super) migrate: Option<ComponentExportIndex>,
    /// What a deployment must grant.
    pub(super) needs: Vec<Grant>,
    /// Whether it imports `pages`.
    pub(super) has_pages: bool,
    /// What has to run before each call, because the artifact is no snapshot.
    pub(super) init: Option<Init>,
    pub(super) limits: Arc<CallLimits>,
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("world", &self.description.world).field("init", &self.init).finish_non_exhaustive()
    }
}

/// The functions of a world.
pub(super) enum Entry {
    Transform { transform: ComponentExportIndex },
    Aggregate { add: ComponentExportIndex, merge: ComponentExportIndex, finish: ComponentExportIndex },
    Process { process: ComponentExportIndex },
}

/// `init` and its argument.
pub(super) struct Init {
    pub(super) function: ComponentExportIndex,
    pub(super) config: String,
    pub(super) fuel: u64,
}

impl std::fmt::Debug for Init {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Init").field("fuel", &self.fuel).finish_non_exhaustive()
    }
}

impl Code {
    /// Loads an artifact that the compiling process of this server made.
    pub(super) fn load(
        engine: &Engine,
        made: Made,
        artifact: &[u8],
        config: String,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let component = deserialize(engine, artifact).map_err(|error| Error::host("load the artifact", error))?;
        let pre = linker(engine, &component)
            .and_then(|linker| linker.instantiate_pre(&component))
            .map_err(|error| Error::host("link the artifact", error))?;
        let find = |interface: &str, function: &str| {
            let interface_index = component.get_export_index(None, interface);
            interface_index
                .and_then(|of| component.get_export_index(Some(&of), function))
                .ok_or_else(|| Error::WrongWorld { found: format!("`{interface}` without `{function}`") })
        };
        let entry = match made.description.world {
            World::Transform => Entry::Transform { transform: find(TRANSFORMER, "transform")? },
            World::Aggregate => Entry::Aggregate {
                add: find(AGGREGATOR, "add")?,
                merge: find(AGGREGATOR, "merge")?,
                finish: find(AGGREGATOR, "finish")?,
            },
            World::Process => Entry::Process { process: find(PROCESSOR, "process")? },
        };
        let migrate = match made.description.world {
            // It has no state.
            World::Transform => None,
            World::Aggregate | World::Process => find(MIGRATION, "migrate").ok(),
        };
        let init = match made.no_snapshot {
            None => None,
            Some(_) => Some(Init { function: find(LIFECYCLE, "init")?, config, fuel: limits.compile.init_fuel }),
        };
        Ok(Self {
            engine: engine.clone(),
            pre,
            description: made.description,
            entry,
            migrate,
            needs: made.imports.iter().filter_map(|import| Grant::of(import)).collect(),
            has_pages: made.imports.iter().any(|import| import == PAGES),
            init,
            limits: Arc::new(limits.call.clone()),
        })
    }

    /// A store for one instance.
    pub(super) fn store(&self, rows: usize, fuel: u64) -> wasmtime::Result<Store<Ctx>> {
        let mut store = ctx::store(&self.engine, &self.limits, rows, fuel)?;
        ctx::yield_at_ticks(&mut store);
        Ok(store)
    }
}

#[expect(
    unsafe_code,
    reason = "an artifact is machine code: the bytes come from this server's own compiling process, directly or from a \
              file whose HMAC under the folder's key was verified, and the engine refuses those of other settings"
)]
fn deserialize(engine: &Engine, artifact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `artifact` was written by `Component::serialize` and not changed since, for the reason above.
    unsafe { Component::deserialize(engine, artifact) }
}

//! How many instances a component becomes once its nested components are instantiated: counted definition by definition,
//! saturating, so that ten levels of ten instantiations cost ten additions a level and not ten to the tenth.

use wasmparser::{
    ComponentAlias, ComponentAliasSectionReader, ComponentExport, ComponentExternalKind, ComponentInstance,
    ComponentInstanceSectionReader, ComponentOuterAliasKind, Instance, InstanceSectionReader,
};

use super::{exceeds, invalid};
use crate::plugin::error::{Check, Error};
use crate::plugin::limits::ComponentLimits;

/// What instantiating a component once makes.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    core: u64,
    components: u64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.core = self.core.saturating_add(other.core);
        self.components = self.components.saturating_add(other.components);
    }

    fn max(self, other: Self) -> Self {
        Self { core: self.core.max(other.core), components: self.components.max(other.components) }
    }
}

/// A component that is being read.
#[derive(Debug, Default)]
struct Scope {
    cost: Cost,
    /// The index space of components.
    components: Vec<Cost>,
}

/// The components and modules around the place of the scan.
#[derive(Debug, Default)]
pub(super) struct Tree {
    scopes: Vec<Scope>,
    in_module: bool,
    /// The most expensive component so far: what a component that comes from elsewhere (an import, an instance's export) is
    /// taken for.
    dearest: Cost,
}

impl Tree {
    pub(super) fn enter_module(&mut self) {
        self.in_module = true;
    }

    /// Enters a component and says how deep it is: 0 for the outermost.
    pub(super) fn enter_component(&mut self) -> usize {
        self.scopes.push(Scope::default());
        self.scopes.len() - 1
    }

    /// Whether the scan is in the outermost component itself.
    pub(super) fn is_root(&self) -> bool {
        self.scopes.len() == 1 && !self.in_module
    }

    /// Leaves a module or component.
    pub(super) fn leave(&mut self, limits: &ComponentLimits) -> Result<(), Error> {
        if std::mem::take(&mut self.in_module) {
            return Ok(());
        }
        if let Some(scope) = self.scopes.pop() {
            check(scope.cost, limits)?;
            self.dearest = self.dearest.max(scope.cost);
            self.define(scope.cost);
        }
        Ok(())
    }

    pub(super) fn core_instances(
        &mut self,
        section: InstanceSectionReader<'_>,
        limits: &ComponentLimits,
    ) -> Result<(), Error> {
        for instance in section {
            if let Instance::Instantiate { .. } = instance.map_err(invalid)? {
                self.spend(Cost { core: 1, components: 0 }, limits)?;
            }
        }
        Ok(())
    }

    pub(super) fn instances(
        &mut self,
        section: ComponentInstanceSectionReader<'_>,
        limits: &ComponentLimits,
    ) -> Result<(), Error> {
        for instance in section {
            self.spend(Cost { core: 0, components: 1 }, limits)?;
            if let ComponentInstance::Instantiate { component_index, .. } = instance.map_err(invalid)? {
                let cost = self.component(0, component_index);
                self.spend(cost, limits)?;
            }
        }
        Ok(())
    }

    pub(super) fn aliases(&mut self, section: ComponentAliasSectionReader<'_>) -> Result<(), Error> {
        for alias in section {
            match alias.map_err(invalid)? {
                ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                    self.define(self.dearest);
                }
                ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                    self.define(self.component(count, index));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn import(&mut self, kind: ComponentExternalKind) {
        if kind == ComponentExternalKind::Component {
            self.define(self.dearest);
        }
    }

    /// Exporting a component gives it a new index.
    pub(super) fn export(&mut self, export: &ComponentExport<'_>) {
        if export.kind == ComponentExternalKind::Component {
            self.define(self.component(0, export.index));
        }
    }

    fn define(&mut self, cost: Cost) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.components.push(cost);
        }
    }

    /// The component of this index, so many scopes out. One that is not there is found by the validator.
    fn component(&self, out: u32, index: u32) -> Cost {
        let scope = self.scopes.iter().rev().nth(out as usize);
        scope.and_then(|scope| scope.components.get(index as usize)).copied().unwrap_or_default()
    }

    fn spend(&mut self, cost: Cost, limits: &ComponentLimits) -> Result<(), Error> {
        match self.scopes.last_mut() {
            Some(scope) => {
                scope.cost.add(cost);
                check(scope.cost, limits)
            }
            None => Ok(()),
        }
    }
}

fn check(cost: Cost, limits: &ComponentLimits) -> Result<(), Error> {
    exceeds(Check::CoreInstances, cost.core, limits.core_instances)?;
    exceeds(Check::ComponentInstances, cost.components, limits.component_instances)
}

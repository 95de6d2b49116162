//! The plugins that vectors run with, as components in the sandbox.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use millstream::ids::{PipelineName, TopicName};
use millstream::pipeline::driver::{Components, Driver};
use millstream::pipeline::spec::StepSpec;
use millstream::pipeline::{Error, Loaded};
use millstream::plugin::Grants;

/// The packages: our own for windows and timers, and those that tenants use too.
const PACKAGES: &[&str] = &["vectors-gate", "vectors-fold", "vectors-timers", "join", "dedupe", "pattern"];

/// The plugins, each made once for every configuration.
#[derive(Debug)]
pub struct Plugins {
    sandbox: Components,
    components: BTreeMap<&'static str, Vec<u8>>,
    loaded: RefCell<BTreeMap<(String, String), Loaded>>,
}

impl Plugins {
    /// Builds the plugins and a sandbox for them.
    pub fn new() -> anyhow::Result<Self> {
        let mut components = BTreeMap::new();
        let mut artifacts = None;
        for package in PACKAGES {
            let path = harness::component(package)?;
            components.insert(*package, fs::read(&path).with_context(|| format!("read `{}`", path.display()))?);
            artifacts = path.parent().map(|folder| folder.join("artifacts"));
        }
        let artifacts = artifacts.context("plugins are built into a folder")?;
        let sandbox = Components::new(artifacts, harness::binary()?).context("make a sandbox")?;
        Ok(Self { sandbox, components, loaded: RefCell::default() })
    }

    /// A pipeline over empty topics of so many partitions each.
    pub fn driver(&self, manifest: &str, partitions: impl Fn(&TopicName) -> u32) -> Result<Driver, Error> {
        let name: PipelineName = "vector".parse().expect("a name");
        Driver::new(manifest, partitions, |step, grants| self.load(&name, step, grants))
    }

    fn load(&self, pipeline: &PipelineName, step: &StepSpec, grants: Grants) -> Result<Loaded, Error> {
        let plugin = step.plugin.name.to_string();
        let name = (plugin, step.config.to_string());
        if let Some(loaded) = self.loaded.borrow().get(&name) {
            return Ok(loaded.clone());
        }
        let component = self.components.get(name.0.as_str()).expect("translations name plugins that are built");
        let loaded = self.sandbox.load(pipeline, step, component, grants)?;
        self.loaded.borrow_mut().insert(name, loaded.clone());
        Ok(loaded)
    }
}

//! Plugins of a driver that are WebAssembly components.

use std::path::PathBuf;

use tokio::runtime::Runtime;

use crate::ids::{Digest, PipelineName, default_tenant};
use crate::pipeline::spec::StepSpec;
use crate::pipeline::{Error, Loaded};
use crate::plugin::{self, Grants, Owner, Sandbox, SandboxConfig};

/// A sandbox for drivers. One serves any number of them.
#[derive(Debug)]
pub struct Components {
    sandbox: Sandbox,
    /// Compiling takes processes and time.
    runtime: Runtime,
}

impl Components {
    /// A sandbox that keeps artifacts in `folder` and compiles with `program`, the binary of the server.
    pub fn new(folder: impl Into<PathBuf>, program: impl Into<PathBuf>) -> Result<Self, plugin::Error> {
        let failed = |error: std::io::Error| plugin::Error::Host {
            action: "make a runtime".to_owned(),
            reason: error.to_string(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let config = SandboxConfig { worker: Some(program.into()), ..SandboxConfig::new(folder) };
        Ok(Self { sandbox: Sandbox::new(config)?, runtime })
    }

    /// The plugin of a step, made of a component.
    pub fn load(
        &self,
        pipeline: &PipelineName,
        step: &StepSpec,
        component: &[u8],
        grants: Grants,
    ) -> Result<Loaded, Error> {
        let owner =
            Owner { tenant: default_tenant(), pipeline: pipeline.clone(), step: step.name.clone(), is_trial: false };
        let image = self.sandbox.image(component, &step.config, owner, grants);
        let image = self.runtime.block_on(image).map_err(|source| Error::Plugin { step: step.name.clone(), source })?;
        Ok(Loaded { digest: Digest::of(component), guest: image.guest() })
    }
}

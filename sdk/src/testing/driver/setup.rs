//! What a pipeline under test is made of: its manifest, a plugin for each name, partitions.

use std::collections::BTreeMap;
use std::fmt;
#[cfg(feature = "wasm")]
use std::path::PathBuf;
use std::sync::Arc;

use millstream::error::Coded;
#[cfg(feature = "wasm")]
use millstream::ids::PipelineName;
use millstream::ids::{Digest, TopicName};
use millstream::pipeline::spec::{Spec, StepSpec};
use millstream::pipeline::{Error, Loaded};
use millstream::plugin::Grants;

use super::TestDriver;
use crate::testing::FromConfig;
use crate::testing::native::{self, Lines, Migration, World};

/// A plugin that the driver can run natively. The macros implement it.
pub trait Drivable: FromConfig + fmt::Debug + Send + Sync + 'static {
    #[doc(hidden)]
    fn world() -> World<Self>;
    #[doc(hidden)]
    fn migration() -> Option<Migration<Self>>;
}

/// What the platform refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The stable code, such as `state_conflict`.
    pub code: String,
    /// What happened, and what to do.
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    pub(super) fn new(code: &str, message: impl fmt::Display) -> Self {
        Self { code: code.to_owned(), message: message.to_string() }
    }

    pub(super) fn of(error: &dyn Coded) -> Self {
        Self::new(error.code(), error)
    }
}

/// Makes the native plugin of a step.
type Make = fn(&str, &str, Grants, Lines) -> Result<millstream::plugin::Guest, String>;

#[derive(Debug, Clone)]
enum Source {
    Native {
        make: Make,
        digest: Digest,
    },
    #[cfg(feature = "wasm")]
    Component(PathBuf),
}

/// A pipeline to be tested: begun by [`TestDriver::of`].
#[derive(Debug, Clone)]
pub struct Setup {
    manifest: String,
    plugins: BTreeMap<String, Source>,
    partitions: BTreeMap<String, u32>,
    pub(super) batch_size: Option<usize>,
    pub(super) clock: i64,
}

impl Setup {
    pub(super) fn new(manifest: &str) -> Self {
        Self {
            manifest: manifest.to_owned(),
            plugins: BTreeMap::new(),
            partitions: BTreeMap::new(),
            batch_size: None,
            clock: 0,
        }
    }

    /// The plugin that the manifest means by `name`, compiled into the test.
    #[must_use]
    pub fn plugin<P: Drivable>(mut self, name: &str) -> Self {
        // Two types are two versions.
        let digest = Digest::of(std::any::type_name::<P>().as_bytes());
        self.plugins.insert(name.to_owned(), Source::Native { make: native::guest::<P>, digest });
        self
    }

    /// The plugin that the manifest means by `name`, a component in a file, run in the sandbox.
    ///
    /// The sandbox compiles with the server's binary `millstream`: what `MILLSTREAM_BIN` names, or one in the target folder
    /// that the test is in, or one on the `PATH`.
    #[cfg(feature = "wasm")]
    #[must_use]
    pub fn component(mut self, name: &str, path: impl Into<PathBuf>) -> Self {
        self.plugins.insert(name.to_owned(), Source::Component(path.into()));
        self
    }

    /// How many partitions a topic has; the default is 1.
    #[must_use]
    pub fn partitions(mut self, topic: &str, partitions: u32) -> Self {
        self.partitions.insert(topic.to_owned(), partitions);
        self
    }

    /// Cuts micro-batches to so many records.
    #[must_use]
    pub fn batch_size(self, records: usize) -> Self {
        Self { batch_size: Some(records), ..self }
    }

    /// Where the clock stands at first, in milliseconds since the Unix epoch; the default is 0.
    #[must_use]
    pub fn clock(self, clock: i64) -> Self {
        Self { clock, ..self }
    }

    /// Deploys the pipeline over empty topics.
    ///
    /// # Errors
    /// What a server would refuse: a manifest that is not well formed, a configuration that a plugin does not take, a plugin
    /// that does not fit its place.
    pub fn start(&self) -> Result<TestDriver, Refused> {
        TestDriver::start(self)
    }

    /// The manifest.
    pub fn manifest(&self) -> &str {
        &self.manifest
    }

    pub(super) fn count_partitions(&self, topic: &TopicName) -> u32 {
        self.partitions.get(topic.as_str()).copied().unwrap_or(1)
    }

    /// Gives the plugin of each step. What goes wrong with a plugin itself is kept in `refused`.
    pub(super) fn loader<'a>(
        &'a self,
        lines: &'a Lines,
        refused: &'a mut Option<Refused>,
    ) -> Result<impl FnMut(&StepSpec, Grants) -> Result<Loaded, Error> + 'a, Refused> {
        let spec: Spec =
            self.manifest.parse().map_err(|error: millstream::pipeline::spec::ManifestError| Refused::of(&error))?;
        for step in &spec.steps {
            if !self.plugins.contains_key(step.plugin.name.as_str()) {
                let known = self.plugins.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let message = format!(
                    "step `{}` runs the plugin `{}`, which the test does not name (it names {known}): add `.plugin::<..>(\"{1}\")`",
                    step.name, step.plugin.name,
                );
                return Err(Refused::new("plugin_not_found", message));
            }
        }
        #[cfg(feature = "wasm")]
        let pipeline = spec.name;
        Ok(move |step: &StepSpec, grants: Grants| match &self.plugins[step.plugin.name.as_str()] {
            Source::Native { make, digest } => {
                let made = make(step.name.as_str(), &step.config.to_string(), grants, Arc::clone(lines));
                let guest = made.map_err(|message| {
                    let message = format!("step `{}`: the plugin refuses its configuration: {message}", step.name);
                    *refused = Some(Refused::new("init_refused", message));
                    // Only says that there is an error: the one above is what is told.
                    Error::Log(millstream::log::Error::Closed)
                })?;
                Ok(Loaded { digest: *digest, guest })
            }
            #[cfg(feature = "wasm")]
            Source::Component(path) => component(&pipeline, step, path, grants, refused),
        })
    }
}

#[cfg(feature = "wasm")]
fn component(
    pipeline: &PipelineName,
    step: &StepSpec,
    path: &std::path::Path,
    grants: Grants,
    refused: &mut Option<Refused>,
) -> Result<Loaded, Error> {
    let mut refuse = |code: &str, message: String| {
        *refused = Some(Refused::new(code, message));
        Error::Log(millstream::log::Error::Closed)
    };
    let bytes = std::fs::read(path)
        .map_err(|error| refuse("component_not_found", format!("read the component `{}`: {error}", path.display())))?;
    super::wasm::with_components(|components| components.load(pipeline, step, &bytes, grants))
        .unwrap_or_else(|error| Err(refuse(&error.code, error.message)))
}

//! A pipeline as the catalog has it, with its manifest parsed: once when it is deployed or the server starts, and not
//! whenever somebody looks at it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::catalog::StoredPipeline;
use crate::pipeline::spec::{ManifestError, Spec};

/// A pipeline of the catalog.
#[derive(Debug)]
pub(super) struct Deployed(Mutex<Parsed>);

#[derive(Debug)]
struct Parsed {
    stored: StoredPipeline,
    /// What is deployed was parsed before. If an older server did that, this one may not be able to.
    spec: Result<Arc<Spec>, ManifestError>,
}

impl Deployed {
    pub(super) fn new(stored: StoredPipeline) -> Self {
        let spec = stored.manifest.parse().map(Arc::new);
        Self(Mutex::new(Parsed { stored, spec }))
    }

    /// What the catalog has.
    pub(super) fn stored(&self) -> StoredPipeline {
        self.lock().stored.clone()
    }

    /// Its manifest.
    pub(super) fn spec(&self) -> Result<Arc<Spec>, ManifestError> {
        self.lock().spec.clone()
    }

    /// Takes what the catalog has from now on.
    pub(super) fn set(&self, stored: StoredPipeline) {
        let mut parsed = self.lock();
        if parsed.stored.manifest != stored.manifest {
            parsed.spec = stored.manifest.parse().map(Arc::new);
        }
        parsed.stored = stored;
    }

    fn lock(&self) -> MutexGuard<'_, Parsed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

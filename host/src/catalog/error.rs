//! What can go wrong in the catalog.

use std::path::{Path, PathBuf};

use crate::error::{Blame, Coded, Kind};
use crate::ids::{Digest, PluginName};

/// An error of the catalog.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No plugin of that name was pushed.
    #[error("plugin `{name}` does not exist{}", hint(nearest.as_deref()))]
    PluginNotFound {
        name: PluginName,
        /// The plugin that may have been meant.
        nearest: Option<String>,
    },
    /// The plugin has no version with that digest.
    #[error("plugin `{name}` has no version {digest}: `millstream plugin list` shows the versions there are")]
    VersionNotFound { name: PluginName, digest: Digest },
    /// The tenant has no component with that digest.
    #[error("component {digest} does not exist: push it again")]
    ComponentNotFound { digest: Digest },
    /// A file is not what was written.
    #[error("catalog file `{}` is corrupt: {reason}; restore it from a copy", file.display())]
    Corrupt {
        file: PathBuf,
        /// How it is known.
        reason: String,
    },
    /// A file was written in a format that this version does not know.
    #[error("catalog file `{}` has format {found}, this server knows format {known}: use the version that wrote it", file.display())]
    UnknownFormat {
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The format that is known.
        known: u32,
    },
    /// A change of a pipeline failed in a way that leaves open what a restart would find.
    #[error(
        "`{}` could not be written, and what is in it after a loss of power is not known ({source}): free space or repair the disk, then resume or delete the pipeline, or make the change again",
        file.display()
    )]
    Unsettled {
        file: PathBuf,
        /// What failed first.
        source: Box<Self>,
    },
    /// The disk is full.
    #[error("the disk is full, `{}` was not written: free space and try again", file.display())]
    StorageFull { file: PathBuf },
    /// The system refused to read or write.
    #[error("{action} `{}`: {reason}", file.display())]
    Storage {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// What the system reported.
        reason: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!(": did you mean `{name}`?"),
        None => ": push it with `millstream plugin push`".to_owned(),
    }
}

impl Error {
    /// The error for what the system reported of a file.
    pub(super) fn system(action: &'static str, file: &Path, error: &std::io::Error) -> Self {
        let file = file.to_owned();
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::StorageFull { file },
            _ => Self::Storage { action, file, reason: error.to_string() },
        }
    }

    /// The error for a file that is not what was written.
    pub(super) fn corrupt(file: &Path, reason: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), reason: reason.into() }
    }
}

impl Coded for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::PluginNotFound { .. } => "plugin_not_found",
            Self::VersionNotFound { .. } => "plugin_version_not_found",
            Self::ComponentNotFound { .. } => "component_not_found",
            Self::Corrupt { .. } => "catalog_corrupt",
            Self::UnknownFormat { .. } => "catalog_unknown_format",
            Self::Unsettled { .. } => "catalog_unsettled",
            Self::StorageFull { .. } => "storage_full",
            Self::Storage { .. } => "catalog_storage_failed",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::PluginNotFound { .. } | Self::VersionNotFound { .. } | Self::ComponentNotFound { .. } => {
                Kind::NotFound
            }
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::UnknownFormat { .. } => Kind::Conflict,
            Self::StorageFull { .. } => Kind::StorageFull,
            Self::Storage { .. } | Self::Unsettled { .. } => Kind::Unavailable,
        }
    }

    fn blame(&self) -> Blame {
        match self.kind() {
            Kind::NotFound => Blame::Tenant,
            _ => Blame::Operator,
        }
    }
}

//! What can go wrong before a plugin can be called: at upload, and when a step's image is made or loaded.
//!
//! What goes wrong in a call is a [`Failure`](super::Failure).

use serde::{Deserialize, Serialize};

use super::World;
use super::failure::Trap;
use crate::error::{Blame, Coded, Kind, Limit};

/// An error of the sandbox. Crosses from the compiling process as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// The bytes are no component.
    #[error("not a component: {found}; `millstream plugin build` makes a component of a crate")]
    NotAComponent {
        /// What they are.
        found: String,
    },
    /// The bytes are a component that breaks the rules of the format.
    #[error("component is invalid at byte {offset}: {reason}")]
    InvalidComponent {
        /// Where.
        offset: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The component has more of something than a component may have.
    #[error("component has {use_} {}, the limit is {limit}", check.what())]
    Limit {
        /// What is counted.
        check: Check,
        /// How much there is, or as far as was counted.
        use_: u64,
        /// How much there may be.
        limit: u64,
    },
    /// The component asks for something that Millstream does not have.
    #[error("component imports `{import}`, which the host does not have{hint}")]
    ImportUnknown {
        /// What it imports.
        import: String,
        /// What may help, or nothing.
        hint: String,
    },
    /// The component asks for something that its step does not grant.
    #[error("component imports `{import}`, which its step does not grant; `{grant}` in the step grants it")]
    ImportNotGranted {
        /// What it imports.
        import: String,
        /// How a step of a manifest grants it.
        grant: String,
    },
    /// The component asks for something that plugins of its world cannot have.
    #[error("component imports `{import}`, which a plugin of the world `{world}` cannot have")]
    ImportOfOtherWorld {
        /// What it imports.
        import: String,
        /// The world that it is made for.
        world: World,
    },
    /// The component is made for no world or for several.
    #[error(
        "component exports {found}; a plugin exports `millstream:plugin/lifecycle@0.1.0` and one of `transformer`, \
         `aggregator`, `processor`"
    )]
    WrongWorld {
        /// What it exports.
        found: String,
    },
    /// Compiling or `init` took too long.
    #[error("compiling the component took more than {limit_ms} ms; it was stopped")]
    CompileTimeout { limit_ms: u64 },
    /// Compiling took too much memory.
    #[error("compiling the component took more than {limit_bytes} bytes of memory; it was stopped")]
    CompileMemory { limit_bytes: u64 },
    /// The compiling process died.
    #[error("the process that compiles the component died: {how}")]
    CompileCrash {
        /// How it died.
        how: String,
    },
    /// What the compiler made of the component is too large.
    #[error("the compiled component has {use_} bytes, the limit is {limit}")]
    ArtifactTooLarge {
        /// Its size.
        use_: u64,
        limit: u64,
    },
    /// The configuration is too large to be given to a plugin.
    #[error("configuration of {use_} bytes exceeds the limit of {limit} bytes")]
    ConfigTooLarge {
        /// Its size.
        use_: u64,
        limit: u64,
    },
    /// The plugin refused its configuration.
    #[error("`init` refused the configuration: {reason}")]
    InitFailed {
        /// What it reported.
        reason: String,
    },
    /// The plugin describes itself in a way that makes no sense.
    #[error("`describe` answered what no plugin can be: {reason}")]
    InvalidDescription {
        /// What is wrong with it.
        reason: String,
    },
    /// `describe` or `init` was stopped.
    #[error("`{function}` was stopped: {trap}")]
    Trapped {
        function: String,
        /// How it was stopped.
        trap: Trap,
    },
    /// The sandbox cannot be set up on this machine, or an artifact cannot be loaded.
    #[error("{action}: {reason}")]
    Host {
        /// What was tried.
        action: String,
        /// Why it did not work.
        reason: String,
    },
}

impl Error {
    pub(super) fn host(action: &str, reason: impl std::fmt::Display) -> Self {
        Self::Host { action: action.to_owned(), reason: format!("{reason:#}") }
    }
}

impl Coded for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::NotAComponent { .. } => "not_a_component",
            Self::InvalidComponent { .. } => "invalid_component",
            Self::Limit { check, .. } => check.code(),
            Self::ImportUnknown { .. } => "import_unknown",
            Self::ImportNotGranted { .. } => "import_not_granted",
            Self::ImportOfOtherWorld { .. } => "import_of_other_world",
            Self::WrongWorld { .. } => "wrong_world",
            Self::CompileTimeout { .. } => "compile_timeout",
            Self::CompileMemory { .. } => "compile_memory",
            Self::CompileCrash { .. } => "compile_crash",
            Self::ArtifactTooLarge { .. } => "limit_artifact_bytes",
            Self::ConfigTooLarge { .. } => "limit_config_bytes",
            Self::InitFailed { .. } => "init_failed",
            Self::InvalidDescription { .. } => "invalid_description",
            Self::Trapped { trap, .. } => trap.code(),
            Self::Host { .. } => "sandbox_unavailable",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Limit { check: Check::ComponentBytes, .. } | Self::ConfigTooLarge { .. } => Kind::TooLarge,
            Self::Limit { .. }
            | Self::CompileTimeout { .. }
            | Self::CompileMemory { .. }
            | Self::ArtifactTooLarge { .. } => Kind::Limit,
            Self::Host { .. } => Kind::Unavailable,
            _ => Kind::Invalid,
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Host { .. } => Blame::Operator,
            _ => Blame::Tenant,
        }
    }

    fn limit(&self) -> Option<Limit> {
        let (limit, used) = match self {
            Self::Limit { use_, limit, .. }
            | Self::ArtifactTooLarge { use_, limit }
            | Self::ConfigTooLarge { use_, limit } => (*limit, *use_),
            _ => return None,
        };
        Some(Limit { name: self.code().trim_start_matches("limit_").to_owned(), limit, used })
    }
}

macro_rules! checks {
    ($($(#[$doc:meta])* $check:ident $code:literal $what:literal,)*) => {
        /// What is counted in a component before it is compiled.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Check {
            $(#[doc = $what] $check,)*
        }

        impl Check {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$check,)*];

            /// The stable code of a component that has too many.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$check => $code,)* }
            }

            /// What is counted, in words.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$check => $what,)* }
            }
        }
    };
}

checks! {
    ComponentBytes "limit_component_bytes" "bytes",
    CoreInstances "limit_core_instances" "core instances, nested components included",
    ComponentInstances "limit_component_instances" "component instances, nested components included",
    Nesting "limit_nesting" "levels of nested components",
    Modules "limit_modules" "core modules",
    Functions "limit_functions" "functions",
    FunctionBytes "limit_function_bytes" "bytes in one function",
    Locals "limit_locals" "locals in one function",
    LocalsTotal "limit_locals_total" "locals in all functions",
    StackHeight "limit_stack_height" "values on a function's operand stack",
    ControlDepth "limit_control_depth" "levels of nested blocks in one function",
    BranchTargets "limit_branch_targets" "targets of branch tables",
    Types "limit_types" "types",
    Imports "limit_imports" "imports",
    Exports "limit_exports" "exports",
    Globals "limit_globals" "globals",
    DataBytes "limit_data_bytes" "bytes of data segments",
    Segments "limit_segments" "data and element segments",
    Tables "limit_tables" "tables",
    TableElements "limit_table_elements" "elements in one table",
    Memories "limit_memories" "memories",
    MemoryPages "limit_memory" "bytes of memory from the start",
    CustomBytes "limit_custom_bytes" "bytes of custom sections",
}

//! What a component shows to the outside: the world it is made for, by its exports, and what it asks for.

use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{ComponentExport, ComponentExternalKind, ComponentImport};

use super::Scanned;
use crate::plugin::bindings::{AGGREGATOR, LIFECYCLE, PAGES, PROCESSOR, TRANSFORMER};
use crate::plugin::error::Error;
use crate::plugin::grant::Grant;
use crate::plugin::{World, wasi};

/// Imports that every plugin may have. `types` is no code: it is where the shapes have their names.
const GRANTED: [&str; 4] = [
    "millstream:plugin/types@0.1.0",
    "millstream:plugin/log@0.1.0",
    "millstream:plugin/metrics@0.1.0",
    "millstream:plugin/emission@0.1.0",
];

/// Longest name that is repeated in an error.
const SHOWN_BYTES: usize = 100;

/// Most names that are repeated in an error.
const SHOWN_NAMES: usize = 5;

/// Imports and exports of the outermost component.
#[derive(Debug, Default)]
pub(super) struct Surface {
    imports: Vec<(String, ComponentExternalKind)>,
    exports: Vec<(String, ComponentExternalKind)>,
}

fn shown(name: &str) -> String {
    name[..name.floor_char_boundary(SHOWN_BYTES)].escape_debug().to_string()
}

impl Surface {
    pub(super) fn import(&mut self, import: &ComponentImport<'_>) {
        self.imports.push((shown(import.name.name), import.ty.kind()));
    }

    pub(super) fn export(&mut self, export: &ComponentExport<'_>) {
        self.exports.push((shown(export.name.name), export.kind));
    }

    /// One world, and imports that its plugins may have. `types` are those of the component.
    pub(super) fn judge(self, types: Option<&Types>) -> Result<Scanned, Error> {
        let world = self.world()?;
        let mut imports = Vec::new();
        for (import, kind) in self.imports {
            // A component may name types of its own; they ask for nothing.
            if kind == ComponentExternalKind::Type {
                continue;
            }
            if let Some(grant) = Grant::of(&import) {
                // Who uses `lookup` names types of `table`, and asks for nothing of it.
                if types.is_some_and(|types| is_types_only(types, &import)) {
                    continue;
                }
                if !grant.is_for(world) {
                    return Err(Error::ImportOfOtherWorld { import, world });
                }
            } else if import == PAGES {
                if world != World::Process {
                    return Err(Error::ImportOfOtherWorld { import, world });
                }
            } else {
                let stub = kind == ComponentExternalKind::Instance && wasi::is_stub(&import);
                if !stub && !GRANTED.contains(&import.as_str()) {
                    return Err(unknown(import));
                }
            }
            imports.push(import);
        }
        Ok(Scanned { world, imports })
    }

    fn world(&self) -> Result<World, Error> {
        let has = |name: &str| {
            self.exports.iter().any(|(export, kind)| export == name && *kind == ComponentExternalKind::Instance)
        };
        let worlds = [(TRANSFORMER, World::Transform), (AGGREGATOR, World::Aggregate), (PROCESSOR, World::Process)];
        let found: Vec<World> = worlds.iter().filter(|(export, _)| has(export)).map(|(_, world)| *world).collect();
        match found.as_slice() {
            [world] if has(LIFECYCLE) => Ok(*world),
            _ => Err(Error::WrongWorld { found: self.exports_shown() }),
        }
    }

    fn exports_shown(&self) -> String {
        let names: Vec<_> = self.exports.iter().take(SHOWN_NAMES).map(|(name, _)| format!("`{name}`")).collect();
        match self.exports.len() {
            0 => "nothing".to_owned(),
            count if count > SHOWN_NAMES => format!("{} and {} more", names.join(", "), count - SHOWN_NAMES),
            _ => names.join(", "),
        }
    }
}

/// Whether the component imports nothing but names of types by this interface.
fn is_types_only(types: &Types, import: &str) -> bool {
    let Some(item) = types.component_item_for_import(import) else { return false };
    let ComponentEntityType::Instance(instance) = item.ty else { return false };
    let is_type = |ty: &ComponentEntityType| matches!(ty, ComponentEntityType::Type { .. });
    types[instance].exports.values().all(|export| is_type(&export.ty))
}

fn unknown(import: String) -> Error {
    let hint = if import.starts_with("wasi:") {
        "; of WASI it has stubs of 0.2 `cli`, `io`, `clocks`, `random` and `filesystem`, and no network"
    } else if import.starts_with("millstream:plugin/") {
        "; it has version 0.1.0 of `log`, `metrics`, `emission`, `pages`, `table` and `lookup`"
    } else {
        ""
    };
    Error::ImportUnknown { import, hint: hint.to_owned() }
}

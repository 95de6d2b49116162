//! The scan of an upload before anything compiles it: linear in its bytes, expands nothing.
//!
//! Compiling is not bounded by the engine: some hundred bytes can cost it gigabytes. Every known way has a limit here
//! ([`ComponentLimits`]), and a component that passes is valid, made for one world, and imports only what it may.
//!
//! It runs in the compiling process, like everything that reads an upload.

mod tree;
mod world;

use wasmparser::{
    Encoding, FuncToValidate, FuncValidatorAllocations, FunctionBody, Imports, Operator, OperatorsReader, Parser,
    Payload, TypeRef, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use self::tree::Tree;
use self::world::Surface;
use super::World;
use super::error::{Check, Error};
use super::limits::{ComponentLimits, Limits};

/// What the scan learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scanned {
    /// The world that the component is made for.
    pub(super) world: World,
    /// What it imports.
    pub(super) imports: Vec<String>,
}

/// The features of WebAssembly that plugins may use: what [`engine`](super::engine) switches on.
fn features() -> WasmFeatures {
    WasmFeatures::WASM2 | WasmFeatures::EXTENDED_CONST | WasmFeatures::MULTI_MEMORY | WasmFeatures::COMPONENT_MODEL
}

/// Scans a component.
pub(super) fn scan(bytes: &[u8], limits: &Limits) -> Result<Scanned, Error> {
    exceeds(Check::ComponentBytes, bytes.len() as u64, limits.component.bytes as u64)?;
    is_component(bytes)?;
    let mut scan = Scan {
        limits: &limits.component,
        memory_bytes: limits.call.memory_bytes as u64,
        counts: Counts::default(),
        tree: Tree::default(),
        surface: Surface::default(),
        validator: Validator::new_with_features(features()),
        allocations: FuncValidatorAllocations::default(),
    };
    let mut parser = Parser::new(0);
    parser.set_features(features());
    // The types of what ended last: finally, of the component itself.
    let mut types = None;
    for payload in parser.parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        scan.count(&payload)?;
        match scan.validator.payload(&payload).map_err(invalid)? {
            ValidPayload::Func(function, body) => scan.function(function, &body)?,
            ValidPayload::End(ended) => types = Some(ended),
            ValidPayload::Ok | ValidPayload::Parser(_) => {}
        }
    }
    scan.surface.judge(types.as_ref())
}

fn is_component(bytes: &[u8]) -> Result<(), Error> {
    let found = if bytes.is_empty() {
        "the file is empty"
    } else if Parser::is_component(bytes) {
        return Ok(());
    } else if Parser::is_core_wasm(bytes) {
        "it is a core WebAssembly module"
    } else if bytes.starts_with(b"\0asm") {
        "it is WebAssembly of an unknown version"
    } else if bytes.trim_ascii_start().starts_with(b"(") {
        "it is the text format of WebAssembly"
    } else {
        "it is not WebAssembly"
    };
    Err(Error::NotAComponent { found: found.to_owned() })
}

fn invalid(error: wasmparser::BinaryReaderError) -> Error {
    Error::InvalidComponent { offset: error.offset(), reason: error.message().to_owned() }
}

fn exceeds(check: Check, use_: u64, limit: u64) -> Result<(), Error> {
    if use_ > limit { Err(Error::Limit { check, use_, limit }) } else { Ok(()) }
}

/// What has been counted so far, over all modules and components.
#[derive(Debug, Default)]
struct Counts {
    modules: u64,
    functions: u64,
    locals: u64,
    branch_targets: u64,
    types: u64,
    imports: u64,
    exports: u64,
    globals: u64,
    data_bytes: u64,
    segments: u64,
    tables: u64,
    memories: u64,
    custom_bytes: u64,
}

struct Scan<'a> {
    limits: &'a ComponentLimits,
    memory_bytes: u64,
    counts: Counts,
    tree: Tree,
    surface: Surface,
    validator: Validator,
    allocations: FuncValidatorAllocations,
}

/// Adds to a count and compares it.
fn add(count: &mut u64, more: u64, check: Check, limit: u64) -> Result<(), Error> {
    *count = count.saturating_add(more);
    exceeds(check, *count, limit)
}

impl Scan<'_> {
    /// Counts what a section declares, before it is validated.
    fn count(&mut self, payload: &Payload<'_>) -> Result<(), Error> {
        let (limits, counts) = (self.limits, &mut self.counts);
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => {
                add(&mut counts.modules, 1, Check::Modules, limits.modules as u64)?;
                self.tree.enter_module();
            }
            Payload::Version { encoding: Encoding::Component, .. } => {
                let depth = self.tree.enter_component();
                exceeds(Check::Nesting, depth as u64, limits.nesting as u64)?;
            }
            Payload::End(_) => self.tree.leave(limits)?,
            Payload::TypeSection(section) => {
                add(&mut counts.types, section.count().into(), Check::Types, limits.types)?;
            }
            Payload::CoreTypeSection(section) => {
                add(&mut counts.types, section.count().into(), Check::Types, limits.types)?;
            }
            Payload::ComponentTypeSection(section) => {
                add(&mut counts.types, section.count().into(), Check::Types, limits.types)?;
            }
            Payload::ImportSection(section) => {
                add(&mut counts.imports, section.count().into(), Check::Imports, limits.imports)?;
                for import in section.clone() {
                    if let Imports::Single(_, import) = import.map_err(invalid)? {
                        match import.ty {
                            TypeRef::Memory(memory) => pages(memory.initial, self.memory_bytes)?,
                            TypeRef::Table(table) => {
                                exceeds(Check::TableElements, table.initial, limits.table_elements)?;
                            }
                            _ => {}
                        }
                    }
                }
            }
            Payload::FunctionSection(section) => {
                add(&mut counts.functions, section.count().into(), Check::Functions, limits.functions as u64)?;
            }
            Payload::TableSection(section) => {
                add(&mut counts.tables, section.count().into(), Check::Tables, limits.tables)?;
                for table in section.clone() {
                    let initial = table.map_err(invalid)?.ty.initial;
                    exceeds(Check::TableElements, initial, limits.table_elements)?;
                }
            }
            Payload::MemorySection(section) => {
                add(&mut counts.memories, section.count().into(), Check::Memories, limits.memories)?;
                for memory in section.clone() {
                    pages(memory.map_err(invalid)?.initial, self.memory_bytes)?;
                }
            }
            Payload::GlobalSection(section) => {
                add(&mut counts.globals, section.count().into(), Check::Globals, limits.globals)?;
            }
            Payload::ExportSection(section) => {
                add(&mut counts.exports, section.count().into(), Check::Exports, limits.exports)?;
            }
            Payload::ElementSection(section) => {
                add(&mut counts.segments, section.count().into(), Check::Segments, limits.segments)?;
            }
            Payload::DataSection(section) => {
                add(&mut counts.segments, section.count().into(), Check::Segments, limits.segments)?;
                let bytes = section.range().len() as u64;
                add(&mut counts.data_bytes, bytes, Check::DataBytes, limits.data_bytes)?;
            }
            Payload::CodeSectionEntry(body) => {
                exceeds(Check::FunctionBytes, body.range().len() as u64, limits.function_bytes as u64)?;
                let mut locals = 0_u64;
                for local in body.get_locals_reader().map_err(invalid)? {
                    let (count, _) = local.map_err(invalid)?;
                    add(&mut locals, count.into(), Check::Locals, limits.locals)?;
                }
                add(&mut counts.locals, locals, Check::LocalsTotal, limits.locals_total)?;
            }
            Payload::InstanceSection(section) => self.tree.core_instances(section.clone(), limits)?,
            Payload::ComponentInstanceSection(section) => self.tree.instances(section.clone(), limits)?,
            Payload::ComponentAliasSection(section) => self.tree.aliases(section.clone())?,
            Payload::ComponentImportSection(section) => {
                add(&mut counts.imports, section.count().into(), Check::Imports, limits.imports)?;
                for import in section.clone() {
                    let import = import.map_err(invalid)?;
                    self.tree.import(import.ty.kind());
                    if self.tree.is_root() {
                        self.surface.import(&import);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                add(&mut counts.exports, section.count().into(), Check::Exports, limits.exports)?;
                for export in section.clone() {
                    let export = export.map_err(invalid)?;
                    self.tree.export(&export);
                    if self.tree.is_root() {
                        self.surface.export(&export);
                    }
                }
            }
            Payload::CustomSection(section) => {
                let bytes = section.data().len() as u64;
                add(&mut counts.custom_bytes, bytes, Check::CustomBytes, limits.custom_bytes)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Validates a function and watches how high it stacks values and blocks.
    fn function(&mut self, function: FuncToValidate<ValidatorResources>, body: &FunctionBody<'_>) -> Result<(), Error> {
        let mut validator = function.into_validator(std::mem::take(&mut self.allocations));
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader).map_err(invalid)?;
        reader.set_features(features());
        let mut operators = OperatorsReader::new(reader);
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset().map_err(invalid)?;
            if let Operator::BrTable { targets } = &operator {
                let (count, limit) = (&mut self.counts.branch_targets, self.limits.branch_targets);
                add(count, targets.len().into(), Check::BranchTargets, limit)?;
            }
            validator.op(offset, &operator).map_err(invalid)?;
            exceeds(Check::StackHeight, validator.operand_stack_height().into(), self.limits.stack_height as u64)?;
            exceeds(Check::ControlDepth, validator.control_stack_height().into(), self.limits.control_depth as u64)?;
        }
        operators.finish().map_err(invalid)?;
        self.allocations = validator.into_allocations();
        Ok(())
    }
}

fn pages(initial: u64, limit: u64) -> Result<(), Error> {
    exceeds(Check::MemoryPages, initial.saturating_mul(65_536), limit)
}

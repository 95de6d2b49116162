//! Guests written by hand, so that each does one thing that an honest toolchain would not: core WebAssembly text against
//! the contract, made a component as `millstream plugin build` does it.

use std::path::{Path, PathBuf};

use millstream::ids::default_tenant;
use millstream::plugin::{Owner, Sandbox, SandboxConfig};
use millstream::record::Batch;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A guest of the world `transform`, with parts that can be replaced.
#[derive(Debug, Clone)]
pub(crate) struct Transform {
    /// Fields before all others: imports.
    pub(crate) imports: &'static str,
    /// Other fields: functions, globals, tables.
    pub(crate) items: String,
    /// The body of `init(config: i32, length: i32)`. Leaves nothing; the result is `ok`.
    pub(crate) init: &'static str,
    /// The body of `transform(batch: i32)`, which leaves the address of an answer.
    pub(crate) transform: String,
    /// Pages of memory.
    pub(crate) pages: u32,
}

/// Emits every row as it is.
pub(crate) const IDENTITY: &str = "(call $identity (local.get 0))";

impl Default for Transform {
    fn default() -> Self {
        Self { imports: "", items: String::new(), init: "", transform: IDENTITY.to_owned(), pages: 2 }
    }
}

impl Transform {
    /// A guest whose `transform` is this.
    pub(crate) fn doing(transform: &str) -> Self {
        Self { transform: transform.to_owned(), ..Self::default() }
    }

    /// With these fields.
    pub(crate) fn with(self, items: &str) -> Self {
        Self { items: items.to_owned(), ..self }
    }

    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        component("transform", &self.text())
    }

    /// The core module as text.
    ///
    /// Memory: 0 the description, 512 its texts, 1024 the result of `init`, 2048 an answer, 4096 what is allocated.
    pub(crate) fn text(&self) -> String {
        let Self { imports, items, init, transform, pages } = self;
        format!(
            r#"(module
  {imports}
  (memory (export "memory") {pages})
  (global $heap (mut i32) (i32.const 4096))
  {LIFECYCLE}
  (func (export "millstream:plugin/lifecycle@0.1.0#init") (param i32 i32) (result i32) (local $i i32)
    {init}
    (i32.const 1024))
  (func (export "millstream:plugin/transformer@0.1.0#transform") (param i32) (result i32) (local $i i32) (local $j i32)
    {transform})
  ;; An answer of every row, in order, as it is.
  (func $identity (param $batch i32) (result i32) (local $rows i32) (local $i i32) (local $list i32)
    (local.set $rows (i32.load offset=4 (local.get $batch)))
    (local.set $list (call $alloc (i32.mul (local.get $rows) (i32.const 4))))
    (loop $each
      (if (i32.lt_u (local.get $i) (local.get $rows))
        (then
          (i32.store (i32.add (local.get $list) (i32.mul (local.get $i) (i32.const 4))) (local.get $i))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $each))))
    (i32.store offset=2048 (i32.const 0) (local.get $list))
    (i32.store offset=2052 (i32.const 0) (local.get $rows))
    (i32.const 2048))
  {items}
)"#
        )
    }
}

/// What every guest has: memory to give away, and a description with the outputs `a` and `b`.
pub(crate) const LIFECYCLE: &str = r#"
  (data (i32.const 512) "A guest.{}keysvaluesab")
  (data (i32.const 600) "\05\02\00\00")
  (func (export "millstream:plugin/lifecycle@0.1.0#describe") (result i32)
    (i32.store (i32.const 0) (i32.const 512)) (i32.store (i32.const 4) (i32.const 8))
    (i32.store (i32.const 8) (i32.const 520)) (i32.store (i32.const 12) (i32.const 2))
    (i32.store (i32.const 16) (i32.const 64)) (i32.store (i32.const 20) (i32.const 2))
    (i32.store (i32.const 64) (i32.const 522)) (i32.store (i32.const 68) (i32.const 4))
    (i32.store (i32.const 72) (i32.const 526)) (i32.store (i32.const 76) (i32.const 6))
    (i32.store (i32.const 24) (i32.const 80)) (i32.store (i32.const 28) (i32.const 2))
    (i32.store (i32.const 80) (i32.const 532)) (i32.store (i32.const 84) (i32.const 1))
    (i32.store (i32.const 96) (i32.const 533)) (i32.store (i32.const 100) (i32.const 1))
    (i32.const 0))
  (func $alloc (param $bytes i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $bytes)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $fits (i32.ne (i32.const -1)
        (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $bytes) (i32.const 16))))))
      unreachable)
    (local.get $at))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (call $alloc (local.get 3)))
"#;

/// A guest of the world `aggregate` that counts: an accumulator is the number of rows in one byte.
pub(crate) fn counting() -> Vec<u8> {
    let text = format!(
        r#"(module
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 4096))
  {LIFECYCLE}
  (func (export "millstream:plugin/lifecycle@0.1.0#init") (param i32 i32) (result i32) (i32.const 1024))
  ;; contribution: groups.lengths 0, groups.bytes 8, row-groups 16, rows 24
  (func (export "millstream:plugin/aggregator@0.1.0#add") (param $in i32) (result i32)
    (local $groups i32) (local $i i32) (local $lengths i32) (local $bytes i32) (local $old i32) (local $at i32)
    (local.set $groups (i32.load offset=4 (local.get $in)))
    (local.set $lengths (call $alloc (i32.mul (local.get $groups) (i32.const 4))))
    (local.set $bytes (call $alloc (local.get $groups)))
    (local.set $old (i32.load offset=8 (local.get $in)))
    (loop $each
      (if (i32.lt_u (local.get $i) (local.get $groups))
        (then
          (local.set $at (i32.add (local.get $bytes) (local.get $i)))
          (i32.store8 (local.get $at) (i32.const 0))
          (if (i32.eq (i32.const 1) (i32.load (i32.add (i32.load (local.get $in)) (i32.mul (local.get $i) (i32.const 4)))))
            (then
              (i32.store8 (local.get $at) (i32.load8_u (local.get $old)))
              (local.set $old (i32.add (local.get $old) (i32.const 1)))))
          (i32.store (i32.add (local.get $lengths) (i32.mul (local.get $i) (i32.const 4))) (i32.const 1))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $each))))
    (local.set $i (i32.const 0))
    (loop $rows
      (if (i32.lt_u (local.get $i) (i32.load offset=20 (local.get $in)))
        (then
          (local.set $at (i32.add (local.get $bytes)
            (i32.load (i32.add (i32.load offset=16 (local.get $in)) (i32.mul (local.get $i) (i32.const 4))))))
          (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $rows))))
    (i32.store offset=2048 (i32.const 0) (local.get $lengths)) (i32.store offset=2052 (i32.const 0) (local.get $groups))
    (i32.store offset=2056 (i32.const 0) (local.get $bytes)) (i32.store offset=2060 (i32.const 0) (local.get $groups))
    (i32.const 2048))
  ;; left.lengths 0 1, left.bytes 2 3, right.lengths 4 5, right.bytes 6 7: all of one byte. A sum of 0 is left null.
  (func (export "millstream:plugin/aggregator@0.1.0#merge") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (local $i i32) (local $at i32)
    (loop $each
      (if (i32.lt_u (local.get $i) (local.get 1))
        (then
          (local.set $at (i32.add (local.get 2) (local.get $i)))
          (i32.store8 (local.get $at)
            (i32.add (i32.load8_u (local.get $at)) (i32.load8_u (i32.add (local.get 6) (local.get $i)))))
          (if (i32.eqz (i32.load8_u (local.get $at)))
            (then
              (i32.store (i32.add (local.get 0) (i32.mul (local.get $i) (i32.const 4))) (i32.const -1))
              (local.set 3 (i32.const 0))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $each))))
    (i32.store offset=2048 (i32.const 0) (local.get 0)) (i32.store offset=2052 (i32.const 0) (local.get 1))
    (i32.store offset=2056 (i32.const 0) (local.get 2)) (i32.store offset=2060 (i32.const 0) (local.get 3))
    (i32.const 2048))
  ;; closed, flat: groups.lengths 0 1, groups.bytes 2 3, keys 4 5 6 7, starts 8 9, ends 10 11
  (func (export "millstream:plugin/aggregator@0.1.0#finish")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (local $i i32) (local $list i32)
    (local.set $list (call $alloc (i32.mul (local.get 1) (i32.const 4))))
    (loop $each
      (if (i32.lt_u (local.get $i) (local.get 1))
        (then
          (i32.store (i32.add (local.get $list) (i32.mul (local.get $i) (i32.const 4))) (local.get $i))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $each))))
    (i32.store offset=2048 (i32.const 0) (local.get $list)) (i32.store offset=2052 (i32.const 0) (local.get 1))
    (i32.store offset=2088 (i32.const 0) (local.get 0)) (i32.store offset=2092 (i32.const 0) (local.get 1))
    (i32.store offset=2096 (i32.const 0) (local.get 2)) (i32.store offset=2100 (i32.const 0) (local.get 3))
    (i32.const 2048))
)"#
    );
    component("aggregate", &text)
}

/// Makes a component of a core module in text, for a world of the contract.
pub(crate) fn component(world: &str, text: &str) -> Vec<u8> {
    component_of(world, None, text)
}

/// The same for a world of the test's own, in a package of its own.
pub(crate) fn component_of(world: &str, packages: Option<&str>, text: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).expect("the guest is WebAssembly text");
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("MILLSTREAM_WORKSPACE")).join("wit/millstream.wit");
    let mut package = resolve.push_file(wit).expect("the contract parses");
    if let Some(packages) = packages {
        package = resolve.push_str("test.wit", packages).expect("the test's package parses");
    }
    let world = resolve.select_world(&[package], Some(world)).expect("there is such a world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata fits");
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module).expect("the guest fits its world");
    encoder.encode().expect("the guest becomes a component")
}

/// A sandbox on a folder, with limits changed.
pub(crate) fn sandbox(folder: &Path, change: impl FnOnce(&mut SandboxConfig)) -> Sandbox {
    let mut config = SandboxConfig::new(folder);
    config.worker = Some(PathBuf::from(env!("CARGO_BIN_EXE_millstream")));
    config.calls = 4;
    change(&mut config);
    Sandbox::new(config).expect("a sandbox can be made here")
}

/// Names for log lines.
pub(crate) fn owner() -> Owner {
    Owner {
        tenant: default_tenant(),
        pipeline: "pipeline".parse().expect("a name"),
        step: "step".parse().expect("a name"),
        is_trial: false,
    }
}

/// So many rows of `key` and `value`.
pub(crate) fn rows(count: i64) -> Batch {
    let mut batch = Batch::default();
    for time in 0..count {
        batch.push(time, Some(b"key"), Some(b"value"));
    }
    batch
}

//! Guests of the world `process`, and what is given to them.

use millstream::plugin::{Timers, Work};
use millstream::record::{Batch, Column};

use crate::guests::{self, LIFECYCLE, component_of};

/// A world with the optional export.
const MIGRATING: &str = "package test:migrating;
world migrating {
    include millstream:plugin/process@0.1.0;
    export millstream:plugin/migration@0.1.0;
}";

/// Emits every row by the output of its input, with its watermark as event time; keeps the state; sets every due timer
/// again.
pub(crate) const ECHO: &str = "(call $keep_state (local.get 0)) (call $echo (local.get 0))";

/// A guest of the world `process`, with parts that can be replaced.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// Fields before all others: imports.
    pub(crate) imports: &'static str,
    /// Other fields.
    pub(crate) items: String,
    /// The body of `init(config: i32, length: i32)`. Leaves nothing; the result is `ok`.
    pub(crate) init: String,
    /// The body of `process(work: i32)`, which leaves the address of what is done.
    pub(crate) process: String,
    /// The body of `migrate(from, length, lengths, count, bytes, length)`, which leaves the address of its result.
    pub(crate) migrate: Option<String>,
}

impl Process {
    /// A guest whose `process` is this.
    pub(crate) fn doing(process: &str) -> Self {
        Self { imports: "", items: String::new(), init: String::new(), process: process.to_owned(), migrate: None }
    }

    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        match self.migrate {
            None => guests::component("process", &self.text()),
            Some(_) => component_of("migrating", Some(MIGRATING), &self.text()),
        }
    }

    /// The core module as text. Memory is laid out as that of the other guests; from 200,000 on it is the test's own.
    ///
    /// `work`: group-rows 0, rows 8 (key-lengths 16, value-lengths 32), inputs 88, row-watermarks 96, key-lengths 104,
    /// state 120, due 136 (ids 144, times 152, domains 160), watermark 168, processing-time 176.
    ///
    /// `done`, at 2048: source-rows 0, outputs 8, timestamps 16, keys 24, values 40, rejected 96, state 136, timers 152
    /// (ids 160, times 168, domains 176, sets 184), fired 192.
    fn text(&self) -> String {
        let Self { imports, items, init, process, migrate } = self;
        let migrate = migrate.as_ref().map_or(String::new(), |body| {
            format!(
                r#"(func (export "millstream:plugin/migration@0.1.0#migrate")
                  (param i32 i32 i32 i32 i32 i32) (result i32) {body})"#
            )
        });
        format!(
            r#"(module
  {imports}
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 4096))
  {LIFECYCLE}
  (func (export "millstream:plugin/lifecycle@0.1.0#init") (param i32 i32) (result i32) (local $i i32)
    {init}
    (i32.const 1024))
  (func (export "millstream:plugin/processor@0.1.0#process") (param i32) (result i32) (local $i i32)
    {process})
  {migrate}
  ;; Copies a list, address and length.
  (func $list (param $to i32) (param $from i32)
    (i64.store (local.get $to) (i64.load (local.get $from))))
  ;; A list of so many numbers counted up from a first one by a step.
  (func $count (param $to i32) (param $items i32) (param $first i32) (param $step i32) (local $i i32) (local $at i32)
    (local.set $at (call $alloc (i32.mul (local.get $items) (i32.const 4))))
    (i32.store (local.get $to) (local.get $at))
    (i32.store offset=4 (local.get $to) (local.get $items))
    (loop $each
      (if (i32.lt_u (local.get $i) (local.get $items))
        (then
          (i32.store (i32.add (local.get $at) (i32.mul (local.get $i) (i32.const 4))) (local.get $first))
          (local.set $first (i32.add (local.get $first) (local.get $step)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $each)))))
  (func $keep_state (param $work i32)
    (call $list (i32.const 2184) (i32.add (local.get $work) (i32.const 120)))
    (call $list (i32.const 2192) (i32.add (local.get $work) (i32.const 128))))
  (func $echo (param $work i32) (result i32) (local $due i32) (local $sets i32)
    (call $count (i32.const 2048) (i32.load offset=12 (local.get $work)) (i32.const 0) (i32.const 1))
    (call $list (i32.const 2056) (i32.add (local.get $work) (i32.const 88)))
    (call $list (i32.const 2064) (i32.add (local.get $work) (i32.const 96)))
    (call $list (i32.const 2200) (i32.add (local.get $work) (i32.const 136)))
    (call $list (i32.const 2208) (i32.add (local.get $work) (i32.const 144)))
    (call $list (i32.const 2216) (i32.add (local.get $work) (i32.const 152)))
    (call $list (i32.const 2224) (i32.add (local.get $work) (i32.const 160)))
    ;; Bytes of 1, as many as timers are due.
    (call $count (i32.const 2232) (i32.load offset=140 (local.get $work)) (i32.const 0x01010101) (i32.const 0))
    (i32.const 2048))
  {items}
)"#
        )
    }
}

/// What a call of `process` is made of, to be borrowed.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) group_rows: Vec<u32>,
    pub(crate) rows: Batch,
    pub(crate) inputs: Vec<u16>,
    pub(crate) row_watermarks: Vec<i64>,
    pub(crate) keys: Column,
    pub(crate) state: Column,
    pub(crate) due: Timers,
}

impl Made {
    pub(crate) fn work(&self) -> Work<'_> {
        Work {
            group_rows: &self.group_rows,
            rows: self.rows.view(),
            inputs: &self.inputs,
            row_watermarks: &self.row_watermarks,
            keys: self.keys.view(),
            state: self.state.view(),
            due: &self.due,
            watermark: 700,
            processing_time: 800,
            tables: None,
        }
    }
}

/// Three rows and two due timers of two keys.
pub(crate) fn made() -> Made {
    Made {
        group_rows: vec![2, 1],
        rows: guests::rows(3),
        inputs: vec![0, 1, 0],
        row_watermarks: vec![i64::MIN, -5, 600],
        keys: [Some("a"), None].into_iter().collect(),
        state: [None, Some("state")].into_iter().collect(),
        due: Timers { groups: vec![0, 1], ids: vec![7, u64::MAX], times: vec![-1, 500], domains: vec![0, 1] },
    }
}

//! Every limit of the sandbox, with its default and the reason for it. `host/docs/limits.md` is the same as a table.
//!
//! A limit protects the server and other tenants, never taste: honest plugins stay one order of magnitude below.

use serde::{Deserialize, Serialize};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// All limits of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// What a component may contain.
    pub component: ComponentLimits,
    /// What compiling may cost.
    pub compile: CompileLimits,
    /// What a call may use and give back.
    pub call: CallLimits,
}

/// What a component may contain. Checked by a linear scan before anything is compiled; each is a known way to make a
/// small upload expensive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComponentLimits {
    /// Bytes of the component. 8 MiB: ten times a large Rust plugin.
    pub bytes: usize,
    /// Core instances after all nested components are instantiated. 16: a plugin has 3 to 5; nesting multiplies them, so
    /// that 629 bytes can stand for ten million.
    pub core_instances: u64,
    /// Component instances after all nested components are instantiated. 64: a plugin has one or two for each export.
    pub component_instances: u64,
    /// Depth of components in components. 4: composition tools make two.
    pub nesting: usize,
    /// Core modules. 16: a plugin has 3; each costs the compiler a fixed price.
    pub modules: usize,
    /// Functions of all modules. 20,000: 100,000 empty ones take 10 s and 600 MiB to compile.
    pub functions: usize,
    /// Bytes of one function. 256 KiB: register allocation is not linear in a function's size.
    pub function_bytes: usize,
    /// Locals of one function. 2,000: declared in two bytes, paid for one by one.
    pub locals: u64,
    /// Locals of all functions. 500,000: see above.
    pub locals_total: u64,
    /// Values on a function's operand stack. 1,000: 20,000 of them take the register allocator 16 s.
    pub stack_height: usize,
    /// Blocks in blocks. 512: recursion of compiler passes.
    pub control_depth: usize,
    /// Targets of all branch tables. 50,000: 2 MB of them take 5 s and 1.2 GiB.
    pub branch_targets: u64,
    /// Types of all modules and components. 2,000: 50,000 take 7 s.
    pub types: u64,
    /// Imports of all modules and components. 1,000.
    pub imports: u64,
    /// Exports of all modules and components. 1,000.
    pub exports: u64,
    /// Globals of all modules. 2,000.
    pub globals: u64,
    /// Bytes of data segments of all modules. 4 MiB: they are copied into every image.
    pub data_bytes: u64,
    /// Data and element segments of all modules. 2,000: each is work at every instantiation.
    pub segments: u64,
    /// Tables of all modules. 8: a plugin has 2, adapters 1 to 3.
    pub tables: u64,
    /// Initial elements of one table. 20,000: the pool reserves as many for every slot.
    pub table_elements: u64,
    /// Memories of all modules. 2: the plugin's and an adapter's.
    pub memories: u64,
    /// Bytes of custom sections, names of functions among them. 2 MiB: only backtraces read them.
    pub custom_bytes: u64,
}

impl Default for ComponentLimits {
    fn default() -> Self {
        Self {
            bytes: 8 * MIB,
            core_instances: 16,
            component_instances: 64,
            nesting: 4,
            modules: 16,
            functions: 20_000,
            function_bytes: 256 * KIB,
            locals: 2_000,
            locals_total: 500_000,
            stack_height: 1_000,
            control_depth: 512,
            branch_targets: 50_000,
            types: 2_000,
            imports: 1_000,
            exports: 1_000,
            globals: 2_000,
            data_bytes: 4 * MIB as u64,
            segments: 2_000,
            tables: 8,
            table_elements: 20_000,
            memories: 2,
            custom_bytes: 2 * MIB as u64,
        }
    }
}

/// What the subprocess that compiles and runs `init` may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompileLimits {
    /// Address space in bytes. 1.5 GiB: honest plugins compile under 300 MiB.
    pub memory_bytes: u64,
    /// CPU time in seconds. 20: honest plugins take under one.
    pub cpu_seconds: u64,
    /// Wall-clock time in milliseconds, after which it is killed. 30,000: CPU time on a machine that is busy.
    pub wall_ms: u64,
    /// Bytes of the artifact. 64 MiB: four times the component is usual.
    pub artifact_bytes: usize,
    /// Fuel of `describe` and, apart from it, of `init` with instantiation. 10 G: one to three seconds, time to load a
    /// model.
    pub init_fuel: u64,
    /// Bytes of the configuration. 256 KiB: it is copied into the guest.
    pub config_bytes: usize,
    /// Bytes of the description's texts together. 64 KiB: it is kept and shown.
    pub description_bytes: usize,
    /// Outputs in the description. 64.
    pub outputs: usize,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 1536 * MIB as u64,
            cpu_seconds: 20,
            wall_ms: 30_000,
            artifact_bytes: 64 * MIB,
            init_fuel: 10_000_000_000,
            config_bytes: 256 * KIB,
            description_bytes: 64 * KIB,
            outputs: 64,
        }
    }
}

/// What one call may use and give back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallLimits {
    /// Fuel of any call. 50 M: about 10 ms.
    pub fuel_base: u64,
    /// Fuel on top for each row, group, window or due timer. 2 M: about 0.4 ms, a thousand times a simple row.
    pub fuel_row: u64,
    /// Fuel on top for each row that is handed over while the call runs. 2,000: four times what an emitted row costs, so that
    /// what one row or timer may emit is bounded by `output_bytes` and not by its slice.
    pub fuel_emitted: u64,
    /// Epoch ticks (1 ms each) that a call may run, whatever its fuel. 1,000: the wall-clock stop for what fuel does not
    /// price.
    pub ticks: u64,
    /// Bytes of all memories and tables of an instance together. 64 MiB.
    pub memory_bytes: usize,
    /// Refused requests for memory after which the call is stopped. 1,000: asking costs the host more than the guest.
    pub refusals: u32,
    /// Bytes that may be copied out of the guest for one call or host call. 16 MiB: what an answer may be, its columns
    /// included.
    pub transfer_bytes: usize,
    /// Handles of resources that an instance may hold. 1,024: only WASI stubs give any.
    pub handles: usize,
    /// Bytes of the rows that a call emits, those handed over while it runs included: keys, values and headers, and 32 for
    /// each row. 32 MiB: the host holds them until they are written. A call over it is divided; what one row or timer alone
    /// emits has to fit, or to go on in further calls.
    pub output_bytes: usize,
    /// Bytes of one emitted key. 64 KiB.
    pub key_bytes: usize,
    /// Bytes of one emitted value or accumulator. 1 MiB: what a Kafka broker takes by default.
    pub value_bytes: usize,
    /// Bytes of one key's state value. 1 MiB: it crosses the boundary whole, in every call that has the key; what is
    /// larger goes on in pages, as the SDK's parts do, or belongs in a table.
    pub state_bytes: usize,
    /// Timers set and deleted on top of `timers_per_row`. 10,000: as many as may fire, each of which may set itself again.
    pub timers_base: usize,
    /// Timers set and deleted for each row, group or due timer. 16.
    pub timers_per_row: usize,
    /// Timers set and fired in the same call on top of `fired_per_row`. 10,000: one row after a gap of six days, and a
    /// timer that sets itself again every minute. The row cannot be divided: over the limit it would be lost.
    pub fired_base: usize,
    /// Timers set and fired in the same call for each row, group or due timer. 64: a chain of timers for each row.
    pub fired_per_row: usize,
    /// Tables of a plugin: their numbers are below this. 64: each is an ordered space of its own.
    pub table_numbers: u32,
    /// Entries that one call of `table`, `pages` or `lookup` may name or ask for. 16,384: more than the rows of a batch.
    pub table_entries: usize,
    /// Bytes of one key of a table. 4 KiB: keys are compared at every step of a search, and kept in its index.
    pub table_key_bytes: usize,
    /// Bytes of one value of a table. 1 MiB, as `state_bytes`.
    pub table_value_bytes: usize,
    /// Bytes of keys and values that one call of `table`, `pages` or `lookup` may take or give. 8 MiB: half of
    /// `transfer_bytes`.
    pub table_bytes: usize,
    /// Bytes of keys and values that a call may put into its tables and pages, all together. 32 MiB: they are held until the
    /// micro-batch is committed.
    pub table_written_bytes: usize,
    /// Headers of one emitted row. 64.
    pub headers: u32,
    /// Bytes of one header's name or value. 4 KiB.
    pub header_bytes: usize,
    /// Bytes of a reject code. 64: it is a label.
    pub code_bytes: usize,
    /// Bytes of a reject reason; what is over is cut off. 4 KiB.
    pub reason_bytes: usize,
    /// Host calls of any call. 1,000.
    pub host_calls_base: u64,
    /// Host calls on top for each row. 64.
    pub host_calls_row: u64,
    /// Bytes of a log line; what is over is cut off. 8 KiB.
    pub log_line_bytes: usize,
    /// Log lines of a call; what is over is counted. 100.
    pub log_lines: usize,
    /// Bytes of all log lines of a call; what is over is counted. 256 KiB.
    pub log_bytes: usize,
    /// Log lines of a step in a second; what is over is counted. 50.
    pub log_lines_second: u32,
    /// Names of counters and gauges of a step. 100: each is a time series somewhere.
    pub metric_names: usize,
    /// Bytes of such a name. 64.
    pub metric_name_bytes: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            fuel_base: 50_000_000,
            fuel_row: 2_000_000,
            fuel_emitted: 2_000,
            ticks: 1_000,
            memory_bytes: 64 * MIB,
            refusals: 1_000,
            transfer_bytes: 16 * MIB,
            handles: 1_024,
            output_bytes: 32 * MIB,
            key_bytes: 64 * KIB,
            value_bytes: MIB,
            state_bytes: MIB,
            timers_base: 10_000,
            timers_per_row: 16,
            fired_base: 10_000,
            fired_per_row: 64,
            table_numbers: 64,
            table_entries: 16_384,
            table_key_bytes: 4 * KIB,
            table_value_bytes: MIB,
            table_bytes: 8 * MIB,
            table_written_bytes: 32 * MIB,
            headers: 64,
            header_bytes: 4 * KIB,
            code_bytes: 64,
            reason_bytes: 4 * KIB,
            host_calls_base: 1_000,
            host_calls_row: 64,
            log_line_bytes: 8 * KIB,
            log_lines: 100,
            log_bytes: 256 * KIB,
            log_lines_second: 50,
            metric_names: 100,
            metric_name_bytes: 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{Check, FailureCode};

    const PAGE: &str = include_str!("../../docs/limits.md");

    fn grouped(number: &serde_json::Value) -> String {
        let digits = number.to_string();
        let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
        groups.join(",")
    }

    #[test]
    fn the_page_of_limits_has_every_limit_with_its_default() {
        let limits = serde_json::to_value(Limits::default()).unwrap();
        for (section, limits) in limits.as_object().unwrap() {
            let heading = format!("(`{section}`)");
            let (_, table) = PAGE.split_once(&heading).unwrap();
            let (table, _) = table.split_once("\n## ").unwrap();
            for (name, value) in limits.as_object().unwrap() {
                let row = format!("| `{name}` | {} |", grouped(value));
                assert!(table.contains(&row), "{section}: {row}");
            }
        }
    }

    #[test]
    fn the_page_of_limits_has_every_code() {
        let checks = Check::ALL.iter().map(|check| check.code());
        for code in checks.chain(FailureCode::ALL.iter().map(|code| code.as_str())) {
            assert!(PAGE.contains(&format!("`{code}`")), "{code}");
        }
    }
}

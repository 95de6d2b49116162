//! Whole blocks: a deployment that begins with one has all that there was, wherever the sweep of the old one stood.

use std::sync::Arc;

use super::harness::{COUNTING, Driver, wait};
use super::migrating::{live, upgraded};
use crate::error::Coded;
use crate::ids::{PipelineId, TopicName, TopicPartition, default_tenant};
use crate::log::batch::{EncodeOptions, encode};
use crate::log::memory::MemoryLog;
use crate::log::{Block, Commit, CommitLog as _, RecordLog as _, TopicAdmin as _, TopicConfig};
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::machine::Machine;
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::warm_state::{WarmState, migrating};
use crate::pipeline::io::runner::Runner;
use crate::pipeline::spec::Spec;
use crate::record::Batch;
use crate::state::{Store, Summary, Writer};

const KEYS: usize = 30_000;
const TABLE_KEYS: usize = 1000;
/// Rows of a micro-batch.
const ROWS: usize = 3000;

fn name(topic: &str) -> TopicName {
    topic.parse().expect("a name")
}

fn append(log: &MemoryLog, topic: &str, rows: impl IntoIterator<Item = (String, String)>) {
    let mut batch = Batch::default();
    rows.into_iter().for_each(|(key, value)| batch.push(0, Some(key.as_bytes()), Some(value.as_bytes())));
    let at = TopicPartition { topic: name(topic), partition: 0 };
    let encoded = encode(batch.view(), &EncodeOptions::default());
    wait(log.append(&default_tenant(), &at, encoded)).expect("the log takes it");
}

/// Counts in such windows, with a reference table beside them.
fn manifest(window: &str) -> String {
    let window = COUNTING.replace("tumbling = \"10ms\"", window);
    window.replacen("[[steps]]", "[[tables]]\nname = \"people\"\ntopic = \"people\"\n[[steps]]", 1)
}

/// A pipeline that has read its table and these keys, each of them open.
fn counted(manifest: &str, keys: usize, table_keys: usize) -> Driver {
    let log = Arc::new(MemoryLog::default());
    let spec: Spec = manifest.parse().expect("the manifest is good");
    for topic in spec.topics() {
        wait(log.create_topic(&default_tenant(), &topic, TopicConfig::with_partitions(1))).expect("new");
    }
    append(&log, "people", (0..table_keys).map(|key| (format!("p{key}"), format!("person {key}"))));
    append(&log, "in", (0..keys).map(|key| (String::new(), format!("1 k{key:05}"))));
    let mut driver = Driver::on(log, &spec);
    driver.step(&[0, table_keys]).expect("the host is well");
    while driver.machine.open_groups() < keys as u64 {
        driver.step(&[ROWS]).expect("the host is well");
    }
    driver
}

/// Lets a round of rewriting go to the middle of every store. Nothing has changed, so nobody needs its blocks.
fn sweep_halfway(driver: &mut Driver) {
    let halfway = |store: &mut dyn Store| assert!(!store.write_block(&mut Writer::default(), 5000), "not at the end");
    driver.machine.states.iter_mut().for_each(|state| halfway(state.store_mut()));
    driver.plan.references.tables.values().for_each(|table| halfway(&mut *table.content.write()));
}

/// What the steps have, and what the table has.
fn summaries(machine: &Machine) -> (Vec<Summary>, Vec<Summary>) {
    let steps = machine.states.iter().map(|state| state.store().summary()).collect();
    (steps, machine.plan.references.tables.values().map(|table| table.content.read().summary()).collect())
}

/// A version of the driver's pipeline that sees every count and leaves it as it is.
fn next(driver: &Driver, manifest: &str) -> Arc<Plan> {
    upgraded(driver, manifest, |count| Ok(Some(count)))
}

/// What another deployment has once it was restarted, if a whole block of this state is its first commit.
fn restarted(mut migrated: WarmState, driver: &Driver, plan: &Arc<Plan>) -> WarmState {
    let task = PipelineId(2).task();
    let commit = Commit {
        task,
        epoch: wait(driver.log.fence(&default_tenant(), task)).expect("the log is well").epoch,
        sequence: 1,
        positions: migrated.positions.clone().into_iter().collect(),
        outputs: Vec::new(),
        block: Block::Some { bytes: migrated.machine.write_whole(1).expect("the disk is well"), oldest: 1 },
        usage: migrated.machine.usage_bytes(),
    };
    wait(driver.log.commit(&default_tenant(), commit)).expect("the log takes it");
    Runner::replay(task, plan, Carry::default(), &*driver.log).expect("it is whole")
}

#[test]
fn a_migrating_upgrade_in_mid_sweep_loses_nothing_at_the_next_restart() {
    // What `migrate` has seen is written because it changed; what other steps and tables have is not.
    for migrates in [false, true] {
        for window in ["tumbling = \"1h\"", "tumbling = \"1h\", lateness = \"1m\"", "session = \"1h\""] {
            let manifest = manifest(window);
            let mut driver = counted(&manifest, KEYS, TABLE_KEYS);
            sweep_halfway(&mut driver);
            let (plan, again) = (next(&driver, &manifest), next(&driver, &manifest));
            let wrote = [("count".parse().expect("a name"), crate::ids::Digest::of(b"count"))].into();
            let mut migrated = live(&mut driver).rebind(&plan).expect("it holds the same");
            let steps = if migrates { migrating(&plan, &wrote) } else { Vec::new() };
            wait(migrated.migrate(&steps)).expect("it takes everything over");
            let there = summaries(&migrated.machine);
            assert_eq!(there.1.iter().map(|table| table.entries).sum::<u64>(), TABLE_KEYS as u64);
            let restarted = restarted(migrated, &driver, &again);
            assert_eq!(restarted.machine.open_groups(), KEYS as u64, "{window}");
            assert_eq!(summaries(&restarted.machine), there, "{window}");
        }
    }
}

#[test]
fn a_whole_block_takes_the_place_of_what_there_is() {
    let manifest = manifest("tumbling = \"1h\"");
    let mut driver = counted(&manifest, 3, 3);
    let whole = driver.machine.write_whole(7).expect("the disk is well");
    let there = summaries(&driver.machine);
    let mut other = counted(&manifest, 5, 5);
    other.machine.recover(7, &whole).expect("our own block");
    assert_eq!(summaries(&other.machine), there);
}

#[test]
fn a_whole_block_that_is_not_what_was_written_is_never_another_state() {
    let manifest = manifest("tumbling = \"1h\"");
    let mut driver = counted(&manifest, 3, 2);
    let whole = driver.machine.write_whole(7).expect("the disk is well");
    let (there, mut refused) = (summaries(&driver.machine), 0);
    for at in 0..whole.len() {
        let mut changed = whole.to_vec();
        changed[at] ^= 1;
        let mut read = Machine::new(next(&driver, &manifest));
        match read.recover(7, &changed) {
            Err(error) => refused += usize::from(error.code() == "state_corrupt"),
            // The front of the block has times, which belong to no store.
            Ok(()) => assert_eq!(summaries(&read), there, "byte {at}"),
        }
    }
    assert!(refused > 100, "{refused} of {} bytes", whole.len());
}

#[test]
fn what_is_left_behind_of_a_whole_block_leaves_the_rest() {
    for window in ["tumbling = \"1h\"", "tumbling = \"1h\", lateness = \"1m\"", "session = \"1h\""] {
        let manifest = manifest(window);
        let mut driver = counted(&manifest, 3, 2);
        let whole = driver.machine.write_whole(7).expect("the disk is well");
        let there = summaries(&driver.machine);
        let before: Spec = manifest.parse().expect("the manifest is good");
        let read = |manifest: &str, drop: &[crate::ids::StepName]| {
            let (after, plan) = (manifest.parse().expect("the manifest is good"), next(&driver, manifest));
            let carry = Carry::between(&before, &after, &plan, drop).expect("the steps are there");
            let mut machine = Machine::carrying(plan, carry);
            machine.recover(7, &whole).expect("our own block");
            summaries(&machine)
        };
        let nothing = summaries(&Machine::new(next(&driver, &manifest)));
        let count = "count".parse().expect("a name");
        assert_eq!(read(&manifest, &[count]), (nothing.0, there.1.clone()), "{window}");
        let renamed = manifest.replace("name = \"people\"", "name = \"folk\"");
        assert_eq!(read(&renamed, &[]), (there.0, nothing.1), "{window}");
    }
}

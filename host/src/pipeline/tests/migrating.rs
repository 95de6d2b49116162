//! Handing what is in memory over to another version, and passing it through `migrate`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::harness::{COUNTING, Driver, THRESHOLDS, load, wait};
use crate::error::Coded;
use crate::ids::{Digest, default_tenant};
use crate::pipeline::engine::machine::Machine;
use crate::pipeline::engine::plan::{Loaded, Plan};
use crate::pipeline::engine::references::References;
use crate::pipeline::engine::warm_state::{WarmState, migrating};
use crate::pipeline::spec::Spec;
use crate::plugin::{
    Aggregator, Answer, Call, Called, Closed, Contribution, Description, Failure, Folded, Grants, Guest, Migrator,
    Plugin, Stateful,
};
use crate::record::{Column, ColumnRef};

/// What a version does with a count that another wrote.
pub(super) type How = fn(u64) -> Result<Option<u64>, Option<String>>;

/// A version of a guest that migrates; a refusal without a reason is a trap.
#[derive(Debug)]
struct Migrating {
    guest: Arc<dyn Aggregator>,
    how: How,
}

impl Plugin for Migrating {
    fn description(&self) -> &Description {
        self.guest.description()
    }
}

impl Aggregator for Migrating {
    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded> {
        self.guest.add(rows)
    }

    fn merge<'a>(&'a self, left: ColumnRef<'a>, right: ColumnRef<'a>) -> Call<'a, Column> {
        self.guest.merge(left, right)
    }

    fn finish<'a>(&'a self, windows: Closed<'a>) -> Call<'a, Answer> {
        self.guest.finish(windows)
    }
}

impl Stateful for Migrating {
    fn migrator(&self) -> Option<&dyn Migrator> {
        Some(self)
    }
}

impl Migrator for Migrating {
    fn migrate<'a>(&'a self, from: &'a str, state: ColumnRef<'a>) -> Call<'a, Result<Column, String>> {
        assert_eq!(from, Digest::of(b"count").to_string());
        let mut migrated = Column::default();
        let mut outcome = Ok(());
        for value in state.iter() {
            let count = u64::from_le_bytes(value.expect("none is null").try_into().expect("a count"));
            match (self.how)(count) {
                Ok(count) => migrated.push(count.map(u64::to_le_bytes).as_ref().map(|bytes| &bytes[..])),
                Err(reason) => outcome = Err(reason),
            }
        }
        let answer = match outcome {
            Ok(()) => Ok(Ok(migrated)),
            Err(Some(reason)) => Ok(Err(reason)),
            Err(None) => Err(Failure {
                code: "trap_unreachable",
                message: "it fell".to_owned(),
                backtrace: Vec::new(),
                fuel: 7,
                guest: true,
            }),
        };
        Box::pin(std::future::ready(answer.map(|answer| Called { answer, fuel: 7 })))
    }
}

/// The plan of the driver's pipeline with a version of `count` that migrates so.
pub(super) fn upgraded(driver: &Driver, manifest: &str, how: How) -> Arc<Plan> {
    use crate::log::TopicAdmin as _;
    let spec: Spec = manifest.parse().expect("the manifest is good");
    let topics = wait(driver.log.topics(&default_tenant())).expect("the log answers");
    let version = |step| {
        let loaded: Loaded = load(step, Grants::default()).expect("it is native");
        match loaded.guest {
            Guest::Aggregate(guest) => {
                Loaded { digest: Digest::of(b"new"), guest: Guest::Aggregate(Arc::new(Migrating { guest, how })) }
            }
            guest => Loaded { guest, ..loaded },
        }
    };
    let loaded = spec.steps.iter().map(version).collect();
    let partitions = |topic: &_| topics.get(topic).map(|topic| topic.config.partitions);
    let plan = Plan::new(default_tenant(), &spec, loaded, References::new(&spec), partitions);
    Arc::new(plan.expect("the plan is good").with_thresholds(THRESHOLDS))
}

/// A pipeline that has counted `a` twice and `b` once in the window from 0, as it is in memory.
fn counted(manifest: &str) -> (Driver, BTreeMap<crate::ids::StepName, Digest>) {
    let mut driver = Driver::new(manifest, &[["1 a", "2 b", "3 a"].map(str::to_owned).to_vec()]);
    driver.step(&[3]).expect("the host is well");
    let wrote = [("count".parse().expect("a name"), Digest::of(b"count"))].into();
    (driver, wrote)
}

/// What a driver has in memory.
pub(super) fn live(driver: &mut Driver) -> WarmState {
    let machine = std::mem::replace(&mut driver.machine, Machine::new(Arc::clone(&driver.plan)));
    WarmState { machine, positions: driver.places().into_iter().collect(), sequence: driver.sequence }
}

#[test]
fn migrated_state_is_what_the_new_version_made_of_it_also_when_it_is_read_back() {
    let several_results = COUNTING.replace("tumbling = \"10ms\"", "tumbling = \"10ms\", lateness = \"5ms\"");
    let slices = COUNTING.replace("tumbling = \"10ms\"", "hopping = \"20ms\", slide = \"10ms\"");
    for manifest in [COUNTING, &several_results, &slices] {
        let (mut driver, wrote) = counted(manifest);
        // Keys that were seen once are dropped.
        let plan = upgraded(&driver, manifest, |count| Ok((count > 1).then_some(count * 10)));
        let steps = migrating(&plan, &wrote);
        assert_eq!(steps.len(), 1);
        let mut live = live(&mut driver).rebind(&plan).expect("it holds the same");
        wait(live.migrate(&steps)).expect("it takes everything over");
        assert!(live.machine.usage_mut().fuel > 7);
        let whole = live.machine.write_whole(1).expect("the disk is well");
        let mut read = Machine::new(Arc::clone(&plan));
        read.recover(1, &whole).expect("our own block");
        for machine in [&mut live.machine, &mut read] {
            let values = machine.states[0].values_from((0, 0)).expect("`a` is left");
            let counts: Vec<_> = values.column().iter().collect();
            assert_eq!(counts, [Some(&20_u64.to_le_bytes()[..])], "{manifest}");
            assert!(machine.states[0].values_from(values.next()).is_none());
        }
    }
}

#[test]
fn a_version_that_refuses_or_traps_is_named_with_its_step() {
    let refusals: [(How, &str, &str); 2] = [
        (|_| Err(Some("too old".to_owned())), "migration_refused", "step `count`: its new version refuses"),
        (
            |_| Err(None),
            "migration_failed",
            "step `count`: `migrate` of its new version failed (trap_unreachable: it fell)",
        ),
    ];
    for (how, code, text) in refusals {
        let (mut driver, wrote) = counted(COUNTING);
        let plan = upgraded(&driver, COUNTING, how);
        let mut live = live(&mut driver).rebind(&plan).expect("it holds the same");
        let error = wait(live.migrate(&migrating(&plan, &wrote))).expect_err(code);
        assert_eq!(error.code(), code);
        assert!(error.to_string().starts_with(text), "{error}");
    }
}

#[test]
fn what_is_in_memory_is_handed_over_only_to_what_holds_the_same() {
    let (mut driver, _) = counted(COUNTING);
    let other = upgraded(&driver, &COUNTING.replace("10ms", "20ms"), |count| Ok(Some(count)));
    assert!(live(&mut driver).rebind(&other).is_none());
    let (mut driver, _) = counted(COUNTING);
    let same = upgraded(&driver, COUNTING, |count| Ok(Some(count)));
    let live = live(&mut driver).rebind(&same).expect("it holds the same");
    assert_eq!((live.machine.open_groups(), live.sequence), (2, 1));
    // The same version writes what it reads.
    let wrote = [("count".parse().expect("a name"), Digest::of(b"new"))].into();
    assert!(migrating(&same, &wrote).is_empty());
}

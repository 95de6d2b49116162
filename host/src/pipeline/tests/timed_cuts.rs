//! Event time that is final before the last transform: no result depends on where micro-batches were cut.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::harness::Driver;
use super::sift::{BACK_MS, read};
use super::timed_after::{SIFTING, as_before};

/// What the pipeline must come to, computed the simple way: rows partition by partition, each judged by what transformed the
/// place before it did, windows closed at the end by the least watermark.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    out: Vec<String>,
    late: Vec<String>,
    side: Vec<String>,
    dead: usize,
}

fn is_believed(time: i64) -> bool {
    time > i64::MIN && time <= 500
}

fn expected(inputs: &[Vec<String>]) -> Expected {
    let mut expected = Expected::default();
    let mut counts: BTreeMap<(i64, String), u64> = BTreeMap::new();
    let mut watermarks = Vec::new();
    for values in inputs {
        let mut newest: Option<i64> = None;
        for part in values.iter().flat_map(|value| value.split(';')) {
            let (time, key, deed) = read(part);
            let arrives = match deed {
                "lost" | "gone" => 0,
                "away" | "side" => {
                    expected.side.push(part.to_owned());
                    0
                }
                "refused" | "trap" => {
                    expected.dead += 1;
                    0
                }
                "twin" => 2,
                _ => 1,
            };
            let with = if deed == "back" { time.saturating_sub(BACK_MS) } else { time };
            let start = with.div_euclid(10).saturating_mul(10);
            for _ in 0..arrives {
                if !is_believed(with) {
                    expected.dead += 1;
                } else if newest.is_some_and(|newest| start + 9 < newest - 5) {
                    expected.late.push(part.to_owned());
                } else {
                    *counts.entry((start, key.to_owned())).or_default() += 1;
                }
            }
            if !["lost", "away"].contains(&deed) && is_believed(time) {
                newest = newest.max(Some(time));
            }
        }
        watermarks.push(newest.map(|newest| newest - 6));
    }
    let watermark = watermarks.into_iter().min().flatten();
    for ((start, key), count) in counts {
        if watermark.is_some_and(|watermark| start + 9 <= watermark) {
            expected.out.push(format!("{key} {start} {count}"));
        }
    }
    expected.late.sort();
    expected.side.sort();
    expected
}

fn actual(driver: &Driver) -> Expected {
    let sorted = |topic| {
        let mut values = driver.values(topic);
        values.sort();
        values
    };
    Expected {
        out: driver.values("out"),
        late: sorted("late"),
        side: sorted("side"),
        dead: driver.dead_letters().len(),
    }
}

fn record() -> impl Strategy<Value = String> {
    let deed = prop_oneof![
        4 => Just(""),
        8 => Just(" gone"),
        1 => proptest::sample::select(vec![" lost", " away", " refused", " trap", " side", " back", " twin"]),
    ];
    let time = prop_oneof![40 => -20_i64..100, 1 => Just(501_i64), 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let part = (time, "[abc]", deed).prop_map(|(time, key, deed)| format!("{time} {key}{deed}"));
    proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join(";"))
}

proptest! {
    #[test]
    fn cuts_partitions_and_restarts_change_nothing(
        inputs in proptest::collection::vec(proptest::collection::vec(record(), 0..40), 1..4),
        steps in proptest::collection::vec((proptest::collection::vec(0_usize..8, 3), any::<bool>()), 0..20),
    ) {
        let expected = expected(&inputs);
        let mut whole = Driver::new(SIFTING, &inputs);
        whole.finish().expect("nothing fails the host");
        prop_assert_eq!(&actual(&whole), &expected);

        let mut cut = Driver::new(SIFTING, &inputs);
        for (take, crash) in steps {
            cut.step(&take[..inputs.len()]).expect("nothing fails the host");
            if crash {
                cut = cut.crash(SIFTING);
            }
        }
        cut.finish().expect("nothing fails the host");
        prop_assert_eq!(&actual(&cut), &expected);
    }

    /// What fires before a row, with the watermark at its place, comes as it does when rows come one by one.
    #[test]
    fn sessions_that_fire_again_do_not_depend_on_cuts(
        records in proptest::collection::vec(record(), 0..60),
        steps in proptest::collection::vec((0_usize..8, any::<bool>()), 0..20),
        early in any::<bool>(),
    ) {
        let early = if early { ", early = \"7ms\"" } else { "" };
        let manifest = SIFTING
            .replace("plugin = \"count\"", "plugin = \"collect\"")
            .replace("tumbling = \"10ms\"", &format!("session = \"10ms\", lateness = \"20ms\"{early}"));
        let sorted = |driver: &Driver| {
            let mut timed = driver.timed("out");
            timed.sort();
            (timed, actual(driver).late, driver.dead_letters().len(), driver.machine.watermark())
        };
        let mut single = Driver::new(&manifest, std::slice::from_ref(&records));
        for _ in &records {
            single.step(&[1]).expect("nothing fails the host");
        }
        single.finish().expect("nothing fails the host");
        let mut cut = Driver::new(&manifest, &[records]);
        for (take, crash) in steps {
            cut.step(&[take]).expect("nothing fails the host");
            if crash {
                cut = cut.crash(&manifest);
            }
        }
        cut.finish().expect("nothing fails the host");
        prop_assert_eq!(sorted(&cut), sorted(&single));
    }

    /// What a step passes on as it was, it may as well not be there for.
    #[test]
    fn a_step_that_drops_nothing_may_stand_behind_the_place_or_before_it(
        inputs in proptest::collection::vec(proptest::collection::vec(record(), 0..40), 1..3),
    ) {
        let keep = |record: &String| record.replace(" gone", "").replace(" back", "").replace(" side", "");
        let keep = |record: &String| keep(record).replace(" refused", "").replace(" trap", "");
        let inputs: Vec<Vec<String>> = inputs.iter().map(|records| records.iter().map(keep).collect()).collect();
        let come_to = |manifest: &str| {
            let mut driver = Driver::new(manifest, &inputs);
            driver.finish().expect("nothing fails the host");
            (actual(&driver), driver.machine.watermark())
        };
        let before = come_to(&as_before());
        prop_assert_eq!(&come_to(SIFTING), &before);
        prop_assert_eq!(&come_to(&SIFTING.replace("after = \"spread\"", "after = \"sift\"")), &before);
    }
}

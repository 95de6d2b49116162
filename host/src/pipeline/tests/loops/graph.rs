//! An identity graph by a loop: the least name of all that a node is connected with.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{CRASHES, driver, feed, put, rows, run, values};
use crate::log::partition_of;
use crate::pipeline::Take;
use crate::pipeline::driver::Driver;
use crate::record::Batch;

pub(super) const GRAPH: &str = r#"
name = "p"
[source]
topics = ["edges", "merges"]
[loop]
topic = "merges"
rounds = 100
[[steps]]
name = "link"
plugin = "link"
only = ["edges"]
[[steps]]
name = "unite"
plugin = "unite"
outputs = { again = "merges" }
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;

/// The least name of each component, by a union-find.
fn components(edges: &[(u8, u8)]) -> BTreeMap<String, String> {
    let mut parent: BTreeMap<u8, u8> = BTreeMap::new();
    fn find(parent: &BTreeMap<u8, u8>, of: u8) -> u8 {
        match parent[&of] {
            up if up == of => of,
            up => find(parent, up),
        }
    }
    for &(one, other) in edges {
        parent.entry(one).or_insert(one);
        parent.entry(other).or_insert(other);
        let (one, other) = (find(&parent, one), find(&parent, other));
        parent.insert(one.max(other), one.min(other));
    }
    parent.keys().map(|&node| (named(node), named(find(&parent, node)))).collect()
}

fn named(node: u8) -> String {
    format!("n{node:03}")
}

/// What was last said of each key; it only ever becomes less.
fn least(driver: &Driver) -> BTreeMap<String, String> {
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for (key, value, _) in rows(driver, "out") {
        if let Some(before) = last.insert(key, value.clone()) {
            assert!(value <= before, "{value} after {before}");
        }
    }
    last
}

fn edge(&(one, other): &(u8, u8)) -> String {
    format!("{} {}", named(one), named(other))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The identity graph: all edges at once or one after the other, with crashes and going back, the components are those
    /// of a union-find.
    #[test]
    fn connected_names_find_each_other(
        edges in proptest::collection::vec((0..30_u8, 0..30_u8), 1..40),
        partitions in prop_oneof![Just(1), Just(4)],
        live in any::<bool>(),
        size in prop_oneof![Just(1_usize), Just(4), Just(1000)],
        crashes in proptest::collection::vec((0..3_usize, 0..30_u32), 0..4),
        back in proptest::option::of(0..20_u32),
    ) {
        let mut driver = driver(GRAPH, partitions);
        let take = Take::Records(size);
        let mut checkpoint = None;
        for (number, edge) in edges.iter().map(edge).enumerate() {
            feed(&mut driver, "edges", &[&edge]);
            if live {
                run(&mut driver, &take);
            }
            if back == Some(number as u32) {
                driver.step(&take).expect("the host is well");
                checkpoint = Some(driver.checkpoint().expect("the log answers"));
            }
        }
        let mut steps = 0;
        loop {
            let due = crashes.iter().find(|(_, at)| *at == steps);
            let more = match due {
                Some((crash, _)) => driver.crash(CRASHES[*crash], &take).expect("it starts again") | driver.step(&take).expect("the host is well"),
                None => driver.step(&take).expect("the host is well"),
            };
            if !more {
                break;
            }
            steps += 1;
            prop_assert!(steps < 10_000, "it comes to no end");
        }
        prop_assert_eq!(least(&driver), components(&edges));
        prop_assert_eq!(values(&driver, "dead"), Vec::<String>::new());
        if let Some(checkpoint) = checkpoint {
            let before = rows(&driver, "out").len();
            driver.restore(checkpoint).expect("it can be restored");
            run(&mut driver, &take);
            // What was written since stays there; what is written now says the same in the end.
            let mut again: BTreeMap<String, String> = BTreeMap::new();
            rows(&driver, "out").into_iter().for_each(|(key, value, _)| { again.insert(key, value); });
            prop_assert_eq!(again, components(&edges), "after {} rows", before);
        }
    }
}

#[test]
fn a_bound_that_is_too_small_for_the_graph_is_named() {
    // A way of twelve names: the least has to go eleven times.
    let way: Vec<(u8, u8)> = (0..11).map(|node| (node, node + 1)).collect();
    let manifest = GRAPH.replace("rounds = 100", "rounds = 5");
    let mut bounded = driver(&manifest, 4);
    for edge in way.iter().map(edge) {
        feed(&mut bounded, "edges", &[&edge]);
    }
    run(&mut bounded, &Take::Arrived);
    let letters = rows(&bounded, "dead");
    let codes: BTreeSet<_> = letters.iter().map(|(_, _, headers)| headers["millstream.code"].as_str()).collect();
    assert_eq!(codes, BTreeSet::from(["loop_rounds"]));
    assert!(
        letters
            .iter()
            .all(|(_, _, headers)| headers["millstream.reason"].ends_with("in round 6, the limit of `rounds` is 5"))
    );
    assert_eq!(bounded.status().expect("a status").usage.dead_letters, letters.len() as u64);
    assert_ne!(least(&bounded), components(&way));
    // What did not go on is in the dead letters: sent again without its headers, it does.
    let mut sent = 0;
    while sent < rows(&bounded, "dead").len() {
        for (key, value, _) in rows(&bounded, "dead").split_off(sent) {
            sent += 1;
            let mut row = Batch::default();
            row.push(0, Some(key.as_bytes()), Some(value.as_bytes()));
            put(&mut bounded, "merges", partition_of(key.as_bytes(), 4), row.view());
        }
        run(&mut bounded, &Take::Arrived);
    }
    assert_eq!(least(&bounded), components(&way));
}

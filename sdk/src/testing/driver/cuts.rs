//! Holds runs of one test against each other that differ in what no result may depend on.

use std::collections::BTreeMap;

use super::{Crash, Setup, TestDriver, TopicRow};

/// Sizes of micro-batches: one record, those in which a pair or a group falls apart in different places, and many.
const SIZES: [usize; 4] = [1, 2, 3, 7];

impl Setup {
    /// Runs the test as it is, then with micro-batches of several sizes, then with the server dying in each of them, before
    /// its commit and after. What the pipeline wrote must be the same: in the same order where a key's rows came by one
    /// partition, and in any where they came by several.
    ///
    /// How the rows of several partitions alternate does depend on the cuts, and a keyed plugin may see by it how far event
    /// time has come. Test such a pipeline with one partition.
    ///
    /// # Panics
    /// If it is not, or if the pipeline cannot be deployed.
    #[track_caller]
    pub fn check_cuts(&self, test: impl Fn(&mut TestDriver)) {
        let run = |size: Option<usize>, crashing: Option<Crash>| {
            let mut driver = self.start().unwrap_or_else(|refused| panic!("{refused}"));
            driver.crashing = crashing;
            if let Some(size) = size {
                driver.batch_size(size);
            }
            test(&mut driver);
            driver.run();
            written(&driver)
        };
        let whole = run(None, None);
        for size in SIZES {
            for crashing in [None, Some(Crash::BeforeCommit), Some(Crash::AfterCommit)] {
                let other = run(Some(size), crashing);
                for (topic, rows) in &whole {
                    let died = crashing.map_or(String::new(), |crash| format!(" and a crash in each ({crash:?})"));
                    assert_eq!(
                        other.get(topic),
                        Some(rows),
                        "topic `{topic}` depends on how batches are cut: with {size} records each{died} (left), as they came (right)"
                    );
                }
            }
        }
    }
}

/// What is in the topics that the pipeline writes, in an order that does not depend on what it may depend on: how keys
/// alternate, and how partitions do.
#[track_caller]
fn written(driver: &TestDriver) -> BTreeMap<String, Vec<TopicRow>> {
    let targets = driver.driver.spec().targets();
    let rows = |topic: &str| {
        let mut rows = driver.all(topic);
        match driver.driver.inputs().len() {
            1 => rows.sort_by(|left, right| (left.partition, &left.key).cmp(&(right.partition, &right.key))),
            _ => rows.sort(),
        }
        rows
    };
    targets.iter().map(|topic| (topic.to_string(), rows(topic.as_str()))).collect()
}

//! What the plain computation says, and where it says that it cannot know.

use super::*;

/// A pipeline that collects what is in windows.
fn collecting(window: &str, disorder_ms: u64) -> Spec {
    let manifest = format!(
        "name = \"p\"\n[source]\ntopics = [\"in\"]\n[watermark]\ndisorder = \"{disorder_ms}ms\"\n[[steps]]\nname = \"only\"\n\
         plugin = \"collect\"\nwindow = {{ {window} }}\n[output]\ntopic = \"out\"\n"
    );
    manifest.parse().expect("a manifest")
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition { topic: "in".parse().expect("a name"), partition }
}

fn row(time: i64, key: &str, value: &str) -> Row {
    Row { time, key: Some(key.to_owned()), value: value.to_owned() }
}

/// Ten keys with a row each in the window from 0 and in that from 1000, and a row that brings both to their end.
fn due() -> (Read, Vec<Row>) {
    let mut rows = Vec::new();
    let mut results = Vec::new();
    for window in [0, 1000] {
        for key in 0..10 {
            rows.push(row(window, &format!("k{key}"), &format!("{}", window + key)));
            results.push(row(window + 999, &format!("k{key}"), &format!("{window} {}", window + key)));
        }
    }
    rows.push(row(9000, "end", "1"));
    (Read::from([(at(0), rows)]), results)
}

fn compared(end: End, spec: &Spec, results: &[Row]) -> Result<(), String> {
    compare(spec, &due().0, Some(false), end, &Output { results: results.to_vec(), ..Output::default() })
}

#[test]
fn what_was_stopped_amid_due_windows_lacks_the_last_ones_and_no_others() {
    let (tumbling, (_, all)) = (collecting("tumbling = \"1s\"", 0), due());
    let cut = End::MayBeCut { last: SMALL.closing_groups };
    for count in 0..=all.len() {
        compared(cut, &tumbling, &all[..count]).expect("these came first");
    }
    compared(End::Whole, &tumbling, &all).expect("all of it");
    compared(End::Whole, &tumbling, &all[..19]).expect_err("at rest nothing is missing");
    let without = |place: usize| [&all[..place], &all[place + 1..15]].concat();
    compared(cut, &tumbling, &without(3)).expect_err("an earlier window of another key");
    compared(cut, &tumbling, &without(13)).expect_err("the same window of an earlier key");
    compared(cut, &tumbling, &without(0)).expect_err("the first of all");
}

#[test]
fn a_commit_that_had_room_for_more_has_left_nothing_behind() {
    let (tumbling, (_, all)) = (collecting("tumbling = \"1s\"", 0), due());
    let room = End::MayBeCut { last: SMALL.closing_groups - 1 };
    compared(room, &tumbling, &all).expect("all of it");
    compared(room, &tumbling, &all[..15]).expect_err("there was room for one more");
    // Where windows may be done with without a result, how many came says nothing.
    let late = collecting("tumbling = \"1s\", lateness = \"1s\"", 0);
    compared(room, &late, &all[..15]).expect("these came first");
}

#[test]
fn a_result_that_nothing_explains_is_never_taken_for_one_that_came_early() {
    let (tumbling, (_, all)) = (collecting("tumbling = \"1s\"", 0), due());
    let mut twice = all[..8].to_vec();
    twice.push(all[2].clone());
    let cut = End::MayBeCut { last: SMALL.closing_groups };
    compared(cut, &tumbling, &twice).expect_err("one came twice");
    let mut other = all[..8].to_vec();
    other[7].value.push_str(",9");
    compared(cut, &tumbling, &other).expect_err("one has what is not in it");
}

#[test]
fn what_comes_late_has_no_known_session() {
    let spec = collecting("session = \"100ms\"", 1000);
    let read = |times: [i64; 3]| {
        Read::from([(at(0), times.iter().map(|&time| row(time, "k", &time.to_string())).collect::<Vec<_>>())])
    };
    assert!(windows(&spec, &read([5000, 4000, 4001])).is_ok());
    let unknown = windows(&spec, &read([5000, 4000, 3998])).expect_err("nobody knows");
    assert!(unknown.contains("3998"), "{unknown}");
}

/// By two partitions, whichever is read first: what a row says that begins where a session ends.
#[test]
fn rows_just_a_gap_apart_are_one_session_if_that_was_open_where_the_later_came() {
    let spec = collecting("session = \"100ms\"", 1000);
    let read = |later: &[i64]| {
        let rows = |times: &[i64]| times.iter().map(|time| row(*time, "k", &time.to_string())).collect::<Vec<_>>();
        Read::from([(at(0), rows(&[1000, 90_000])), (at(1), rows(later))])
    };
    let first = |later: &[i64]| {
        let given = windows(&spec, &read(later)).expect("none is late").results;
        given.into_iter().next().expect("a session").value
    };
    assert_eq!(first(&[1100, 90_000]), "1000 1000,1100");
    assert_eq!(first(&[2100, 1100, 90_000]), "1000 1000", "by 2100 all before 1100 is complete");
    assert_eq!(first(&[1100, 2100, 1100, 90_000]), "1000 1000,1100,1100", "one of the two says so");
}

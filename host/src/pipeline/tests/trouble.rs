//! Rows and plugins that fail.

use super::harness::{COUNTING, Driver};
use crate::error::Coded;
use crate::pipeline::Error;

fn values(values: &[&str]) -> Vec<Vec<String>> {
    vec![values.iter().map(|value| (*value).to_owned()).collect()]
}

#[test]
fn a_poisonous_row_becomes_a_dead_letter_and_its_neighbours_are_processed_once() {
    let mut rows: Vec<String> = (0..100).map(|n| format!("{} a", n / 10)).collect();
    rows[37] = "trap".to_owned();
    rows.push("99 end".to_owned());
    let mut driver = Driver::new(COUNTING, &[rows]);
    driver.finish().expect("the host is well");
    assert_eq!(driver.values("out"), ["a 0 99"]);
    let letters = driver.dead_letters();
    assert_eq!(letters.len(), 1);
    let expected = [
        ("tenant", "default"),
        ("pipeline", "p"),
        ("step", "parse"),
        ("plugin", "parse"),
        ("code", "trap_unreachable"),
        ("reason", "it fell"),
        ("backtrace", "f"),
        ("topic", "in"),
        ("partition", "0"),
        ("offset", "37"),
    ];
    for (name, value) in expected {
        assert_eq!(letters[0].get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(letters[0]["digest"].starts_with("sha256:"));
    assert_eq!(driver.values("dead"), ["trap"], "the source record's bytes");
    assert!(driver.machine.usage_mut().failed_calls > 5);
}

#[test]
fn a_failure_among_many_rows_is_looked_for_in_fewer_and_no_result_changes() {
    let row = |n: i32, poison: &str| if n % 900 == 700 { poison.to_owned() } else { format!("{} a", n / 10) };
    let rows = |poison: &str| (0..5000).map(|n| row(n, poison)).collect::<Vec<_>>();
    let mut driver = Driver::new(COUNTING, &[rows("trap")]);
    driver.finish().expect("the host is well");
    assert!(driver.retreats > 1);
    let mut without = Driver::new(COUNTING, &[rows("bad")]);
    without.finish().expect("the host is well");
    assert_eq!(without.retreats, 0);
    assert_eq!(driver.values("out"), without.values("out"));
    assert_eq!(driver.dead_letters().len(), 5);
    let (usage, calm) = (*driver.machine.usage_mut(), *without.machine.usage_mut());
    assert_eq!((usage.records_in, usage.dead_letters, usage.late), (calm.records_in, calm.dead_letters, calm.late));
}

#[test]
fn a_rejected_row_becomes_a_dead_letter_with_the_plugins_reason() {
    let mut driver = Driver::new(COUNTING, &values(&["1 a", "bad thing", "2 bad", "99 end"]));
    driver.finish().expect("the host is well");
    let letters = driver.dead_letters();
    let field = |name: &str| letters.iter().map(|letter| letter[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("code"), ["no-time", "no-count"]);
    assert_eq!(field("step"), ["parse", "count"]);
    assert_eq!(field("offset"), ["1", "2"]);
    assert_eq!(driver.values("dead"), ["bad thing", "2 bad"]);
    assert_eq!(driver.values("out"), ["a 0 1"], "a rejected row opens no window");
}

#[test]
fn a_window_that_cannot_be_finished_is_a_dead_letter_and_the_others_are_not() {
    let mut driver = Driver::new(COUNTING, &values(&["1 a", "2 poison", "3 z", "99 end"]));
    driver.finish().expect("the host is well");
    assert_eq!(driver.values("out"), ["a 0 1", "z 0 1"]);
    let letters = driver.dead_letters();
    assert_eq!((letters[0]["window-start"].as_str(), letters[0]["window-end"].as_str()), ("0", "10"));
}

#[test]
fn a_failure_of_the_host_ends_the_micro_batch_and_nothing_is_lost() {
    let mut driver = Driver::new(COUNTING, &values(&["1 a", "host", "99 end"]));
    driver.step(&[1]).expect("the first row is good");
    let error = driver.step(&[1]).expect_err("the host fails");
    assert!(matches!(error, Error::Call { .. }), "{error}");
    let mut driver = driver.crash(COUNTING);
    assert_eq!(driver.machine.open_groups(), 1);
    assert!(driver.step(&[1]).is_err(), "it waits at the same row");
}

#[test]
fn very_many_poisonous_rows_in_a_row_are_noticed() {
    let mut driver = Driver::new(COUNTING, &values(&["trap"; 20]));
    driver.step(&[12]).expect("the host is well");
    driver.step(&[8]).expect("the host is well");
    assert!(driver.machine.take_poisoned(21).is_none());
    let (step, failure) = driver.machine.take_poisoned(20).expect("twenty in a row");
    assert_eq!((step.as_str(), failure.code), ("parse", "trap_unreachable"));
    assert!(driver.machine.take_poisoned(1).is_none(), "counting begins anew");
}

#[test]
fn times_at_the_ends_of_i64_are_dead_letters_and_do_not_move_time() {
    let rows = [format!("{} a", i64::MAX), format!("{} a", i64::MIN), "1 a".to_owned(), "99 end".to_owned()];
    let mut driver = Driver::new(COUNTING, &[rows.to_vec()]);
    driver.finish().expect("the host is well");
    assert_eq!(driver.values("out"), ["a 0 1"]);
    assert_eq!(
        driver.dead_letters().iter().map(|letter| letter["code"].as_str()).collect::<Vec<_>>(),
        ["timestamp_out_of_range", "timestamp_out_of_range"]
    );
}

#[test]
fn state_of_another_window_size_is_refused() {
    let mut driver = Driver::new(COUNTING, &values(&["1 a"]));
    driver.step(&[1]).expect("the host is well");
    let blocks = {
        use crate::log::CommitLog as _;
        driver.log.recover(&crate::ids::default_tenant(), super::harness::TASK).expect("the log answers").blocks
    };
    for (from, to, reason) in [
        ("10ms", "20ms", "its state was: tumbling of 10 ms from 0 ms; now it is: tumbling of 20 ms from 0 ms"),
        ("name = \"count\"", "name = \"views\"", "there is no such step with state"),
    ] {
        let mut other = Driver::new(&COUNTING.replace(from, to), &values(&[]));
        let mut read = blocks.iter().map(|(number, block)| other.machine.recover(*number, block));
        let error = read.find_map(Result::err).expect("the state is another's");
        assert_eq!(error.code(), "state_conflict");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

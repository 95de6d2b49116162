//! Configurations at work, and the errors of those that make no sense.

use super::*;
use millstream_sdk::serde_json;
use testing::{FROM_TIMER, Input, Keyed, Outcome, keyed, plugin};

fn pattern(config: &str) -> PatternRows {
    plugin(config).unwrap_or_else(|error| panic!("{config}: {error}"))
}

/// Three large payments within five minutes.
fn large(more: &str, settings: &str) -> PatternRows {
    pattern(&format!(
        r#"{{"stages": [{{"name": "large", "where": "amount > 1000", "times": 3{more}}}], "within_ms": 300000{settings}}}"#
    ))
}

fn pay(amount: u32, time: i64) -> Input {
    Input::value(format!(r#"{{"id": "p{time}", "amount": {amount}}}"#)).key("card").at(time)
}

fn run_over<'p>(pattern: &'p PatternRows, payments: &[(u32, i64)]) -> Keyed<'p, PatternRows> {
    let mut run = keyed(pattern);
    payments.iter().for_each(|&(amount, time)| run.row(pay(amount, time)));
    run
}

/// The times of each row of an output, and its event time.
fn times(out: &Outcome, output: &str) -> Vec<(Vec<i64>, i64)> {
    let times = |events: &serde_json::Value| {
        let events = events.as_array().expect("events are a list").iter();
        events.map(|event| event["time"].as_i64().expect("an event has a time")).collect()
    };
    out.output(output).map(|row| (times(&row.json()["events"]), row.timestamp)).collect()
}

#[test]
fn three_large_payments_within_five_minutes_are_a_match() {
    let pattern = large("", r#", "skip": "past_last", "fields": ["id", "user.name"]"#);
    let mut run = run_over(&pattern, &[(1_500, 20), (2_000, 0), (5, 5), (1_001, 40)]);
    run.watermark(40);
    let out = run.end();
    let event = |time| format!(r#"{{"stage":"large","time":{time},"fields":{{"id":"p{time}","user.name":null}}}}"#);
    let expected =
        format!(r#"{{"key":"card","start":0,"end":40,"events":[{},{},{}]}}"#, event(0), event(20), event(40));
    assert_eq!(out.values(), [expected]);
    let row = &out.rows[0];
    assert_eq!((row.output, row.source, row.key_text(), row.timestamp), ("matched", FROM_TIMER, "card".into(), 40));
}

#[test]
fn repetitions_and_skips_are_what_the_configuration_says() {
    let payments = [(1_500, 0), (10, 5), (1_500, 10), (1_500, 20), (1_500, 30)];
    for (repeat, skip, expected) in [
        ("strict", "past_last", vec![vec![10, 20, 30]]),
        ("relaxed", "no_skip", vec![vec![0, 10, 20], vec![10, 20, 30]]),
        ("relaxed", "past_last", vec![vec![0, 10, 20]]),
        ("relaxed", "to_next", vec![vec![0, 10, 20], vec![10, 20, 30]]),
        ("any", "no_skip", vec![vec![0, 10, 20], vec![0, 10, 30], vec![0, 20, 30], vec![10, 20, 30]]),
    ] {
        let pattern = large(&format!(r#", "repeat": "{repeat}""#), &format!(r#", "skip": "{skip}""#));
        let mut run = run_over(&pattern, &payments);
        run.watermark(30);
        let found: Vec<Vec<i64>> = times(&run.end(), "matched").into_iter().map(|(times, _)| times).collect();
        assert_eq!(found, expected, "{repeat}, {skip}");
    }
}

#[test]
fn what_times_out_and_what_is_late_have_outputs_of_their_own() {
    let pattern = large("", "");
    let mut run = run_over(&pattern, &[(1_500, 0), (1_500, 50_000)]);
    run.watermark(299_999);
    run.row(pay(5, 299_999));
    assert!(run.rows().iter().all(|row| row.output == "late"));
    run.watermark(350_000);
    let out = run.end();
    assert_eq!(times(&out, "timed-out"), [(vec![0, 50_000], 300_000), (vec![50_000], 350_000)]);
    let late: Vec<String> = out.output("late").map(|row| row.value_text()).collect();
    assert_eq!(late, [r#"{"id": "p299999", "amount": 5}"#]);
}

#[test]
fn stages_follow_one_another_with_what_must_not_come_between() {
    let pattern = pattern(
        r#"{"stages": [
            {"name": "order", "where": "kind = 'order'"},
            {"name": "cancel", "where": "kind = 'cancel'", "not": true},
            {"name": "view", "where": "kind = 'view'", "at_least": 1, "at_most": 2, "optional": true, "contiguity": "any"},
            {"name": "pay", "where": "kind = 'pay' and timestamp > 0", "contiguity": "strict"}
        ], "within_ms": 100, "skip": {"to_last": "pay"}}"#,
    );
    let mut run = keyed(&pattern);
    let kinds = ["order", "view", "pay", "order", "cancel", "view", "pay", "order", "pay"];
    for (kind, time) in kinds.into_iter().zip(1..) {
        run.row(Input::value(format!(r#"{{"kind": "{kind}"}}"#)).at(time));
    }
    run.watermark(50);
    let out = run.end();
    assert_eq!(times(&out, "matched"), [(vec![1, 2, 3], 3), (vec![8, 9], 9)]);
    assert_eq!(out.rows[0].json()["key"], serde_json::Value::Null);
}

#[test]
fn a_key_with_too_many_partial_matches_begins_anew_and_says_so() {
    let pattern = large(r#", "repeat": "any""#, r#", "partial_matches_max": 5"#);
    let mut run = run_over(&pattern, &[(2_000, 0), (2_000, 1), (2_000, 2)]);
    run.watermark(300_000);
    let out = run.end();
    let overflow = r#"{"key":"card","time":2,"limit":"partial_matches_max","value":5,"used":6}"#;
    assert_eq!(out.output("overflow").map(|row| row.value_text()).collect::<Vec<_>>(), [overflow]);
    assert_eq!((out.counters["overflows"], times(&out, "timed-out").len()), (1, 0));
}

#[test]
fn rows_that_cannot_be_matched_are_rejected() {
    let pattern = large("", r#", "events_max": 1"#);
    let mut run = run_over(&pattern, &[(2_000, 1), (2_000, 2)]);
    run.row(Input::null().key("card").at(3));
    for value in ["[]", "{"] {
        run.row(Input::value(value).key("card").at(3));
    }
    assert_eq!(run.end().codes(), ["too-many-events", "null-value", "not-an-object", "invalid-json"]);
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let stage = |more: &str| format!(r#"{{"stages": [{{"name": "a", "where": "x = 1"{more}}}]}}"#);
    let second = |more: &str| {
        format!(r#"{{"stages": [{{"name": "a", "where": "x = 1"}}, {{"name": "b", "where": "x = 2"{more}}}]}}"#)
    };
    for (config, message) in [
        ("{}".to_owned(), "missing field `stages`"),
        (r#"{"stages": []}"#.to_owned(), "`stages` is empty"),
        (r#"{"stages": [{"name": "a", "where": "x ="}]}"#.to_owned(), "`stages[0].where`, column 4: expected"),
        (r#"{"stages": [{"name": "", "where": "x"}]}"#.to_owned(), "stage 1 has no name"),
        (stage(r#", "time": 3"#), "unknown field `time`"),
        (stage(r#", "times": 2, "at_least": 1"#), "it is one of them"),
        (stage(r#", "at_least": 3, "at_most": 2"#), "comes 3 to 2 times"),
        (stage(r#", "times": 0"#), "comes 0 to 0 times"),
        (stage(r#", "repeat": "any""#), "comes once"),
        (stage(r#", "contiguity": "strict""#), "is the first one"),
        (stage(r#", "not": true"#), "nothing has come before it"),
        (second(r#", "not": true"#), "only ends with the time"),
        (second(r#", "not": true, "contiguity": "any""#), "for which `contiguity` has no meaning"),
        (second(r#", "contiguity": "loose""#), "unknown variant `loose`"),
        (r#"{"stages": [{"name": "a", "where": "x"}], "fields": ["b", "b"]}"#.to_owned(), "named twice"),
        (r#"{"stages": [{"name": "a", "where": "x"}], "within_ms": 0}"#.to_owned(), "less than 1 ms"),
        (r#"{"stages": [{"name": "a", "where": "x"}], "skip": {"to_first": "b"}}"#.to_owned(), "names the stage `b`"),
        (r#"{"stages": [{"name": "a", "where": "x"}], "partial_matches_max": 0}"#.to_owned(), "1 at least"),
    ] {
        let error = plugin::<PatternRows>(&config).expect_err(message);
        assert!(error.contains(message), "{config}: {error}");
    }
}

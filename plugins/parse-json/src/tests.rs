//! Rows through the plugin.

use super::*;
use testing::{Outcome, plugin, run};

fn parse(config: &str, row: &str) -> Outcome {
    let plugin = plugin::<ParseJson>(config).expect("the configuration fits");
    run(&plugin, [row])
}

fn code(config: &str, row: &str) -> String {
    parse(config, row).rejected.first().map(|rejected| rejected.code.clone()).unwrap_or_default()
}

#[test]
fn rows_pass_unchanged_where_nothing_is_chosen() {
    let out = parse("{}", r#" {"a": [1,  2]} "#);
    assert_eq!(out.values(), [r#" {"a": [1,  2]} "#]);
    assert_eq!((out.rows[0].output, out.rows[0].timestamp), ("parsed", 0));
}

#[test]
fn chosen_fields_keep_their_place_and_their_text() {
    let config = r#"{"fields": ["user.id", "n", "user.name"]}"#;
    let row = r#"{"n": 1.50, "x": {"y": 1}, "user": {"name": "A \"q\"", "id": [1, {"a": 2}], "age": 3}}"#;
    assert_eq!(parse(config, row).values(), [r#"{"user":{"id":[1, {"a": 2}],"name":"A \"q\""},"n":1.50}"#]);
}

#[test]
fn a_missing_field_rejects_is_null_or_is_left_out() {
    let row = r#"{"a": 1}"#;
    assert_eq!(code(r#"{"fields": ["a", "b.c"]}"#, row), "missing-field");
    assert_eq!(parse(r#"{"fields": ["a", "b"], "missing": "null"}"#, row).values(), [r#"{"a":1,"b":null}"#]);
    assert_eq!(parse(r#"{"fields": ["b", "a"], "missing": "omit"}"#, row).values(), [r#"{"a":1}"#]);
}

#[test]
fn the_key_is_the_text_of_a_field() {
    for (field, key) in [(r#""a\u00e4""#, "aä"), ("12.0", "12.0"), ("true", "true"), ("false", "false")] {
        let out = parse(r#"{"key": "k"}"#, &format!(r#"{{"k": {field}}}"#));
        assert_eq!(out.rows[0].key_text(), key);
    }
    assert_eq!(code(r#"{"key": "k"}"#, r#"{"k": {}}"#), "bad-key");
    assert_eq!(code(r#"{"key": "k"}"#, r#"{"k": null}"#), "missing-field");
    assert_eq!(code(r#"{"key": "k"}"#, "{}"), "missing-field");
}

#[test]
fn the_event_time_is_read_in_each_format() {
    let time = |format: &str, field: &str| {
        let config = format!(r#"{{"timestamp": {{"field": "t", "format": "{format}"}}}}"#);
        parse(&config, &format!(r#"{{"t": {field}}}"#)).rows.first().map(|row| row.timestamp)
    };
    assert_eq!(time("ms", "-5"), Some(-5));
    assert_eq!(time("ms", r#""1700000000123""#), Some(1_700_000_000_123));
    assert_eq!(time("ms", "1.6"), Some(2));
    assert_eq!(time("s", "1700000000"), Some(1_700_000_000_000));
    assert_eq!(time("s", "1700000000.001"), Some(1_700_000_000_001));
    assert_eq!(time("rfc3339", r#""1970-01-01T01:00:00+01:00""#), Some(0));
    for (format, field) in [
        ("ms", "1e300"),
        ("s", "9223372036854775807"),
        ("ms", r#""now""#),
        ("ms", "[]"),
        ("rfc3339", "1"),
        ("rfc3339", r#""1970""#),
    ] {
        assert_eq!(time(format, field), None, "{format} {field}");
    }
    assert_eq!(code(r#"{"timestamp": {"field": "t"}}"#, r#"{"t": "soon"}"#), "bad-timestamp");
    assert_eq!(code(r#"{"timestamp": {"field": "t"}}"#, r#"{"u": 1}"#), "missing-field");
}

#[test]
fn one_field_may_serve_for_everything() {
    let config = r#"{"fields": ["t"], "key": "t", "timestamp": {"field": "t", "format": "ms"}}"#;
    let out = parse(config, r#"{"t": 7, "u": 8}"#);
    assert_eq!(
        (out.values(), out.rows[0].key_text(), out.rows[0].timestamp),
        (vec![r#"{"t":7}"#.to_owned()], "7".to_owned(), 7)
    );
}

#[test]
fn what_is_no_object_is_rejected_and_its_neighbours_go_on() {
    let plugin = plugin::<ParseJson>("{}").expect("the configuration fits");
    let out = run(&plugin, [&b"{}"[..], b"{", b"[]", b"\xff", b"{\"a\":1}"]);
    assert_eq!(out.codes(), ["invalid-json", "not-an-object", "invalid-utf8"]);
    assert_eq!(out.values(), ["{}", "{\"a\":1}"]);
    assert_eq!(run(&plugin, [testing::Input::null()]).codes(), ["null-value"]);
}

#[test]
fn bad_configurations_are_refused_with_their_reason() {
    for (config, reason) in [
        (r#"{"fields": ["a", "a"]}"#, "names `a` twice"),
        (r#"{"fields": ["a", "a.b"]}"#, "`a.b` and also a field around"),
        (r#"{"fields": ["a.b", "a"]}"#, "`a` and also a field around"),
        (r#"{"fields": ["a..b"]}"#, "empty name"),
        (r#"{"key": ""}"#, "empty name"),
        (r#"{"timestamp": {"field": "t", "format": "us"}}"#, "unknown variant `us`"),
        (r#"{"field": []}"#, "unknown field `field`"),
    ] {
        let error = plugin::<ParseJson>(config).expect_err("it does not fit");
        assert!(error.contains(reason), "{error}");
    }
}

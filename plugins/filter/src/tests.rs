//! Expressions over rows, and the errors of those that cannot be read.

use super::*;
use testing::{Input, Outcome, plugin, run};

const ROW: &str = r#"{"status": 503, "path": "/api/x", "user": {"id": "a\"b", "admin": true, "tags": [1]},
    "ratio": 0.25, "key": "field", "none": null, "big": 9007199254740993, "a-b": 1}"#;

fn filter(condition: &str, more: &str) -> Filter {
    let config = format!(r#"{{"where": {}{more}}}"#, millstream_sdk::serde_json::json!(condition));
    plugin(&config).expect("the expression can be read")
}

fn keeps(condition: &str) -> bool {
    let out = run(&filter(condition, ""), [Input::value(ROW).key("k1").at(-5)]);
    assert!(out.rejected.is_empty(), "{condition}: {:?}", out.rejected);
    out.rows.len() == 1
}

fn refusal(condition: &str) -> String {
    let config = format!(r#"{{"where": {}}}"#, millstream_sdk::serde_json::json!(condition));
    plugin::<Filter>(&config).expect_err("the expression cannot be read")
}

#[test]
fn conditions_that_hold() {
    for condition in [
        "status >= 500",
        "status = 503 and path == '/api/x'",
        "status < 1 or ratio < 0.5",
        "not status < 500",
        "not (status < 500 or user.admin != true)",
        "user.admin",
        "status in [502, 503] and path not in ['/', \"/b\"]",
        "path contains 'api' and path starts_with '/' and path ends_with 'x'",
        "contains(path, 'api') and starts_with(path, '/api') and ends_with(path, '/x')",
        "exists(none) and exists(user.tags) and not exists(user.name)",
        "none = null and missing = null and user.id != null",
        r#"user.id = "a\"b""#,
        "key = 'k1' and exists(key) and timestamp = -5 and timestamp < 0",
        "ratio = 2.5e-1 and status = 503.0 and 503 = status",
        "big = 9007199254740993 and big != 9007199254740992",
        "`a-b` = 1 and `user.admin` and `key` = 'field'",
        "status != 'x' and none in [null]",
        "true and not false",
        "a = 1 or a = 2 and a = 3 or status = 503",
    ] {
        assert!(keeps(condition), "{condition}");
    }
}

#[test]
fn conditions_that_do_not_hold() {
    for condition in [
        "status < 503",
        "status = '503'",
        "path < 5",
        "missing > 0",
        "user > 1",
        "user.tags = 1",
        "status",
        "missing contains 'a'",
        "null",
        "status = 503 and (user.admin = false or ratio > 1)",
        "false or status = 1 and true",
    ] {
        assert!(!keeps(condition), "{condition}");
    }
}

#[test]
fn unreadable_expressions_name_the_column_and_what_was_expected() {
    for (condition, message) in [
        ("", "column 1: expected a field, `key`, `timestamp`, a number or a text, found the end"),
        ("a >", "column 4: expected a field"),
        ("a = = 1", "column 5: expected a field, `key`, `timestamp`, a number or a text, found a comparison"),
        ("a = 1 b", "column 7: expected `and`, `or` or the end, found `b`"),
        ("(a = 1", "column 7: expected `)`, found the end"),
        ("a = 'x", "column 5: the text has no closing quote"),
        ("a in [1, b]", "column 10: expected a number, a text, `true`, `false` or `null`, found `b`"),
        ("a in [1 2]", "column 9: expected `,` or `]`, found the number 2"),
        ("a in 1", "column 6: expected `[`, found the number 1"),
        ("size(a) > 1", "column 1: expected one of the functions"),
        ("exists(1)", "column 8: `exists` takes the path"),
        ("a..b = 1", "column 1: field `a..b` has an empty name"),
        ("a = 1.2.3", "column 5: `1.2.3` is no number"),
        ("a ; b", "column 3: `;` has no meaning here"),
        ("a not 1", "column 7: expected `in`"),
        ("`a = 1", "column 1: the path has no closing backtick"),
        ("a and and b", "column 7: expected a field"),
    ] {
        let error = refusal(condition);
        assert!(error.contains(message), "{condition}: {error}");
        assert!(error.starts_with("bad-expression: `where`, "), "{error}");
    }
}

#[test]
fn nesting_has_a_limit() {
    let nested = |levels: usize| format!("{}a = 1{}", "(".repeat(levels), ")".repeat(levels));
    assert!(!keeps(&nested(64)));
    assert!(refusal(&nested(65)).contains("deeper than 64 levels"));
    assert!(refusal(&"not ".repeat(100_000)).contains("deeper than 64 levels"));
}

fn mixed(more: &str) -> Outcome {
    let rows = [r#"{"a": 1}"#, "no json", r#"{"a": 2}"#, "[]"];
    run(&filter("a = 1", more), rows)
}

#[test]
fn rows_that_do_not_match_are_dropped_or_leave_by_their_own_output() {
    let out = mixed("");
    assert_eq!(out.values(), [r#"{"a": 1}"#]);
    assert_eq!(out.codes(), ["invalid-json", "not-an-object"]);
    let out = mixed(r#", "split": true"#);
    assert_eq!(out.output("matched").count(), 1);
    assert_eq!(out.output("unmatched").map(|row| row.source).collect::<Vec<_>>(), [2]);
}

#[test]
fn rows_that_cannot_be_read_may_be_dropped() {
    let out = mixed(r#", "on_error": "drop""#);
    assert_eq!((out.rows.len(), out.rejected.len(), out.counters["dropped"]), (1, 0, 2));
}

#[test]
fn the_value_is_looked_at_only_if_a_field_is_named() {
    let rows = || [Input::value("no json").key("a"), Input::null().key("b"), Input::null()];
    assert_eq!(run(&filter("key in ['a', 'b']", ""), rows()).rows.len(), 2);
    assert_eq!(run(&filter("a = 1", ""), rows()).codes(), ["invalid-json", "null-value", "null-value"]);
    let not_text = run(&filter("key = 'a'", ""), [Input::null().key(&b"\xff"[..])]);
    assert_eq!(not_text.codes(), ["invalid-utf8"]);
}

#[test]
fn the_configuration_is_checked() {
    let error = plugin::<Filter>(r#"{"when": "a"}"#).expect_err("the key is `where`");
    assert!(error.contains("unknown field `when`, expected one of `where`, `on_error`, `split`"), "{error}");
}

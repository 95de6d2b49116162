use super::*;
use testing::{Input, Outcome, fold, fold_merged, plugin};

const WINDOW: (i64, i64) = (0, 1_000);

fn top(config: &str) -> TopN {
    plugin(config).unwrap_or_else(|error| panic!("{config}: {error}"))
}

fn row(number: f64, time: i64) -> Input {
    Input::value(format!(r#"{{"x": {number:?}, "t": {time}}}"#)).key("k").at(time)
}

fn ranks(out: &Outcome) -> Vec<(u64, f64, i64)> {
    let rank = |row: &testing::Emitted| {
        let json = row.json();
        let number = |name: &str| json[name].as_f64().expect("it is a number");
        (json["rank"].as_u64().expect("it is a rank"), number("number"), number("time") as i64)
    };
    out.rows.iter().map(rank).collect()
}

#[test]
fn the_greatest_rows_come_in_order() {
    let rows = [row(1.0, 1), row(5.0, 2), row(3.0, 3), row(4.0, 4), row(-1.0, 5)];
    let plugin = top(r#"{"field": "x", "count": 3}"#);
    let out = fold(&plugin, WINDOW, rows.clone());
    assert_eq!(ranks(&out), [(1, 5.0, 2), (2, 4.0, 4), (3, 3.0, 3)]);
    assert_eq!(
        out.rows[0].value_text(),
        r#"{"key":"k","start":0,"end":1000,"rank":1,"number":5.0,"time":2,"row":{"x": 5.0, "t": 2}}"#
    );
    assert_eq!((out.rows[0].key_text(), out.rows[0].timestamp), ("k".to_owned(), 999));
    assert_eq!(fold_merged(&plugin, WINDOW, rows.clone()), out);
    let least = fold(&top(r#"{"field": "x", "count": 2, "order": "least"}"#), WINDOW, rows);
    assert_eq!(ranks(&least), [(1, -1.0, 5), (2, 1.0, 1)]);
}

#[test]
fn rows_with_the_same_number_are_in_the_order_of_their_times() {
    let plugin = top(r#"{"field": "x", "count": 2}"#);
    let rows = [row(1.0, 30), row(1.0, 10), row(1.0, 20), row(0.0, 5)];
    let out = fold(&plugin, WINDOW, rows.clone());
    assert_eq!(ranks(&out), [(1, 1.0, 10), (2, 1.0, 20)]);
    assert_eq!(fold_merged(&plugin, WINDOW, rows), out);
}

#[test]
fn rows_of_the_same_number_and_time_stay_as_they_came() {
    let plugin = top(r#"{"field": "x", "count": 2}"#);
    let rows = ["a", "b", "c"].map(|id| Input::value(format!(r#"{{"x": 0.0, "id": "{id}"}}"#)));
    let out = fold(&plugin, WINDOW, rows.clone());
    assert_eq!(out.rows.iter().map(|row| row.json()["row"]["id"].to_string()).collect::<String>(), r#""a""b""#);
    assert_eq!(fold_merged(&plugin, WINDOW, rows), out);
}

#[test]
fn each_group_has_a_top_of_its_own() {
    let plugin = top(r#"{"field": "x", "count": 1, "group": "g"}"#);
    let rows = [(1, r#""a""#), (2, "1"), (3, r#""\u0061""#), (4, "null"), (5, r#""1""#)]
        .map(|(x, group)| Input::value(format!(r#"{{"x": {x}, "g": {group}}}"#)));
    let out = fold(&plugin, WINDOW, rows.clone());
    let groups: Vec<_> =
        out.rows.iter().map(|row| (row.json()["group"].to_string(), row.json()["number"].to_string())).collect();
    let group = |group: &str, number: &str| (group.to_owned(), number.to_owned());
    assert_eq!(groups, [group(r#""1""#, "5.0"), group(r#""a""#, "3.0"), group("1", "2.0"), group("null", "4.0")]);
    assert_eq!(fold_merged(&plugin, WINDOW, rows), out);
}

#[test]
fn rows_without_a_number_or_group_are_rejected() {
    let plugin = top(r#"{"field": "x", "count": 1, "group": "g"}"#);
    let out = fold(
        &plugin,
        WINDOW,
        [
            r#"{"x":1,"g":1}"#,
            r#"{"g":1}"#,
            r#"{"x":null,"g":1}"#,
            r#"{"x":"1","g":1}"#,
            r#"{"x":1}"#,
            r#"{"x":1,"g":[]}"#,
            "[]",
            "{",
        ],
    );
    assert_eq!(
        out.codes(),
        [
            "missing-field",
            "missing-field",
            "not-a-number",
            "missing-field",
            "bad-group",
            "not-an-object",
            "invalid-json"
        ]
    );
    assert_eq!(out.rows.len(), 1);
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    for (config, message) in [
        (r#"{"field": "x"}"#, "missing field `count`"),
        (r#"{"field": "x", "count": 0}"#, "1 to 1000"),
        (r#"{"field": "x", "count": 1001}"#, "1 to 1000"),
        (r#"{"field": "x", "count": 1, "group": "x"}"#, "named twice"),
    ] {
        let error = plugin::<TopN>(config).expect_err(config);
        assert!(error.contains(message), "{config}: {error}");
    }
}

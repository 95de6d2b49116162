use super::*;
use testing::{Input, Keyed, keyed, plugin};

fn join(config: &str) -> Join {
    plugin(config).unwrap_or_else(|error| panic!("{config}: {error}"))
}

fn row(value: &str, time: i64) -> Input {
    Input::value(value).key("k").at(time)
}

fn left_by(run: Keyed<'_, Join>) -> Vec<(&'static str, String, i64)> {
    run.end().rows.iter().map(|row| (row.output, row.value_text(), row.timestamp)).collect()
}

fn left<const N: usize>(rows: [(&'static str, &str, i64); N]) -> Vec<(&'static str, String, i64)> {
    rows.into_iter().map(|(output, value, time)| (output, value.to_owned(), time)).collect()
}

#[test]
fn an_interval_join_pairs_rows_within_its_bounds() {
    let join = join(r#"{"by": {"interval": {"lower_ms": -10, "upper_ms": 10, "upper_inclusive": false}}}"#);
    let mut run = keyed(&join);
    run.row_by(0, row(r#" {"a": 1} "#, 100));
    run.row_by(1, row("[2]", 90));
    run.row_by(1, row("3", 110));
    run.watermark(95);
    run.row_by(0, row("4", 94));
    assert_eq!(left_by(run), left([("joined", r#"{"left":{"a": 1},"right":[2]}"#, 100), ("late", "4", 94)]));
}

#[test]
fn rows_without_a_partner_leave_by_an_output_of_their_own_where_asked_for() {
    let config = |split| {
        format!(r#"{{"by": {{"interval": {{"lower_ms": 0, "upper_ms": 5}}}}, "kind": "full", "split": {split}}}"#)
    };
    for (split, output) in [(true, "unmatched"), (false, "joined")] {
        let join = join(&config(split));
        let mut run = keyed(&join);
        run.row_by(0, row("1", 10));
        run.row_by(1, row("2", 20));
        run.watermark(25);
        let expected = [(output, r#"{"left":1,"right":null}"#, 10), (output, r#"{"left":null,"right":2}"#, 20)];
        assert_eq!(left_by(run), left(expected));
    }
}

#[test]
fn a_window_join_says_the_window() {
    let join = join(r#"{"by": {"window": {"size_ms": 100, "step_ms": 50, "offset_ms": 10}}, "left": 3, "right": 2}"#);
    let mut run = keyed(&join);
    run.row_by(3, row("1", 60));
    run.row_by(2, row("2", 109));
    run.row_by(2, row("3", 30));
    run.watermark(1_000);
    assert_eq!(
        left_by(run),
        left([
            ("joined", r#"{"start":10,"end":110,"left":1,"right":3}"#, 109),
            ("joined", r#"{"start":10,"end":110,"left":1,"right":2}"#, 109),
            ("joined", r#"{"start":60,"end":160,"left":1,"right":2}"#, 159),
        ])
    );
}

#[test]
fn a_table_gives_its_newest_row_until_it_is_deleted() {
    let join = join(r#"{"by": {"latest": {}}, "kind": "left", "split": true}"#);
    let mut run = keyed(&join);
    run.row_by(0, row("1", 5));
    run.row_by(1, row(r#""new""#, 20));
    run.row_by(1, row(r#""old""#, 10));
    run.row_by(0, row("2", 6));
    run.row_by(1, Input::null().key("k").at(30));
    run.row_by(0, row("3", 7));
    assert_eq!(
        left_by(run),
        left([
            ("unmatched", r#"{"left":1,"right":null}"#, 5),
            ("late", r#""old""#, 10),
            ("joined", r#"{"left":2,"right":"new"}"#, 6),
            ("unmatched", r#"{"left":3,"right":null}"#, 7),
        ])
    );
}

#[test]
fn by_arrival_the_last_row_of_a_table_counts() {
    let join = join(r#"{"by": {"latest": {"order": "arrival", "ttl_ms": 100}}}"#);
    let mut run = keyed(&join);
    run.row_by(1, row("20", 20));
    run.row_by(1, row("10", 10));
    run.row_by(0, row("1", 5));
    run.watermark(120);
    run.row_by(0, row("2", 6));
    assert_eq!(left_by(run), left([("joined", r#"{"left":1,"right":10}"#, 5)]));
}

#[test]
fn as_of_rows_wait_for_the_table() {
    let config = |wait| format!(r#"{{"by": {{"as_of": {{"max_age_ms": 50, "wait": {wait}}}}}, "kind": "left"}}"#);
    for (wait, seen) in [(true, "2"), (false, "1")] {
        let join = join(&config(wait));
        let mut run = keyed(&join);
        run.row_by(1, row("1", 10));
        run.row_by(0, row("9", 40));
        run.row_by(1, row("2", 40));
        run.watermark(91);
        run.row_by(0, row("8", 91));
        run.row_by(0, row("7", 90));
        let first = format!(r#"{{"left":9,"right":{seen}}}"#);
        assert_eq!(
            left_by(run),
            left([("joined", &first, 40), ("joined", r#"{"left":8,"right":null}"#, 91), ("late", "7", 90)])
        );
    }
}

#[test]
fn rows_that_cannot_be_joined_are_rejected() {
    let join = join(r#"{"by": {"interval": {"lower_ms": 0, "upper_ms": 5}}}"#);
    let mut run = keyed(&join);
    run.row_by(0, row("{", 1));
    run.row_by(0, row("\u{fffd}", 1));
    run.row_by(1, Input::null().key("k").at(1));
    run.row_by(2, row("1", 1));
    assert_eq!(run.end().codes(), ["invalid-json", "invalid-json", "null-value", "unknown-input"]);
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    for (config, message) in [
        ("{}", "missing field `by`"),
        (r#"{"by": {"interval": {"lower_ms": 5, "upper_ms": 4}}}"#, "bad-interval"),
        (r#"{"by": {"interval": {"lower_ms": 5, "upper_ms": 6, "lower": 1}}}"#, "unknown field `lower`"),
        (r#"{"by": {"window": {"size_ms": 0}}}"#, "bad-window"),
        (r#"{"by": {"window": {"size_ms": 10}}, "left": 1}"#, "both input 1"),
        (r#"{"by": {"window": {"size_ms": 10}}, "split": true}"#, "set `kind`"),
        (r#"{"by": {"latest": {}}, "kind": "full"}"#, "`inner` or `left`"),
    ] {
        let error = plugin::<Join>(config).expect_err(config);
        assert!(error.contains(message), "{config}: {error}");
    }
}

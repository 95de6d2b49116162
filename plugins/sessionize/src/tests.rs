//! What sessions are, and sessions computed from all rows anew.

use super::*;
use millstream_sdk::serde_json::{Value as JsonValue, json};
use proptest::prelude::*;
use testing::{Emitted, FROM_TIMER, Input, Outcome, keyed, plugin};

fn sessionize(config: &str) -> Sessionize {
    plugin(config).unwrap_or_else(|error| panic!("{config}: {error}"))
}

fn row(value: &str, time: i64) -> Input {
    Input::value(value).key("ada").at(time)
}

/// Starts, ends and numbers of rows.
fn spans(out: &Outcome) -> Vec<(i64, i64, u64)> {
    let number = |report: &JsonValue, name: &str| report[name].as_i64().expect("it is a number");
    let span = |row: &Emitted| {
        let report = row.json();
        (number(&report, "start"), number(&report, "end"), report["events"].as_u64().expect("it is a number"))
    };
    out.output("sessions").map(span).collect()
}

#[test]
fn a_session_ends_when_the_watermark_has_passed_its_last_row_and_the_gap() {
    let sessionize = sessionize(r#"{"gap_ms": 100}"#);
    let mut run = keyed(&sessionize);
    for time in [0, 100, 50, 201] {
        run.row(row("x", time));
    }
    run.watermark(198);
    assert_eq!(run.rows(), []);
    run.watermark(199);
    assert_eq!(run.rows().len(), 1);
    run.watermark(1_000);
    assert!(run.state("ada").is_none(), "nothing is left");
    let out = run.end();
    assert_eq!(
        out.values(),
        [
            r#"{"key":"ada","start":0,"end":100,"duration_ms":100,"events":3}"#,
            r#"{"key":"ada","start":201,"end":201,"duration_ms":0,"events":1}"#
        ]
    );
    assert_eq!(
        out.rows.iter().map(|row| (row.timestamp, row.source)).collect::<Vec<_>>(),
        [(199, FROM_TIMER), (300, FROM_TIMER)]
    );
}

#[test]
fn a_row_between_two_sessions_makes_them_one() {
    let sessionize = sessionize(r#"{"gap_ms": 10, "fields": ["n", "m"]}"#);
    let mut run = keyed(&sessionize);
    for (n, time) in [(1, 20), (2, 0), (3, 10), (4, 20), (5, 0)] {
        run.row(row(&format!(r#"{{"n": {n}}}"#), time));
    }
    run.watermark(100);
    let out = run.end();
    assert_eq!(spans(&out), [(0, 20, 5)]);
    let report = out.rows[0].json();
    assert_eq!((&report["first"], &report["last"]), (&json!({"n": 2, "m": null}), &json!({"n": 4, "m": null})));
}

#[test]
fn a_row_is_late_when_its_session_would_have_ended() {
    let sessionize = sessionize(r#"{"gap_ms": 100}"#);
    let mut run = keyed(&sessionize);
    run.row(row("x", 200));
    run.watermark(199);
    run.row(row("late", 99));
    run.row(row("in time: it makes the session longer", 100));
    run.row(row("in time: it has a session of its own", 310));
    run.watermark(1_000);
    let out = run.end();
    assert_eq!(out.output("late").map(|row| row.value_text()).collect::<Vec<_>>(), ["late"]);
    assert_eq!(spans(&out), [(100, 200, 2), (310, 310, 1)]);
}

#[test]
fn a_funnel_says_how_far_a_session_came() {
    let sessionize = sessionize(
        r#"{"gap_ms": 100, "funnel_field": "event", "funnel": [
            {"name": "view"}, {"name": "large cart", "where": "event = 'cart' and total > 10"}, {"name": "pay"}
        ]}"#,
    );
    let events = [
        (r#"{"event": "pay"}"#, 5),
        (r#"{"event": "cart", "total": 50}"#, 30),
        (r#"{"event": "view"}"#, 20),
        (r#"{"event": "view"}"#, 10),
        (r#"{"event": "cart", "total": 5}"#, 15),
    ];
    let mut run = keyed(&sessionize);
    events.iter().for_each(|&(event, time)| run.row(row(event, time)));
    run.row(row(r#"{"event": "pay"}"#, 1_030));
    run.watermark(2_000);
    let out = run.end();
    let steps = |times: [Option<i64>; 3]| {
        let names = ["view", "large cart", "pay"].into_iter().zip(times);
        names.map(|(name, time)| json!({"name": name, "time": time})).collect::<Vec<_>>()
    };
    let funnel = |place: usize| out.rows[place].json()["funnel"].clone();
    assert_eq!(funnel(0), json!({"reached": 2, "steps": steps([Some(10), Some(30), None])}));
    assert_eq!(funnel(1), json!({"reached": 0, "steps": steps([None; 3])}));
}

#[test]
fn rows_that_cannot_be_placed_in_the_funnel_are_rejected() {
    let sessionize = sessionize(
        r#"{"gap_ms": 100, "funnel": [{"name": "a", "where": "x = 1"}, {"name": "b", "where": "x = 2"}], "funnel_rows_max": 2}"#,
    );
    let mut run = keyed(&sessionize);
    for (value, time) in [(r#"{"x": 2}"#, 1), (r#"{"x": 2}"#, 2), (r#"{"x": 0}"#, 3), (r#"{"x": 2}"#, 4), ("[]", 5)] {
        run.row(row(value, time));
    }
    run.row(Input::null().key("ada").at(6));
    run.watermark(1_000);
    let out = run.end();
    assert_eq!(out.codes(), ["too-many-funnel-rows", "not-an-object", "null-value"]);
    assert_eq!(spans(&out), [(1, 3, 3)]);
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let many: Vec<JsonValue> = (0..33).map(|step| json!({"name": step.to_string(), "where": "true"})).collect();
    for (config, message) in [
        (json!({}), "missing field `gap_ms`"),
        (json!({"gap_ms": 0}), "`gap_ms` is 0"),
        (json!({"gap_ms": 1, "gap": 2}), "unknown field `gap`"),
        (json!({"gap_ms": 1, "funnel": [{"name": "a"}]}), "step `a` has no `where`"),
        (json!({"gap_ms": 1, "funnel": [{"name": "a", "where": "x ="}]}), "`funnel[0].where`, column 4"),
        (
            json!({"gap_ms": 1, "funnel_field": "e", "funnel": [{"name": "a"}, {"name": "a"}]}),
            "`funnel[1].name` is `a`",
        ),
        (json!({"gap_ms": 1, "funnel_field": "e"}), "there are none"),
        (json!({"gap_ms": 1, "funnel_field": "e..", "funnel": [{"name": "a"}]}), "has an empty name"),
        (json!({"gap_ms": 1, "funnel": many}), "32 are the limit"),
        (json!({"gap_ms": 1, "fields": ["a", "a"]}), "named twice"),
    ] {
        let error = plugin::<Sessionize>(&config.to_string()).expect_err(message);
        assert!(error.contains(message), "{config}: {error}");
    }
}

/// A row as the model has it: its time, the steps it can be, its number.
#[derive(Debug, Clone, Copy)]
struct Known {
    time: i64,
    steps: u32,
    number: usize,
}

const GAP: i64 = 5;
const CONFIG: &str = r#"{"gap_ms": 5, "fields": ["n"], "funnel": [
    {"name": "0", "where": "a"}, {"name": "1", "where": "b"}, {"name": "2", "where": "a or c"}
]}"#;

/// The sessions of all rows that are there, from their times alone.
fn sessions_of(rows: &[Known]) -> Vec<Vec<Known>> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (row.time, row.number));
    let mut sessions: Vec<Vec<Known>> = Vec::new();
    for row in rows {
        match sessions.last_mut() {
            Some(session) if session.last().is_some_and(|last| row.time - last.time <= GAP) => session.push(row),
            _ => sessions.push(vec![row]),
        }
    }
    sessions
}

fn report(session: &[Known]) -> JsonValue {
    let (first, last) = (session[0], session[session.len() - 1]);
    let mut times = Vec::new();
    for step in 0..3 {
        let from = times.last().map_or(0, |&place: &usize| place + 1);
        match (from..session.len()).find(|&place| session[place].steps >> step & 1 != 0) {
            Some(place) => times.push(place),
            None => break,
        }
    }
    let time = |step: usize| times.get(step).map(|&place| session[place].time);
    let steps: Vec<JsonValue> = (0..3).map(|step| json!({"name": step.to_string(), "time": time(step)})).collect();
    json!({
        "key": "ada", "start": first.time, "end": last.time, "duration_ms": last.time - first.time,
        "events": session.len(), "first": {"n": first.number}, "last": {"n": last.number},
        "funnel": {"reached": times.len(), "steps": steps}
    })
}

/// The sessions that have ended by a watermark, taken away from the rows.
fn ended(rows: &mut Vec<Known>, watermark: i64) -> Vec<JsonValue> {
    let mut reports = Vec::new();
    for session in sessions_of(rows) {
        if session[session.len() - 1].time + GAP - 1 <= watermark {
            rows.retain(|row| session.iter().all(|other| other.number != row.number));
            reports.push(report(&session));
        }
    }
    reports
}

proptest! {
    #[test]
    fn sessions_are_those_computed_from_all_rows(
        sent in prop::collection::vec((-6..14_i64, 0..8_u32, prop::bool::weighted(0.3), 0..9_i64), 0..40)
    ) {
        let sessionize = sessionize(CONFIG);
        let mut run = keyed(&sessionize);
        let (mut rows, mut reports, mut late) = (Vec::<Known>::new(), Vec::new(), Vec::new());
        let mut watermark = 0;
        for (number, &(ahead, letters, moves, by)) in sent.iter().enumerate() {
            if moves {
                watermark += by;
            }
            run.watermark(watermark);
            reports.extend(ended(&mut rows, watermark));
            let time = watermark + ahead;
            let [a, b, c] = [0, 1, 2].map(|bit| letters >> bit & 1 != 0);
            run.row(row(&format!(r#"{{"n": {number}, "a": {a}, "b": {b}, "c": {c}}}"#), time));
            let alone = rows.iter().all(|row| (row.time - time).abs() > GAP);
            if alone && time + GAP - 1 <= watermark {
                late.push(number);
            } else {
                rows.push(Known { time, steps: u32::from(a) | u32::from(b) << 1 | u32::from(a || c) << 2, number });
            }
        }
        run.watermark(10_000);
        reports.extend(ended(&mut rows, 10_000));
        prop_assert_eq!(run.keys(), 0);
        let out = run.end();
        prop_assert_eq!(out.output("sessions").map(|row| row.json()).collect::<Vec<_>>(), reports);
        prop_assert_eq!(out.output("late").map(|row| row.source).collect::<Vec<_>>(), late);
    }
}

#[test]
fn a_long_session_whose_state_is_in_pages_is_one_session() {
    const ROWS: i64 = 3_000;
    let funnel = r#"[{"name": "in", "where": "step = 1"}, {"name": "out", "where": "step = 2"}]"#;
    let sessionize = sessionize(&format!(r#"{{"gap_ms": 10, "fields": ["n"], "funnel": {funnel}}}"#));
    // A key's smallest states are in pages, none of which stays in memory.
    let bounds = testing::StateBounds { inline_bytes: 64, page_bytes: 256, resident_bytes: 0 };
    let out = testing::with_state_bounds(bounds, || {
        let mut run = keyed(&sessionize);
        for n in 0..ROWS {
            run.row(row(&format!(r#"{{"n": {n}, "step": {}}}"#, 1 + n / (ROWS - 1)), n * 10));
        }
        run.watermark(ROWS * 10 + 10);
        assert_eq!(run.keys(), 0, "nothing is left");
        run.end()
    });
    assert!(out.rejected.is_empty(), "{:?}", out.codes());
    assert_eq!(spans(&out), [(0, (ROWS - 1) * 10, ROWS.unsigned_abs())]);
    let report = out.rows.first().expect("there is a session").json();
    assert_eq!((&report["first"]["n"], &report["last"]["n"]), (&json!(0), &json!(ROWS - 1)));
    assert_eq!(report["funnel"]["steps"][1], json!({"name": "out", "time": (ROWS - 1) * 10}));
}

//! Manifests that are good, and what is said of those that are not.

use super::*;
use crate::time::{Disorder, Early, Hopping, Kind, Mode, Session, Source as WatermarkSource, Tumbling};

pub(super) const GOOD: &str = r#"
name = "page-views"

[source]
topics = ["clicks"]

[watermark]
disorder = "30s"

[[steps]]
name = "parse"
plugin = "parse-json"
config = { key = "page", timestamp = "time" }
outputs = { unmatched = "other" }

[[steps]]
name = "views"
plugin = "count"
window = { tumbling = "1m" }

[output]
topic = "views-per-minute"
"#;

pub(super) fn refused(text: &str) -> String {
    text.parse::<Spec>().map_err(|error| error.to_string()).expect_err("the manifest is wrong")
}

#[test]
fn a_manifest_becomes_a_spec_with_its_defaults() {
    let spec: Spec = GOOD.parse().expect("the manifest is good");
    assert_eq!(spec.dead_letters.as_str(), "page-views.dead-letters");
    assert_eq!(spec.watermark.source, WatermarkSource::Disorder(Disorder { bound_ms: 30_000 }));
    assert_eq!(spec.start, Start::Earliest);
    assert_eq!(spec.steps[0].config["key"], "page");
    assert_eq!(spec.steps[0].outputs["unmatched"], Target::Topic("other".parse().expect("a name")));
    let window = spec.steps[1].window.as_ref().expect("views has windows");
    let minute = Tumbling::new(60_000, 0).expect("above zero");
    assert_eq!((window.windowing.plain_tumbling(), window.late.as_str()), (Some(minute), "page-views.late"));
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_name() {
    let text = GOOD.replace("disorder", "disordr");
    let message = refused(&text);
    assert!(message.starts_with("manifest, line 8, column 1: unknown field `disordr`"), "{message}");
    assert!(message.ends_with("(did you mean `disorder`?)"), "{message}");
}

#[test]
fn every_value_that_is_wrong_is_refused_where_it_stands() {
    let cases = [
        (r#"topics = ["clicks"]"#, "topics = []", "line 5, column 10: a pipeline reads 1 to 32 topics, this one 0"),
        (r#""clicks""#, r#""a", "a""#, "line 5, column 16: topic `a` is named twice"),
        (r#""1m""#, r#""1 minute""#, "column 23: `1 minute` is no duration"),
        (r#""1m""#, r#""0s""#, "`0s` is too short: at least 1 ms"),
        (r#""30s""#, r#""99999999999999999999d""#, "is no duration"),
        (r#"name = "views""#, r#"name = "parse""#, "two steps are named `parse`"),
        (r#"name = "page-views""#, r#"name = "Page""#, "line 2, column 8: pipeline `Page` may only have"),
        (r#""views-per-minute""#, r#""clicks""#, "is a source of this pipeline and cannot be its output"),
        (r#""count""#, r#""count@sha256:12""#, "is not `sha256:` and 64 hexadecimal digits"),
        (r#"plugin = "count""#, r#"plugin = "#, "line 18, column"),
    ];
    for (from, to, expected) in cases {
        let message = refused(&GOOD.replace(from, to));
        assert!(message.contains(expected), "{to}: {message}");
    }
}

#[test]
fn every_kind_of_window_is_read() {
    let window = |table: &str| {
        let spec: Spec = GOOD.replace("{ tumbling = \"1m\" }", table).parse().expect("the manifest is good");
        spec.steps[1].window.clone().expect("views has windows").windowing
    };
    let hopping = window(r#"{ hopping = "10s", slide = "2s", offset = "-1s", lateness = "1m", early = "1s" }"#);
    assert_eq!(hopping.kind, Kind::Hopping(Hopping::new(10_000, 2000, -1000).expect("sound")));
    assert_eq!((hopping.lateness_ms, hopping.early), (60_000, Some(Early::Event(1000))));
    let session = window(r#"{ session = "30m", gap-header = "gap", results = "discarding", early-rows = 5 }"#);
    assert_eq!(session.kind, Kind::Session(Session { gap_ms: 1_800_000, gap_header: Some("gap".to_owned()) }));
    assert_eq!((session.mode, session.early), (Mode::Discarding, Some(Early::Rows(5))));
    assert_eq!(window("{ count = 100 }").kind, Kind::Count { rows: 100 });
    let global = window(r#"{ global = true, early = "1s", early-clock = "processing" }"#);
    assert_eq!((global.kind, global.early), (Kind::Global, Some(Early::Processing(1000))));
}

#[test]
fn a_gap_header_that_nothing_can_give_is_refused() {
    let window = "{ session = \"30m\", gap-header = \"gap\" }";
    let text = GOOD.replace("{ tumbling = \"1m\" }", window);
    let first = text.find("[[steps]]").expect("it has steps");
    let second = first + 1 + text[first + 1..].find("[[steps]]").expect("it has two");
    let alone = format!("{}{}", &text[..first], &text[second..]);
    assert!(text.parse::<Spec>().is_ok(), "the step before may give it");
    let message = refused(&alone);
    assert!(message.contains("no row can have the header `gap`"), "{message}");
    let carried = alone.replacen("[source]\n", "[source]\nheaders = true\n", 1);
    assert!(carried.parse::<Spec>().is_ok(), "{carried}");
}

#[test]
fn windows_that_make_no_sense_are_refused() {
    let cases = [
        (r#"{ tumbling = "1m", session = "1m" }"#, "a window is one of `tumbling`"),
        ("{ }", "a window is one of `tumbling`"),
        (r#"{ hopping = "10s" }"#, "a `hopping` window says its `slide`"),
        (r#"{ hopping = "1d", slide = "1ms" }"#, "each row would be in 86400000 windows, the limit is 10000"),
        (r#"{ tumbling = "1m", slide = "1s" }"#, "only a `hopping` window has a `slide`"),
        (r#"{ session = "1m", offset = "1s" }"#, "only `tumbling` and `hopping` windows have an `offset`"),
        (r#"{ count = 10, lateness = "1s" }"#, "no row is late for a window that does not end by time"),
        ("{ global = true }", "a `global` window never ends"),
        ("{ count = 0 }", "a number of rows is at least 1"),
        (r#"{ tumbling = "1m", early = "1s", early-rows = 1 }"#, "use one of `early` and `early-rows`"),
        (r#"{ tumbling = "1m", early-clock = "event" }"#, "`early-clock` says what `early` is measured in"),
        (r#"{ tumbling = "400000d" }"#, "is too long: at most a thousand years"),
        (r#"{ tumbling = "1m", offset = "later" }"#, "`later` is no offset"),
    ];
    for (table, expected) in cases {
        let message = refused(&GOOD.replace("{ tumbling = \"1m\" }", table));
        assert!(message.contains(expected), "{table}: {message}");
    }
}

#[test]
fn tables_are_granted_by_the_names_that_the_manifest_gives_them() {
    let tables = "[[tables]]\nname = \"users\"\ntopic = \"user-profiles\"\n[[steps]]\nname = \"parse\"";
    let text = GOOD.replacen("[[steps]]\nname = \"parse\"", tables, 1);
    let with = |lookup: &str| text.replace("outputs = { unmatched = \"other\" }", lookup);
    let spec: Spec = with("lookup = [\"users\"]\ngrants = [\"table\"]").parse().expect("the manifest is good");
    assert_eq!((spec.steps[0].table, spec.steps[0].lookups[0].as_str()), (true, "users"));
    let message = refused(&with("lookup = [\"user\"]"));
    assert!(message.contains("table `user` is not in the manifest") && message.contains("`users`"), "{message}");
    assert!(refused(&with("grants = [\"network\"]")).contains("`network` cannot be granted"));
}

#[test]
fn marks_are_routed_by_the_names_of_their_meaning() {
    let marked = GOOD.replace("disorder = \"30s\"", "punctuated = true");
    let text = marked.replace("{ unmatched = \"other\" }", "{ time = \"@watermark\", rest = \"@idle\" }");
    let spec: Spec = text.parse().expect("the manifest is good");
    assert_eq!((&spec.steps[0].outputs["time"], &spec.steps[0].outputs["rest"]), (&Target::Watermark, &Target::Idle));
    assert!(refused(&text.replace("@idle", "@end")).contains("`@end` is neither a topic nor one of `@watermark`"));
    assert!(refused(&marked.replace("\"other\"", "\"late\"")).contains("no step routes an output to `@watermark`"));
    assert!(refused(&text.replace("punctuated = true", "disorder = \"1s\"")).contains("`punctuated = true`"));
}

#[test]
fn late_without_a_window_is_refused() {
    let text = GOOD.replace("outputs = { unmatched = \"other\" }", "late = \"x\"");
    assert!(refused(&text).contains("step `parse` has no `window`"));
}

//! Lines through the plugin.

use super::*;
use testing::{Input, Outcome, plugin, run};

const COMMON: &str = r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#;
const COMBINED: &str =
    r#"::1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 304 - "http://x/\"q\"" "Agent (1; 2)""#;

fn parse(config: &str, line: &str) -> Outcome {
    run(&plugin::<ParseAccessLog>(config).expect("the configuration fits"), [line])
}

/// Code and reason of a rejected line.
fn rejection(config: &str, line: &str) -> (String, String) {
    let out = parse(config, line);
    assert!(out.rows.is_empty(), "{out:?}");
    (out.rejected[0].code.clone(), out.rejected[0].reason.clone())
}

#[test]
fn a_common_line_becomes_json_with_its_own_time() {
    let out = parse("{}", COMMON);
    assert_eq!(
        out.values(),
        [concat!(
            r#"{"host":"127.0.0.1","user":"frank","time":971211336000,"method":"GET","path":"/apache_pb.gif","#,
            r#""protocol":"HTTP/1.0","status":200,"bytes":2326}"#
        )]
    );
    assert_eq!((out.rows[0].timestamp, out.rows[0].key_text()), (971_211_336_000, "127.0.0.1".to_owned()));
}

#[test]
fn a_combined_line_has_referer_and_agent() {
    let out = parse("{}", COMBINED);
    let row = out.rows[0].json();
    assert_eq!((row["referer"].as_str(), row["agent"].as_str()), (Some("http://x/\"q\""), Some("Agent (1; 2)")));
    assert_eq!((row["host"].as_str(), row["bytes"].is_null()), (Some("::1"), true));
    assert_eq!((row.get("user"), out.rows[0].timestamp), (None, 1_431_857_103_000));
}

#[test]
fn dashes_and_line_ends_mean_nothing() {
    let line = r#"h i "" [17/May/2015:10:05:03 +0530] "-" 408 - "-" "-""#.to_owned() + "\r\n";
    let row = parse("{}", &line).rows[0].json();
    let expected = r#"{"host":"h","ident":"i","time":1431837303000,"method":null,"path":null,"protocol":null,"status":408,"bytes":null}"#;
    assert_eq!(row.to_string(), serde_json::from_str::<serde_json::Value>(expected).expect("it is JSON").to_string());
}

#[test]
fn names_of_users_may_have_spaces() {
    let line = COMMON.replace("frank", "Frank N. Furter");
    assert_eq!(parse("{}", &line).rows[0].json()["user"], "Frank N. Furter");
}

#[test]
fn what_clients_send_instead_of_a_request_is_kept() {
    let row = parse("{}", &COMMON.replace("GET /apache_pb.gif HTTP/1.0", r"\x16\x03\x01")).rows[0].json();
    assert_eq!((row["method"].is_null(), row["request"].as_str()), (true, Some("\u{16}\u{3}\u{1}")));
}

#[test]
fn the_key_is_chosen() {
    let key = |key: &str, line: &str| {
        let plugin = plugin::<ParseAccessLog>(&format!(r#"{{"key": "{key}"}}"#)).expect("the configuration fits");
        run(&plugin, [Input::value(line).key("own")]).rows[0]
            .key
            .clone()
            .map(|key| String::from_utf8_lossy(&key).into_owned())
    };
    for (field, expected) in [("host", "::1"), ("path", "/a"), ("status", "304"), ("method", "GET"), ("none", "own")] {
        assert_eq!(key(field, COMBINED).as_deref(), Some(expected), "{field}");
    }
    let no_request = COMBINED.replace("GET /a HTTP/1.1", "-");
    assert_eq!((key("path", &no_request), key("method", &no_request)), (None, None));
}

#[test]
fn the_format_may_be_demanded() {
    assert_eq!(rejection(r#"{"format": "combined"}"#, COMMON).0, "truncated-line");
    let (code, reason) = rejection(r#"{"format": "common"}"#, COMBINED);
    assert_eq!(code, "malformed-line");
    assert!(reason.contains("expected the end of the line"), "{reason}");
    assert_eq!(parse(r#"{"format": "common"}"#, COMMON).rows.len(), 1);
    assert_eq!(parse(r#"{"format": "combined"}"#, COMBINED).rows.len(), 1);
}

#[test]
fn a_line_that_is_cut_off_anywhere_is_rejected() {
    // Whole without referer and agent, and whole with them: everything else is half a line.
    let common_end = COMBINED.find(" \"http").expect("the referer follows");
    for end in (0..COMBINED.len()).filter(|&end| end != common_end && end != common_end + 1) {
        let (code, reason) = rejection("{}", &COMBINED[..end]);
        assert!(["truncated-line", "malformed-line"].contains(&code.as_str()), "{end}: {code} {reason}");
        assert!(reason.contains("column"), "{reason}");
    }
    let open = COMBINED.strip_suffix('"').expect("the agent is quoted");
    assert_eq!(
        rejection("{}", open),
        (
            "truncated-line".to_owned(),
            format!("the line ends at column {}, where `\"` after the agent is expected", COMBINED.len())
        )
    );
}

#[test]
fn malformed_lines_name_the_column() {
    for (from, to, reason) in [
        ("[10", "[1x", "column 20: expected a day of two digits, found `1x/Oct"),
        ("Oct", "Okt", "column 23: expected a month from `Jan` to `Dec`"),
        ("10/Oct", "31/Feb", "column 20: expected a date and time of day that exist"),
        ("13:55", "24:55", "column 20: expected a date and time of day that exist"),
        ("-0700", "0700", "column 41: expected an offset from UTC"),
        ("-0700", "-9900", "column 41: expected an offset from UTC"),
        (" 200", " OK", "expected a status of three digits, found `OK 2326`"),
        (" 2326", " many", "expected a number of bytes or `-`, found `many`"),
        (" 2326", " 2326 x", "expected `\"` before the referer, found `x`"),
        ("\"GET", "GET", "expected `\"` before the request"),
    ] {
        let (code, found) = rejection("{}", &COMMON.replace(from, to));
        assert_eq!(code, "malformed-line");
        assert!(found.contains(reason), "{found}");
    }
    assert_eq!(rejection("{}", "").0, "truncated-line");
    let plugin = plugin::<ParseAccessLog>("").expect("all has defaults");
    assert_eq!(run(&plugin, [&b"\xff"[..]]).codes(), ["invalid-utf8"]);
}

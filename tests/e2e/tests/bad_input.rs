//! Bad input, from outside: plugins that misbehave, uploads that are none, manifests and records that are refused. After
//! each the server lives and does its work.

use std::time::Duration;

use anyhow::Context;
use e2e::{PATIENCE, send_lines};
use harness::{Client, Options, Record, Server, refusal, until};
use millstream::pipeline::status::State;

/// A pipeline of the one step that does what rows tell it to.
const HOSTILE: &str = r#"
name = "hostile"
source = { topics = ["orders"] }
steps = [{ name = "obey", plugin = "e2e-guest" }]
output = { topic = "obeyed" }
"#;

/// What the plugin that was told to panic says of it in the log.
const TOLD: &str = "told to";
/// What it says when it was told to overflow.
const OVERFLOWN: &str = "attempt to add with overflow";

fn values(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.value.as_deref().unwrap_or("null")).collect()
}

/// That the server takes a plugin, a pipeline and a record, and gives a result.
fn lives(client: &Client) -> anyhow::Result<()> {
    client.push_plugins(&["filter"])?;
    client.create_topic("sign-of-life", 1)?;
    client.apply(
        r#"
name = "alive"
source = { topics = ["sign-of-life"] }
steps = [{ name = "keep", plugin = "filter", config = { where = "n > 0" } }]
output = { topic = "alive" }
"#,
    )?;
    client.produce_json("sign-of-life", r#"{"value":"{\"n\":1}"}"#)?;
    client.drained("alive", PATIENCE)?;
    assert_eq!(values(&client.all_records("alive")?), [r#"{"n":1}"#]);
    Ok(())
}

#[test]
fn poison_rows_become_dead_letters_and_their_neighbours_results_once() -> anyhow::Result<()> {
    let server = Server::start_with(Options::expecting(&[TOLD, OVERFLOWN]))?;
    let client = server.client();
    let pushed = client.push("e2e-guest", &std::fs::read(harness::component("e2e-guest")?)?)?;
    let digest = pushed["version"]["digest"].as_str().context("a version has a digest")?;
    client.create_topic("orders", 1)?;
    client.apply(HOSTILE)?;
    let rows = ["a", "trap", "b", "loop", "c", "recurse", "d", "hoard", "e", "overflow"];
    send_lines(&client, "orders", 1, &rows)?;
    let status = client.drained("hostile", PATIENCE)?;
    assert_eq!(values(&client.all_records("obeyed")?), ["a", "b", "c", "d", "e"]);
    let letters = client.all_records("hostile.dead-letters")?;
    assert_eq!(values(&letters), ["trap", "loop", "recurse", "hoard", "overflow"]);
    let codes = ["trap_unreachable", "limit_fuel", "limit_stack", "limit_memory", "trap_unreachable"];
    for ((letter, offset), code) in letters.iter().zip(["1", "3", "5", "7", "9"]).zip(codes) {
        let expected = [
            ("millstream.tenant", "default"),
            ("millstream.pipeline", "hostile"),
            ("millstream.step", "obey"),
            ("millstream.plugin", "e2e-guest"),
            ("millstream.digest", digest),
            ("millstream.topic", "orders"),
            ("millstream.partition", "0"),
            ("millstream.offset", offset),
            ("millstream.code", code),
        ];
        for (name, value) in expected {
            assert_eq!(letter.header(name), Some(value), "{name} of {letter:?}");
        }
        assert!(letter.header("millstream.reason").is_some_and(|reason| !reason.is_empty()), "{letter:?}");
    }
    let backtrace = letters[0].header("millstream.backtrace").context("a trap has a backtrace")?;
    assert!(backtrace.contains("record"), "{backtrace}");
    assert_eq!((status.usage.dead_letters, status.usage.records_out), (5, 5));
    assert!(status.usage.failed_calls >= 5, "{:?}", status.usage);
    lives(&client)
}

#[test]
fn poison_is_found_again_after_a_kill_and_nothing_is_done_twice() -> anyhow::Result<()> {
    let mut server = Server::start_with(Options::expecting(&[TOLD]))?;
    let client = server.client();
    client.push_plugins(&["e2e-guest"])?;
    client.create_topic("orders", 1)?;
    client.apply(HOSTILE)?;
    let rows: Vec<String> =
        (0..200).map(|row| if row % 40 == 7 { "trap".to_owned() } else { format!("row {row}") }).collect();
    send_lines(&client, "orders", 1, &rows)?;
    // In the middle of the search for what is poisonous, or before, or after: it must not matter.
    server.kill()?;
    server.start_again()?;
    client.drained("hostile", PATIENCE)?;
    let good: Vec<&str> = rows.iter().map(String::as_str).filter(|row| *row != "trap").collect();
    assert_eq!(values(&client.all_records("obeyed")?), good);
    let letters = client.all_records("hostile.dead-letters")?;
    let offsets: Vec<_> = letters.iter().filter_map(|letter| letter.header("millstream.offset")).collect();
    assert_eq!(offsets, ["7", "47", "87", "127", "167"]);
    Ok(())
}

#[test]
fn uploads_that_are_no_plugins_are_refused_with_their_reason() -> anyhow::Result<()> {
    let server = Server::start()?;
    let client = server.client();
    let importing = |name| {
        wat::parse_str(format!(
            r#"(component
                (import "{name}" (instance (export "get" (func))))
                (instance $empty)
                (export "millstream:plugin/lifecycle@0.1.0" (instance $empty))
                (export "millstream:plugin/transformer@0.1.0" (instance $empty)))"#
        ))
    };
    let table = importing("millstream:plugin/table@0.1.0")?;
    let unknown = importing("evil:net/socket@1.0.0")?;
    let module = wat::parse_str("(module)")?;
    let empty = wat::parse_str("(component)")?;
    let cases: [(&[u8], &str, &str); 5] = [
        (b"#!/bin/sh", "not_a_component", ""),
        (&module, "not_a_component", "module"),
        (&empty, "wrong_world", ""),
        (&table, "import_of_other_world", "millstream:plugin/table@0.1.0"),
        (&unknown, "import_unknown", "evil:net/socket@1.0.0"),
    ];
    for (bytes, code, named) in cases {
        let refusal = refusal(client.push("bad", bytes))?;
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(refusal.detail.contains(named), "{refusal}");
    }
    let refused = refusal(client.get::<serde_json::Value>("/v1/plugins/bad"))?;
    assert_eq!(refused.code, "plugin_not_found", "nothing is left of what was refused");
    lives(&client)
}

#[test]
fn a_plugin_that_fails_on_whatever_it_is_given_rests_and_is_tried_again() -> anyhow::Result<()> {
    let server = Server::start_with(Options::expecting(&[TOLD, "next try in"]))?;
    let client = server.client();
    client.push_plugins(&["e2e-guest"])?;
    client.create_topic("orders", 1)?;
    client.apply(HOSTILE)?;
    // More failing rows one after the other than a pipeline accepts before it backs off.
    send_lines(&client, "orders", 1, &vec!["trap"; 1500])?;
    let status = until(PATIENCE, "the pipeline to back off", || {
        let status = client.pipeline("hostile")?;
        Ok((status.state == State::BackingOff).then_some(status))
    })?;
    let reason = status.reason.context("a pipeline that backs off says why")?;
    assert!(reason.message.contains("obey") && reason.code == "trap_unreachable", "{reason:?}");
    client.produce_json("orders", r#"{"value":"good"}"#)?;
    lives(&client)?;
    // It tries again by itself, and the row that waited is there.
    client.drained("hostile", PATIENCE)?;
    assert_eq!(values(&client.all_records("obeyed")?), ["good"]);
    assert_eq!(client.count("hostile.dead-letters")?, 1500);
    Ok(())
}

#[test]
fn a_record_over_the_limit_is_refused_whole_with_limit_and_use() -> anyhow::Result<()> {
    let server = Server::start()?;
    let client = server.client();
    client.create_topic("orders", 1)?;
    let size = (1 << 20) + 1;
    let refused = refusal(client.produce_json("orders", &format!(r#"{{"value":"{}"}}"#, "x".repeat(size))))?;
    assert_eq!((refused.code.as_str(), refused.status), ("record_too_large", 413), "{refused}");
    assert_eq!(
        (refused.more["limit"]["limit"].as_u64(), refused.more["limit"]["used"].as_u64()),
        (Some(1 << 20), Some(size as u64))
    );
    assert_eq!(client.count("orders")?, 0);
    for bytes in [&b""[..], b"no batch at all", &[0; 61]] {
        let refused = refusal(client.append_raw("orders", 0, bytes))?;
        assert_eq!((refused.code.as_str(), refused.status), ("invalid_batch", 400), "{refused}");
    }
    lives(&client)
}

#[test]
fn a_second_server_on_the_same_folder_gives_up_and_the_first_goes_on() -> anyhow::Result<()> {
    let server = Server::start()?;
    let (code, text) = server.rival()?;
    assert_ne!(code, Some(0), "{text}");
    assert!(text.contains("data_folder_in_use"), "{text}");
    lives(&server.client())
}

#[test]
fn a_server_that_is_asked_to_stop_stops_and_goes_on_where_it_was() -> anyhow::Result<()> {
    let mut server = Server::start()?;
    lives(&server.client())?;
    server.stop()?;
    assert!(!server.is_alive());
    let took = server.start_again()?;
    assert!(took < PATIENCE);
    let client = server.client();
    client.answers(Duration::from_secs(10))?;
    client.drained("alive", PATIENCE)?;
    assert_eq!(values(&client.all_records("alive")?), [r#"{"n":1}"#]);
    Ok(())
}

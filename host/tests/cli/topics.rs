use std::io::Write as _;

use serde_json::json;

use crate::program::{Server, until};

#[test]
fn topics_are_made_shown_and_removed() {
    let server = Server::start();
    let create = ["topic", "create", "clicks", "--partitions", "3", "--retention", "7d", "--retention-bytes", "1GiB"];
    assert_eq!(server.run(&create).ok(), "topic `clicks` has 3 partitions\n");
    // The same again changes nothing; something else is refused.
    server.run(&create).ok();
    server.run(&["topic", "create", "clicks", "--partitions", "4"]).failed(4, "topic_conflict");

    let topic = server.run(&["topic", "describe", "clicks", "-o", "json"]).json();
    assert_eq!((&topic["retention_ms"], &topic["retention_bytes"]), (&json!(604_800_000), &json!(1 << 30)));
    assert_eq!(topic["partitions"].as_array().map(Vec::len), Some(3));
    let table = server.run(&["topic", "describe", "clicks"]).ok();
    assert!(table.contains("retention bytes  1.0 GiB") && table.contains("PARTITION  START  END  RECORDS"), "{table}");
    assert!(server.run(&["topic", "list"]).ok().starts_with("NAME    PARTITIONS"));
    assert_eq!(server.run(&["topic", "list", "-o", "json"]).json()["items"][0]["name"], "clicks");

    assert_eq!(server.run(&["topic", "delete", "clicks"]).ok(), "");
    server.run(&["topic", "delete", "clicks"]).failed(3, "topic_not_found");
    assert_eq!(server.run(&["topic", "list", "-o", "json"]).json(), json!({ "items": [] }));
}

#[test]
fn what_cannot_be_done_says_why_and_ends_with_its_code() {
    let server = Server::start();
    server.run(&["topic", "create", "clicks"]).ok();
    let meant = server.run(&["topic", "describe", "click"]).failed(3, "topic_not_found");
    assert!(meant.contains("did you mean `clicks`?"), "{meant}");
    server.run(&["topic", "create", "many", "--partitions", "0"]).failed(1, "invalid_topic");
    server.run(&["topic", "tail", "nothing"]).failed(3, "topic_not_found");
    server.run(&["topic", "tail", "clicks", "--partition", "9"]).failed(3, "partition_not_found");
    server.run(&["topic", "tail", "clicks", "--offset", "5"]).failed(1, "offset_out_of_range");
    server.run(&["topic", "produce", "nothing"]).failed(3, "topic_not_found");
    server.run(&["topic", "produce", "clicks", "--file", "/nowhere/x"]).failed(3, "local_file");
    server.feed(&["topic", "produce", "clicks", "--partition", "9"], b"x\n").failed(3, "partition_not_found");
    server.feed(&["topic", "produce", "clicks", "--key-field", "user"], b"no json\n").failed(1, "invalid_record");
    for wrong in [&["topic", "create", "a b"][..], &["topic", "tail", "clicks", "--offset", "newest"], &["topic"]] {
        assert_eq!(server.run(wrong).code, Some(2), "{wrong:?}");
    }
    assert_eq!(server.values("clicks"), Vec::<String>::new());
}

#[test]
fn no_server_is_said_with_what_to_do() {
    let mut server = Server::start();
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let message = server.run(&["topic", "list"]).failed(6, "server_unreachable");
    assert!(message.contains(&server.url) && message.contains("millstream serve --data"), "{message}");
    server.run(&["topic", "list", "--server", "https://x"]).failed(1, "invalid_server");
}

#[test]
fn lines_become_records_and_can_be_copied_with_all_they_have() {
    let server = Server::start();
    server.run(&["topic", "create", "clicks", "--partitions", "4"]).ok();
    server.run(&["topic", "create", "copy", "--partitions", "4"]).ok();
    let lines: Vec<_> = (0..1000).map(|n| format!("{{\"user\":\"u{}\",\"n\":{n},\"at\":{}}}", n % 7, n * 10)).collect();
    let file = server.folder.path().join("lines");
    std::fs::write(&file, lines.join("\r\n")).unwrap();
    let file = file.to_str().unwrap();
    let produce = ["topic", "produce", "clicks", "--file", file, "--key-field", "user", "--timestamp-field", "at"];
    assert_eq!(server.run(&produce).ok(), "1000 records produced\n");

    let mut values = server.values("clicks");
    // Of one key the order is kept; over all partitions only the set is.
    let of_u3 = |values: &[String]| values.iter().filter(|v| v.contains("\"u3\"")).cloned().collect::<Vec<_>>();
    assert_eq!(of_u3(&values), of_u3(&lines));
    values.sort();
    let mut expected = lines;
    expected.sort();
    assert_eq!(values, expected);

    let records = server.run(&["topic", "tail", "clicks", "--offset", "earliest", "-o", "json"]).ok();
    let report =
        server.feed(&["topic", "produce", "copy", "--format", "json", "-o", "json"], records.as_bytes()).json();
    assert_eq!((&report["records"], &report["duplicates"]), (&json!(1000), &json!(0)));
    assert_eq!(server.run(&["topic", "tail", "copy", "--offset", "earliest", "-o", "json"]).ok(), records);
}

#[test]
fn tail_begins_and_ends_where_it_is_told() {
    let server = Server::start();
    server.run(&["topic", "create", "t"]).ok();
    let lines: String = (0..50).map(|n| format!("v{n}\n")).collect();
    server.feed(&["topic", "produce", "t"], lines.as_bytes()).ok();
    let tail = |arguments: &[&str]| {
        let text = server.run(&[&["topic", "tail", "t"], arguments].concat()).ok();
        text.lines().map(|line| line.rsplit('\t').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(tail(&[]), (40..50).map(|n| format!("v{n}")).collect::<Vec<_>>());
    assert_eq!(tail(&["--offset", "-2"]), ["v48", "v49"]);
    assert_eq!(tail(&["--offset", "earliest", "-n", "2"]), ["v0", "v1"]);
    assert_eq!(tail(&["--offset", "7", "-n", "1"]), ["v7"]);
    assert_eq!(tail(&["--offset", "latest"]), Vec::<String>::new());
}

#[test]
fn a_compacted_topic_keeps_the_newest_record_of_each_key() {
    let mut server = Server::start();
    let create = ["topic", "create", "users", "--cleanup", "compact", "--tombstone-retention", "2h"];
    server.run(&create).ok();
    server.run(&["topic", "create", "users", "--cleanup", "delete"]).failed(4, "topic_conflict");
    server.run(&["topic", "create", "kept", "--cleanup", "compact", "--retention", "1d"]).failed(1, "invalid_topic");
    assert_eq!(server.run(&["topic", "create", "kept", "--cleanup", "shrink"]).code, Some(2));
    let about = server.run(&["topic", "describe", "users"]).ok();
    assert!(about.contains("cleanup              compact\n") && about.contains("7200 s"), "{about}");
    assert!(server.run(&["topic", "list"]).ok().contains("compact"));

    server.feed(&["topic", "produce", "users"], b"no key\n").failed(1, "key_required");
    for lines in [
        &["{\"key\":\"a\",\"value\":\"1\"}", "{\"key\":\"b\",\"value\":\"2\"}"][..],
        &["{\"key\":\"c\",\"value\":\"3\"}", "{\"key\":\"a\",\"value\":null}", "{\"key\":\"c\",\"value\":\"4\"}"],
        &["{\"key\":\"d\",\"value\":\"5\"}"],
    ] {
        server.feed(&["topic", "produce", "users", "--format", "json"], lines.join("\n").as_bytes()).ok();
    }
    // A server compacts when it starts, and every minute.
    server.kill_and_restart();
    let topic = until("compaction", || {
        let topic = server.run(&["topic", "describe", "users", "-o", "json"]).json();
        (topic["records"] == 4).then_some(topic)
    });
    let partition = &topic["partitions"][0];
    assert_eq!((&partition["start"], &partition["end"], &partition["records"]), (&json!(0), &json!(6), &json!(4)));
    let tail = |arguments: &[&str]| {
        let text = server.run(&[&["topic", "tail", "users", "-o", "json"], arguments].concat()).ok();
        let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        records.map(|record| (record["offset"].as_u64().unwrap(), record["key"].clone())).collect::<Vec<_>>()
    };
    let left = [(1, "b"), (3, "a"), (4, "c"), (5, "d")].map(|(offset, key)| (offset, json!(key)));
    assert_eq!(tail(&["--offset", "earliest"]), left);
    assert_eq!(tail(&["--offset", "2", "-n", "2"]), left[1..3]);
    assert_eq!(tail(&["--offset", "-3"]), left[1..]);
}

#[test]
fn follow_shows_records_as_they_come() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "2"]).ok();
    let tail = ["topic", "tail", "t", "--offset", "earliest", "--follow", "-n", "2", "-o", "json"];
    let (follower, _stdin) = server.open(&tail);
    for (partition, value) in [("0", b"first"), ("1", b"other")] {
        server.feed(&["topic", "produce", "t", "--partition", partition], value).ok();
    }
    let output = follower.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.lines().count() == 2, "{text}");
    assert!(text.contains("\"first\"") && text.contains("\"other\""), "{text}");
}

#[test]
fn a_producer_goes_on_through_a_crash_of_the_server_and_writes_once() {
    let mut server = Server::start();
    server.run(&["topic", "create", "t"]).ok();
    let (producer, mut stdin) = server.open(&["topic", "produce", "t", "-o", "json"]);
    let mut line = 0;
    let mut write = |count: usize| {
        for _ in 0..count {
            writeln!(stdin, "v{line}").unwrap();
            line += 1;
        }
    };
    for _ in 0..3 {
        write(200);
        until("a record", || (!server.values("t").is_empty()).then_some(()));
        write(200);
        server.kill_and_restart();
        write(100);
    }
    drop(stdin);
    let output = producer.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.values("t"), (0..1500).map(|n| format!("v{n}")).collect::<Vec<_>>());
}

#[test]
fn an_oversize_record_is_refused_with_the_limit_and_the_rest_is_taken() {
    let server = Server::start();
    server.run(&["topic", "create", "t"]).ok();
    let large = format!("{}\n", "x".repeat((1 << 20) + 1));
    let message = server.feed(&["topic", "produce", "t"], large.as_bytes()).failed(1, "record_too_large");
    assert!(message.contains("line 1: record of 1048577 bytes exceeds the limit of 1048576 bytes"), "{message}");
    server.feed(&["topic", "produce", "t"], b"small").ok();
    assert_eq!(server.values("t"), ["small"]);
}

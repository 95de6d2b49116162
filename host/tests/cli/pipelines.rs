use serde_json::{Value, json};

use crate::program::{Server, built, until};

const MANIFEST: &str = r#"
name = "views"

[source]
topics = ["clicks"]

[watermark]
disorder = "10s"

[[steps]]
name = "parse"
plugin = "parse-json"
config = { key = "page", timestamp = { field = "at" } }

[[steps]]
name = "count"
plugin = "count"
window = { tumbling = "1m" }

[output]
topic = "views-per-minute"
"#;

/// A server with the topic and the plugins of the manifest.
fn ready() -> Server {
    let server = Server::start();
    server.run(&["topic", "create", "clicks", "--partitions", "1"]).ok();
    for plugin in ["parse-json", "count"] {
        server.run(&["plugin", "push", built(plugin).to_str().unwrap()]).ok();
    }
    server
}

fn apply(server: &Server, manifest: &str) -> crate::program::Ended {
    server.feed(&["pipeline", "apply", "-"], manifest.as_bytes())
}

fn show(server: &Server) -> Value {
    server.run(&["pipeline", "show", "views", "-o", "json"]).json()
}

/// Waits until everything that was produced has been processed.
fn drained(server: &Server, records: u64) -> Value {
    until("the end of the input", || Some(show(server)).filter(|now| now["usage"]["records_in"] == records))
}

#[test]
fn a_pipeline_is_deployed_watched_paused_and_removed() {
    let server = ready();
    assert_eq!(apply(&server, MANIFEST).ok(), "pipeline `views` created\n");
    assert_eq!(apply(&server, MANIFEST).ok(), "pipeline `views` unchanged\n");
    let file = server.folder.path().join("views.toml");
    std::fs::write(&file, MANIFEST.replace("10s", "5s")).unwrap();
    let changed = server.run(&["pipeline", "apply", file.to_str().unwrap()]).ok();
    let (message, undo) = changed.split_once("; ").unwrap();
    assert!(message.starts_with("pipeline `views` changed in ") && message.ends_with(" ms"), "{changed}");
    assert_eq!(undo, "`millstream pipeline rollback views` undoes it\n");

    let clicks =
        "{\"page\":\"/a\",\"at\":1000}\n{\"page\":\"/a\",\"at\":2000}\nnot json\n{\"page\":\"/b\",\"at\":200000}\n";
    server.feed(&["topic", "produce", "clicks"], clicks.as_bytes()).ok();
    drained(&server, 4);
    let results = server.values("views-per-minute");
    assert_eq!(results.len(), 1, "{results:?}");
    let window: Value = serde_json::from_str(&results[0]).unwrap();
    assert_eq!(window, json!({ "key": "/a", "start": 0, "end": 60000, "count": 2 }));

    let list = server.run(&["pipeline", "list"]).ok();
    assert!(list.starts_with("NAME   STATE    IN  OUT") && list.contains("views  running  4   1"), "{list}");
    let text = server.run(&["pipeline", "show", "views"]).ok();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("dead letters 1 in views.dead-letters") && words.contains("clicks/0 4 4 0"), "{text}");

    assert_eq!(server.run(&["pipeline", "pause", "views", "-o", "json"]).json()["state"], "paused");
    server.feed(&["topic", "produce", "clicks"], b"{\"page\":\"/a\",\"at\":300000}\n").ok();
    assert_eq!(show(&server)["usage"]["records_in"], 4);
    server.run(&["pipeline", "resume", "views"]).ok();
    drained(&server, 5);

    server.run(&["topic", "delete", "clicks"]).failed(4, "topic_in_use");
    assert_eq!(server.run(&["pipeline", "delete", "views"]).ok(), "");
    server.run(&["pipeline", "delete", "views"]).failed(3, "pipeline_not_found");
    server.run(&["topic", "delete", "clicks"]).ok();
}

#[test]
fn dead_letters_show_what_was_wrong_and_the_record_as_it_was() {
    let server = ready();
    apply(&server, MANIFEST).ok();
    server.feed(&["topic", "produce", "clicks", "--key", "k"], b"fine? no\n{\"page\":\"/a\",\"at\":1}\n[1\n").ok();
    drained(&server, 3);
    let letters = server.run(&["dead-letters", "list", "views", "-o", "json"]).json();
    let items = letters["items"].as_array().unwrap();
    assert_eq!((letters["topic"].as_str(), items.len()), (Some("views.dead-letters"), 2));
    let first = &items[0];
    assert_eq!((&first["record"]["value"], &first["record"]["key"]), (&json!("fine? no"), &json!("k")));
    assert_eq!((&first["provenance"]["step"], &first["provenance"]["offset"]), (&json!("parse"), &json!("0")));
    assert!(first["provenance"]["code"].as_str().is_some_and(|code| !code.is_empty()), "{first}");

    let list = server.run(&["dead-letters", "list", "views", "--offset", "-1"]).ok();
    assert!(list.contains("clicks/0@2") && list.lines().count() == 2, "{list}");
    let text = server.run(&["dead-letters", "show", "views", "0"]).ok();
    assert!(text.contains("source  clicks/0@0") && text.ends_with("\n\nfine? no\n"), "{text}");
    server.run(&["dead-letters", "show", "views", "2"]).failed(1, "offset_out_of_range");
    server.run(&["dead-letters", "list", "veiws"]).failed(3, "pipeline_not_found");
}

#[test]
fn a_manifest_that_is_wrong_is_refused_where_it_is_wrong() {
    let server = ready();
    let cases = [
        ("disorder", "disordr", 1, "invalid_manifest", "line 8, column 1: unknown field `disordr`"),
        ("disorder", "disordr", 1, "invalid_manifest", "did you mean `disorder`?"),
        ("\"1m\"", "\"1 minute\"", 1, "invalid_manifest", "`1 minute` is no duration"),
        ("topics = [", "topics = ", 1, "invalid_manifest", "line 5"),
        ("plugin = \"count\"", "plugin = \"cuont\"", 3, "plugin_not_found", "did you mean `count`?"),
        ("[\"clicks\"]", "[\"click\"]", 3, "topic_not_found", "`click`"),
        ("key = \"page\"", "kye = \"page\"", 1, "init_failed", "kye"),
        ("plugin = \"count\"", "plugin = \"parse-json\"", 1, "wrong_world", "`count`"),
    ];
    for (from, to, exit, code, text) in cases {
        let message = apply(&server, &MANIFEST.replacen(from, to, 1)).failed(exit, code);
        assert!(message.contains(text), "{message}");
    }
    server.feed(&["pipeline", "apply", "-"], b"\xff").failed(1, "invalid_request");
    server.run(&["pipeline", "apply", "/nowhere/x.toml"]).failed(3, "local_file");
    for verb in ["show", "pause", "resume"] {
        server.run(&["pipeline", verb, "views"]).failed(3, "pipeline_not_found");
    }
    assert_eq!(server.run(&["pipeline", "list", "-o", "json"]).json(), json!({ "items": [] }));
}

#[test]
fn a_deployed_pipeline_runs_again_after_a_crash() {
    let mut server = ready();
    apply(&server, MANIFEST).ok();
    server.feed(&["topic", "produce", "clicks"], b"{\"page\":\"/a\",\"at\":1000}\n").ok();
    drained(&server, 1);
    server.kill_and_restart();
    server
        .feed(&["topic", "produce", "clicks"], b"{\"page\":\"/a\",\"at\":2000}\n{\"page\":\"/b\",\"at\":200000}\n")
        .ok();
    drained(&server, 3);
    let window: Value = serde_json::from_str(&server.values("views-per-minute").concat()).unwrap();
    assert_eq!(window["count"], 2);
}

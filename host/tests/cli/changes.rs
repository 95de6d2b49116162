//! Changing a pipeline from the command line: names, state that is left behind, versions after a rollback, loops.

use serde_json::{Value, json};

use crate::program::{Ended, Server, built, until};

const MANIFEST: &str = r#"
name = "views"
source = { topics = ["clicks"] }
watermark = { disorder = "10s" }
output = { topic = "views-per-minute" }

[[steps]]
name = "parse"
plugin = "parse-json"
config = { key = "page", timestamp = { field = "at" } }

[[steps]]
name = "count"
plugin = "count"
window = { tumbling = "1m" }
"#;

fn ready() -> Server {
    let server = Server::start();
    server.run(&["topic", "create", "clicks", "--partitions", "1"]).ok();
    for plugin in ["parse-json", "count"] {
        server.run(&["plugin", "push", built(plugin).to_str().unwrap()]).ok();
    }
    server
}

fn apply(server: &Server, manifest: &str, options: &[&str]) -> Ended {
    server.feed(&[&["pipeline", "apply", "-"], options].concat(), manifest.as_bytes())
}

fn show(server: &Server) -> Value {
    server.run(&["pipeline", "show", "views", "-o", "json"]).json()
}

/// Sends clicks on pages at times, in seconds, and waits until so many have been processed.
fn click(server: &Server, clicks: &[(&str, u64)], records: u64) {
    let line = |(page, at): &(&str, u64)| json!({"page": page, "at": at * 1000}).to_string() + "\n";
    let lines: String = clicks.iter().map(line).collect();
    server.feed(&["topic", "produce", "clicks"], lines.as_bytes()).ok();
    until("the end of the input", || Some(show(server)).filter(|now| now["usage"]["records_in"] == records));
}

/// Page, start in seconds and count of each result, from that one on.
fn results(server: &Server, from: usize) -> Vec<String> {
    let values = server.values("views-per-minute");
    let of = |value: &String| {
        let value: Value = serde_json::from_str(value).unwrap();
        format!("{} {} {}", value["key"].as_str().unwrap(), value["start"].as_i64().unwrap() / 1000, value["count"])
    };
    values.iter().skip(from).map(of).collect()
}

/// Sends another version of `count` that does the same.
fn push_again(server: &Server) {
    let mut bytes = std::fs::read(built("count")).unwrap();
    // A custom section of one byte's name and no content.
    bytes.extend([0, 2, 1, b'x']);
    let file = server.folder.path().join("count.wasm");
    std::fs::write(&file, bytes).unwrap();
    server.run(&["plugin", "push", file.to_str().unwrap(), "--name", "count"]).ok();
}

#[test]
fn a_rollback_is_not_undone_by_applying_the_same_manifest_again() {
    let server = ready();
    let version = || {
        let step = show(&server)["steps"][1].clone();
        (step["digest"].as_str().unwrap().to_owned(), step["held"].as_bool().unwrap())
    };
    apply(&server, MANIFEST, &[]).ok();
    let (good, _) = version();
    push_again(&server);
    apply(&server, MANIFEST, &[]).ok();
    let (bad, held) = version();
    assert!(bad != good && !held);

    server.run(&["pipeline", "rollback", "views"]).ok();
    assert_eq!(version(), (good.clone(), true));
    let again = apply(&server, MANIFEST, &[]).ok();
    assert!(again.starts_with("pipeline `views` unchanged\n"), "{again}");
    assert!(again.contains(&format!("step `count` stays at `count@{good}`")), "{again}");
    let shown = server.run(&["pipeline", "show", "views"]).ok();
    assert!(shown.contains(&format!("{good} (held)")), "{shown}");
    // Another change does not bring it back either.
    apply(&server, &MANIFEST.replace("10s", "5s"), &[]).ok();
    assert_eq!(version(), (good.clone(), true));

    let upgraded = apply(&server, &MANIFEST.replace("10s", "5s"), &["--upgrade"]).ok();
    assert!(!upgraded.contains("stays at"), "{upgraded}");
    assert_eq!(version(), (bad.clone(), false));
    server.run(&["pipeline", "rollback", "views"]).ok();
    assert_eq!(version(), (good, true));
    let pinned = MANIFEST.replace("\"count\"\nwindow", &format!("\"count@{bad}\"\nwindow"));
    apply(&server, &pinned, &[]).ok();
    assert_eq!(version(), (bad, false));
}

#[test]
fn a_step_is_renamed_with_its_state_or_leaves_it_behind_and_a_rollback_brings_it_back() {
    let mut server = ready();
    apply(&server, MANIFEST, &[]).ok();
    click(&server, &[("/a", 1)], 1);
    let renamed = MANIFEST.replace("name = \"count\"", "name = \"visits\"");
    let refused = apply(&server, &renamed, &[]).failed(4, "state_conflict");
    assert!(refused.contains("`count`") && refused.contains("--drop-state count"), "{refused}");
    let renamed = renamed.replace("name = \"visits\"", "name = \"visits\"\nwas = \"count\"");
    apply(&server, &renamed, &[]).ok();
    let again = apply(&server, &renamed, &[]).ok();
    assert_eq!(again, "pipeline `views` unchanged\n");
    server.kill_and_restart();
    click(&server, &[("/a", 2), ("/b", 200), ("/a", 210)], 4);
    assert_eq!(results(&server, 0), ["/a 0 2"]);

    apply(&server, &renamed, &["--drop-state", "count"]).failed(3, "step_not_found");
    apply(&server, &renamed, &["--drop-state", "visits"]).ok();
    assert_eq!(show(&server)["dropped_state"], json!(["visits"]));
    click(&server, &[("/a", 211), ("/z", 400)], 6);
    assert_eq!(results(&server, 1), ["/a 180 1"]);

    server.run(&["pipeline", "rollback", "views"]).ok();
    assert_eq!(show(&server)["dropped_state"], json!([]));
    // What came since is processed again, on the state that there was.
    until("the results", || Some(results(&server, 2)).filter(|results| results.len() == 2));
    assert_eq!(results(&server, 2), ["/a 180 2", "/b 180 1"]);
}

#[test]
fn a_restore_under_a_manifest_that_renames_a_step_keeps_its_state() {
    let mut server = ready();
    apply(&server, MANIFEST, &[]).ok();
    click(&server, &[("/a", 1)], 1);
    let taken = server.run(&["checkpoint", "take", "views", "-o", "json"]).json();
    let checkpoint = taken["result"]["checkpoint"].as_str().unwrap().to_owned();
    let file = server.folder.path().join("renamed.toml");
    std::fs::write(&file, MANIFEST.replace("name = \"count\"", "name = \"visits\"\nwas = \"count\"")).unwrap();
    server.run(&["pipeline", "restore", "views", &checkpoint, "--manifest", file.to_str().unwrap()]).ok();
    assert_eq!(show(&server)["steps"][1]["name"], "visits");
    server.kill_and_restart();
    click(&server, &[("/a", 2), ("/b", 200)], 3);
    assert_eq!(results(&server, 0), ["/a 0 2"]);
}

/// A pipeline that carries rows from one topic to others.
fn carrying(name: &str, from: &str, to: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\nsource = {{ topics = [\"{from}\"] }}\noutput = {{ topic = \"{to}\" }}\n{more}\n\
         [[steps]]\nname = \"parse\"\nplugin = \"parse-json\"\nconfig = {{ key = \"page\" }}\n"
    )
}

#[test]
fn pipelines_that_make_a_loop_together_are_refused_by_whatever_way_they_come() {
    let server = ready();
    for topic in ["x", "y", "z"] {
        server.run(&["topic", "create", topic]).ok();
    }
    apply(&server, &carrying("first", "x", "y", ""), &[]).ok();
    apply(&server, &carrying("second", "y", "z", ""), &[]).ok();
    let way =
        "topic `z` -> pipeline `third` -> topic `x` -> pipeline `first` -> topic `y` -> pipeline `second` -> topic `z`";
    for manifest in [carrying("third", "z", "x", ""), carrying("third", "z", "o", "dead-letters = { topic = \"x\" }")] {
        let message = apply(&server, &manifest, &[]).failed(4, "pipeline_loop");
        assert!(message.contains(way), "{message}");
    }
    server.run(&["pipeline", "show", "third"]).failed(3, "pipeline_not_found");
    let own = apply(&server, &carrying("own", "z", "o", "dead-letters = { topic = \"z\" }"), &[]);
    assert!(own.failed(1, "invalid_manifest").contains("topic `z` is a source of this pipeline"));

    // One that is paused may go on at any time.
    server.run(&["pipeline", "pause", "second"]).ok();
    apply(&server, &carrying("third", "z", "x", ""), &[]).failed(4, "pipeline_loop");

    // A fork, and a rollback to what has become a loop.
    let taken = server.run(&["checkpoint", "take", "second", "-o", "json"]).json();
    let checkpoint = taken["result"]["checkpoint"].as_str().unwrap().to_owned();
    let file = server.folder.path().join("third.toml");
    std::fs::write(&file, carrying("third", "z", "x", "")).unwrap();
    let fork = ["pipeline", "restore", "second", &checkpoint, "--as", "third", "--manifest", file.to_str().unwrap()];
    server.run(&fork).failed(4, "pipeline_loop");
    apply(&server, &carrying("second", "y", "elsewhere", ""), &[]).ok();
    apply(&server, &carrying("third", "z", "x", ""), &[]).ok();
    server.run(&["pipeline", "rollback", "second"]).failed(4, "pipeline_loop");
    assert!(server.run(&["pipeline", "show", "second"]).ok().contains("elsewhere"));
}

#[test]
fn of_two_pipelines_that_make_a_loop_and_are_deployed_at_once_one_is_refused() {
    let server = ready();
    for round in 0..4 {
        let (x, y) = (format!("x{round}"), format!("y{round}"));
        for topic in [&x, &y] {
            server.run(&["topic", "create", topic]).ok();
        }
        let manifests = [carrying(&format!("a{round}"), &x, &y, ""), carrying(&format!("b{round}"), &y, &x, "")];
        let ended: Vec<Ended> = std::thread::scope(|scope| {
            let applied = manifests.each_ref().map(|manifest| scope.spawn(|| apply(&server, manifest, &[])));
            applied.into_iter().map(|applied| applied.join().unwrap()).collect()
        });
        let codes: Vec<_> = ended.iter().map(|ended| ended.code).collect();
        assert!(codes == [Some(0), Some(4)] || codes == [Some(4), Some(0)], "{ended:?}");
    }
}

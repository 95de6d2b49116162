use serde_json::json;

use crate::program::{Server, built, program, run, workspace};

#[test]
fn a_plugin_is_built_checked_pushed_and_shown() {
    let server = Server::start();
    let file = built("count");
    let file = file.to_str().unwrap();
    let checked = run(program().args(["plugin", "check", file, "-o", "json"]), b"").json();
    assert_eq!((&checked["world"], &checked["initialized"]), (&json!("aggregate"), &json!(null)));
    let text = run(program().args(["plugin", "check", file]), b"").ok();
    assert!(text.contains("world     aggregate") && text.contains("OUTPUT"), "{text}");

    let pushed = server.run(&["plugin", "push", file, "-o", "json"]).json();
    assert_eq!((&pushed["created"], &pushed["version"]["version"]), (&json!(true), &json!(1)));
    assert_eq!(pushed["version"]["digest"], checked["digest"]);
    let again = server.run(&["plugin", "push", file]).ok();
    assert!(again.starts_with("plugin `count` is already version 1, sha256:"), "{again}");
    server.run(&["plugin", "push", file, "--name", "other"]).ok();

    let list = server.run(&["plugin", "list", "-o", "json"]).json();
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
    assert_eq!(names, ["count", "other"]);
    let pinned = format!("count@{}", checked["digest"].as_str().unwrap());
    assert_eq!(server.run(&["plugin", "inspect", &pinned, "-o", "json"]).json(), pushed["version"]);
    let shown = server.run(&["plugin", "inspect", "count"]).ok();
    assert!(shown.contains("config schema:") && shown.contains("world     aggregate"), "{shown}");
}

#[test]
fn what_is_no_plugin_is_refused_here_and_there_with_the_same_code() {
    let server = Server::start();
    let file = server.folder.path().join("text.wasm");
    std::fs::write(&file, "not a component").unwrap();
    let text = file.to_str().unwrap();
    run(program().args(["plugin", "check", text]), b"").failed(1, "not_a_component");
    server.run(&["plugin", "push", text]).failed(1, "not_a_component");
    std::fs::write(&file, vec![0; (8 << 20) + 1]).unwrap();
    run(program().args(["plugin", "check", text]), b"").failed(1, "limit_component_bytes");
    server.run(&["plugin", "push", text]).failed(1, "body_too_large");
    run(program().args(["plugin", "check", "/nowhere/x.wasm"]), b"").failed(3, "local_file");

    let meant = built("count");
    server.run(&["plugin", "push", meant.to_str().unwrap()]).ok();
    let message = server.run(&["plugin", "inspect", "cuont"]).failed(3, "plugin_not_found");
    assert!(message.contains("did you mean `count`?"), "{message}");
    let other = format!("count@sha256:{}", "0".repeat(64));
    server.run(&["plugin", "inspect", &other]).failed(3, "plugin_version_not_found");
    assert_eq!(server.run(&["plugin", "inspect", "Count"]).code, Some(2));
}

#[test]
fn a_configuration_is_tried_with_init() {
    let file = built("parse-json");
    let file = file.to_str().unwrap();
    let check = |config: &str| run(program().args(["plugin", "check", file, "--config", config]), b"");
    let taken = check(r#"{"key":"page"}"#).ok();
    assert!(taken.contains("config    taken by init"), "{taken}");
    check(r#"{"kye":"page"}"#).failed(1, "init_failed");
    check("{").failed(1, "invalid_config");
}

#[test]
fn a_new_project_passes_its_tests_and_becomes_a_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let here = |arguments: &[&str]| run(program().args(arguments).current_dir(folder.path()), b"");
    here(&["plugin", "build", "nothing"]).failed(3, "no_project");
    for template in ["transform", "aggregate"] {
        let name = format!("my-{template}");
        assert_eq!(here(&["plugin", "new", &name, "--template", template]).ok(), format!("{name}\n"));
        here(&["plugin", "new", &name]).failed(4, "local_file");
        // The versions of this repository, so that nothing is downloaded for a test.
        std::fs::copy(workspace().join("Cargo.lock"), folder.path().join(&name).join("Cargo.lock")).unwrap();
        here(&["plugin", "check", &name]).failed(3, "not_built");
        let tests = here(&["plugin", "test", &name]).ok();
        assert!(tests.contains("test result: ok"), "{tests}");
        let built = here(&["plugin", "build", &name, "-o", "json"]).json();
        assert!(built["bytes"].as_u64().is_some_and(|bytes| bytes < 1 << 20), "{built}");
        let checked = here(&["plugin", "check", &name, "-o", "json"]).json();
        assert_eq!((&checked["world"], &checked["digest"]), (&json!(template), &built["digest"]));
    }
    let broken = folder.path().join("my-transform/src/lib.rs");
    std::fs::write(broken, "this is not Rust").unwrap();
    let message = here(&["plugin", "build", "my-transform"]).failed(1, "build_failed");
    assert!(message.contains("src/lib.rs:1"), "the compiler's words are shown: {message}");
    here(&["plugin", "new", "x", "--sdk", "/nowhere"]).failed(3, "sdk_not_found");
}

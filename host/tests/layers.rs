//! Imports point down only: a module may use those before it in the list of layers, and its own layer's where listed.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the bottom up. A module may use what stands in an earlier line.
const LAYERS: &[&[&str]] = &[
    &["clock", "error", "fail", "files", "names"],
    &["environment", "ids"],
    &["document", "record"],
    &["time"],
    &["log", "plugin"],
    &["state"],
    &["catalog", "spill"],
    &["checkpoint"],
    &["pipeline"],
    &["api"],
    &["cli"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it can be read")) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn imports_point_down_only() {
    let root = Path::new(env!("MILLSTREAM_WORKSPACE")).join("host/src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut upward = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).expect("it is below the root");
        let first = inside.components().next().expect("it has a name").as_os_str().to_string_lossy().into_owned();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let own = layer(module).unwrap_or_else(|| panic!("module `{module}` has no layer: give it one"));
        let text = fs::read_to_string(&file).expect("it is text");
        let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code = body.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for rest in line.split("crate::").skip(1) {
                let used: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                if used != module && layer(&used).is_some_and(|used| used >= own) {
                    upward.push(format!("{}: {}", inside.display(), line.trim()));
                }
            }
        }
    }
    assert!(upward.is_empty(), "imports that do not point down:\n{}", upward.join("\n"));
}

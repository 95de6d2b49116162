//! Imports point down only: a module may use those in earlier lines of the list of layers, and no other of its own line.
//!
//! The lists are of the crate's modules, and of the modules inside those that are large. What a module defines itself, in
//! its `mod.rs`, may be used by all that is inside it; a name that it passes on counts as the module that has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules inside one, from the bottom up. Those of one string use one another: they are one thing in several files.
type Layers = &'static [&'static [&'static str]];

/// The crate.
const CRATE: Layers = &[
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

const PIPELINE: Layers = &[&["spec", "status"], &["error"], &["engine"], &["io"], &["trial"], &["deploy", "driver"]];

const ENGINE: Layers = &[
    &["calls", "gather", "lineage", "references", "thresholds", "work"],
    &["rows"],
    &["plan", "rounds", "row_watermarks", "sweep"],
    &["dead_letter", "step_state", "topic_ids"],
    &["arrival", "backlog", "carry", "outputs"],
    &["lanes", "transform_output"],
    &["horizon", "steps"],
    &["flow", "machine"],
    &["apply", "blocks", "warm_state"],
];

const PLUGIN: Layers = &[
    &["bindings", "limits", "memory", "metric", "ticker", "wasi_state"],
    &["engine", "guest", "lines", "measured"],
    &["failure"],
    &["emission", "error"],
    &["check", "grant", "reach"],
    &["ctx"],
    &["host"],
    &["wasi"],
    &["describe", "linker", "prescan", "wire"],
    &["cache", "code", "compile", "worker"],
    &["call"],
    &["sandbox"],
];

const STATE: Layers = &[
    &["spill", "summary", "ticks"],
    &["slots"],
    &["block", "groups"],
    &["keyed", "keyed_windows", "reference", "windows"],
];

fn root() -> PathBuf {
    Path::new(env!("MILLSTREAM_WORKSPACE")).join("host/src")
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

/// The path in the crate of the module that a file is; the crate's own are not inside it.
fn module(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(root()).expect("it is below the root").with_extension("");
    let mut names: Vec<_> = inside.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|last| last == "mod") || matches!(&names[..], [one] if one == "lib" || one == "main") {
        names.pop();
    }
    names
}

/// What a file has beside comments and tests.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    body.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// Follows a path and its braces: what it leads to, each with the name that it has here. Gives what is behind it.
fn follow<'a>(mut rest: &'a str, mut path: Vec<String>, into: &mut Vec<(Vec<String>, String)>) -> &'a str {
    loop {
        rest = rest.trim_start();
        if let Some(mut inside) = rest.strip_prefix('{') {
            loop {
                inside = inside.trim_start().trim_start_matches(',').trim_start();
                match inside.strip_prefix('}') {
                    Some(behind) => return behind,
                    None => {
                        let behind = follow(inside, path.clone(), into);
                        assert!(behind.len() < inside.len(), "this is no import: {inside}");
                        inside = behind;
                    }
                }
            }
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end == 0 {
            into.push((path, "*".to_owned()));
            return rest.strip_prefix('*').unwrap_or(rest);
        }
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        path.push(name.clone());
        match rest.strip_prefix("::") {
            Some(more) if more.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '{' | '*')) => {
                rest = more
            }
            _ => {
                let alias = rest.strip_prefix(" as ").map(|alias| alias.split([',', ';', '}', '\n']).next());
                into.push((path, alias.flatten().unwrap_or(&name).trim().to_owned()));
                return rest.find([',', ';', '}']).filter(|_| alias.is_some()).map_or(rest, |end| &rest[end..]);
            }
        }
    }
}

/// All paths in a module's code that begin at the crate, at the module or above it, as the crate has them.
fn used(module: &[String], code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            if !code[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                follow(&code[at..], Vec::new(), &mut found);
            }
        }
    }
    found.into_iter().map(|(path, _)| resolve(module, &path)).collect()
}

fn resolve(module: &[String], path: &[String]) -> Vec<String> {
    let mut from = module.to_vec();
    for (at, name) in path.iter().enumerate() {
        match name.as_str() {
            "crate" => from.clear(),
            "super" => drop(from.pop()),
            "self" => {}
            _ => return [&from, &path[at..]].concat(),
        }
    }
    from
}

/// The names that a module has from those inside it, each with the one that it has it from.
fn passed_on(module: &[String], code: &str, inside: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        follow(&code[at + "use ".len()..], Vec::new(), &mut found);
    }
    let from = |path: &[String]| match path[0].as_str() {
        "crate" | "super" | "self" => resolve(module, path).strip_prefix(module)?.first().cloned(),
        first => Some(first.to_owned()),
    };
    let found = found.into_iter().filter_map(|(path, name)| Some((name, from(&path)?)));
    found.filter(|(_, from)| inside.contains(from)).collect()
}

fn layer(layers: Layers, module: &str) -> Option<(usize, &'static str)> {
    let groups = layers.iter().enumerate().flat_map(|(at, groups)| groups.iter().map(move |group| (at, *group)));
    groups.into_iter().find(|(_, group)| group.split(' ').any(|name| name == module))
}

/// The uses in a module's code that do not point down, among the modules inside `scope`.
fn upward(
    scope: &[String],
    layers: Layers,
    names: &BTreeMap<String, String>,
    module: &[String],
    code: &str,
) -> Vec<String> {
    let own = &module[scope.len()];
    let (at, group) = layer(layers, own).unwrap_or_else(|| panic!("module `{own}` has no layer: give it one"));
    let points_down = |used: &[String]| {
        let Some(first) = used.strip_prefix(scope).and_then(<[String]>::first) else { return true };
        let first = names.get(first).unwrap_or(first);
        layer(layers, first).is_none_or(|(used, other)| first == own || used < at || other == group)
    };
    let wrong = used(module, code).into_iter().filter(|used| !points_down(used));
    wrong.map(|used| format!("{} uses {}", module.join("::"), used.join("::"))).collect()
}

fn check(scope: &str, layers: Layers) {
    let folder = root().join(scope);
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let read = |file: &Path| code(&fs::read_to_string(file).expect("it is text"));
    let scope: Vec<String> = scope.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let inside: BTreeSet<String> = files.iter().filter_map(|file| module(file).get(scope.len()).cloned()).collect();
    for name in layers.iter().copied().flatten().flat_map(|group| group.split(' ')) {
        assert!(inside.contains(name), "there is no module `{name}`: take it from the list of layers");
    }
    let is_scope = |file: &&PathBuf| module(file) == scope;
    let names = files.iter().filter(is_scope).flat_map(|file| passed_on(&scope, &read(file), &inside)).collect();
    let of_tests = |module: &[String]| module.iter().any(|name| name == "tests" || name.ends_with("_tests"));
    let mut wrong = Vec::new();
    for file in &files {
        let module = module(file);
        if module.len() > scope.len() && !of_tests(&module) {
            wrong.extend(upward(&scope, layers, &names, &module, &read(file)));
        }
    }
    assert!(wrong.is_empty(), "imports that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn imports_point_down_only() {
    check("", CRATE);
}

#[test]
fn imports_inside_the_pipeline_point_down_only() {
    check("pipeline", PIPELINE);
}

#[test]
fn imports_inside_the_engine_point_down_only() {
    check("pipeline/engine", ENGINE);
}

#[test]
fn imports_inside_the_sandbox_point_down_only() {
    check("plugin", PLUGIN);
}

#[test]
fn imports_inside_the_state_point_down_only() {
    check("state", STATE);
}

#[test]
fn every_way_to_write_an_import_is_seen() {
    let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    let root = "mod error;\npub use error::Error;\nuse self::io::{self, intake::Take as Taken};\npub struct Own;";
    let inside = ["spec", "error", "engine", "io"].map(str::to_owned).into();
    let names = passed_on(&path("pipeline"), root, &inside);
    let wrong = |code: &str| {
        let found = upward(&path("pipeline"), PIPELINE, &names, &path("pipeline::engine::plan"), code);
        found.iter().map(|text| text.rsplit(' ').next().expect("it has words").to_owned()).collect::<Vec<_>>()
    };
    let down = "use super::rows::Rows;\nuse crate::pipeline::{Error, Own, spec};\npub(in crate::pipeline) fn f() {}";
    assert_eq!(wrong(down), Vec::<String>::new());
    assert_eq!(wrong("use crate::pipeline::io::runner;"), ["pipeline::io::runner"]);
    assert_eq!(
        wrong("use crate::{\n    ids,\n    pipeline::{error, deploy::{Apply, topics}},\n};"),
        ["pipeline::deploy::Apply", "pipeline::deploy::topics"]
    );
    assert_eq!(wrong("use super::super::{io::*, spec as other, Taken};"), ["pipeline::io", "pipeline::Taken"]);
    assert_eq!(wrong("let run = super::super::driver::run::<u8>(1);"), ["pipeline::driver::run"]);
}

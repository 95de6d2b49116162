//! Every stable code has a place in `host/docs/errors.md`, and every place there is the place of a code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use millstream::plugin::{Check, FailureCode};

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

/// The texts between double quotes that look like codes.
fn codes_in(text: &str) -> impl Iterator<Item = String> {
    let quoted = text.split('"').skip(1).step_by(2);
    quoted
        .filter(|text| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .map(str::to_owned)
}

/// All codes of the sources: what `fn code` answers, what failures of commands are made with, what reasons say.
fn codes() -> BTreeSet<String> {
    let root = Path::new(env!("MILLSTREAM_WORKSPACE")).join("host/src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut codes = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("it is text");
        let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for method in body.split("fn code(&self)").skip(1) {
            let body = method.split("\n    }\n").next().unwrap_or_default();
            let lines: Vec<_> = body.lines().filter(|line| !line.trim_start().starts_with("#[")).collect();
            codes.extend(codes_in(&lines.join("\n")));
        }
        for made in body.split("Failure::new(").skip(1) {
            codes.extend(codes_in(made.split(',').next().unwrap_or_default()));
        }
        for reason in body.split("code: \"").skip(1) {
            codes.extend(reason.split('"').next().map(str::to_owned));
        }
    }
    codes.extend(Check::ALL.iter().map(|check| check.code().to_owned()));
    codes.extend(FailureCode::ALL.iter().map(|code| code.as_str().to_owned()));
    codes
}

#[test]
fn every_code_is_explained_and_nothing_else_is() {
    let page =
        fs::read_to_string(Path::new(env!("MILLSTREAM_WORKSPACE")).join("host/docs/errors.md")).expect("it is there");
    let explained: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(|code| code.trim_matches('`').to_owned())
        .collect();
    let codes = codes();
    assert!(codes.len() > 80, "the sources are no longer read as they are written: {codes:?}");
    let missing: Vec<_> = codes.difference(&explained).collect();
    assert!(missing.is_empty(), "host/docs/errors.md lacks {missing:?}");
    let gone: Vec<_> = explained.difference(&codes).collect();
    assert!(gone.is_empty(), "host/docs/errors.md explains what does not exist: {gone:?}");
}

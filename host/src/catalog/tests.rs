//! The catalog on a real folder: what is written is read, and what was tampered with is named.

use std::path::Path;
use std::sync::Arc;

use super::folder::Folder;
use super::*;
use crate::environment::System;
use crate::files::SystemFiles;
use crate::ids::default_tenant;
use crate::plugin::{Certificate, Output, Reads};

const MANIFEST: &str = r#"
name = "views"
source = { topics = ["clicks"] }
steps = [{ name = "parse", plugin = "parse-json" }]
output = { topic = "out" }
"#;

fn open(folder: &Path) -> Result<Folder, Error> {
    Folder::open(Arc::new(SystemFiles), Arc::new(System), folder.to_owned())
}

fn name(text: &str) -> PluginName {
    text.parse().expect("a name")
}

fn certificate(component: &[u8]) -> Certificate {
    Certificate {
        digest: Digest::of(component),
        world: World::Transform,
        description: Description {
            world: World::Transform,
            summary: "keeps everything".to_owned(),
            config_schema: "{}".to_owned(),
            reads: Reads { keys: true, values: true, headers: false },
            outputs: vec![Output { name: "out".to_owned(), summary: String::new() }],
        },
        snapshot: true,
        no_snapshot: None,
        imports: vec!["millstream:plugin/log".to_owned()],
        bytes: component.len() as u64,
    }
}

fn push(catalog: &Folder, plugin: &str, component: &[u8]) -> PluginVersion {
    let pushed = catalog.push_plugin(&default_tenant(), &name(plugin), &certificate(component), component);
    pushed.expect("pushed").version
}

fn pipeline(id: PipelineId) -> StoredPipeline {
    StoredPipeline {
        tenant: default_tenant(),
        name: "views".parse().expect("a name"),
        id,
        manifest: MANIFEST.to_owned(),
        paused: false,
        digests: BTreeMap::from([("parse".parse().expect("a name"), Digest::of(b"one"))]),
        held: BTreeSet::from(["parse".parse().expect("a name")]),
        dropped_state: BTreeSet::new(),
        upgraded_from: None,
    }
}

#[test]
fn what_was_put_is_there_after_opening_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path()).expect("opened");
    let first = push(&catalog, "parse-json", b"one");
    let second = push(&catalog, "parse-json", b"two");
    let id = catalog.next_pipeline_id().expect("a number");
    catalog.put_pipeline(&pipeline(id)).expect("put");

    let again = open(folder.path()).expect("opened again");
    assert_eq!(again.plugins(&default_tenant()), [first.clone(), second.clone()]);
    assert_eq!((first.version, second.version), (1, 2));
    assert_eq!(again.plugin(&default_tenant(), &"parse-json".parse().expect("a plugin")).expect("found"), second);
    let pinned = format!("parse-json@{}", first.digest).parse().expect("a plugin");
    assert_eq!(again.plugin(&default_tenant(), &pinned).expect("found"), first);
    assert_eq!(again.component(&default_tenant(), &first.digest).expect("read"), &b"one"[..]);
    assert_eq!(again.pipelines(), [pipeline(id)]);
    assert_eq!(again.next_pipeline_id().expect("a number"), PipelineId(id.0 + 1));
}

#[test]
fn pushing_the_same_bytes_again_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path()).expect("opened");
    let first = push(&catalog, "count", b"one");
    push(&catalog, "count", b"two");
    assert_eq!(push(&catalog, "count", b"one"), first);
    assert_eq!(catalog.plugins(&default_tenant()).len(), 2);
}

#[test]
fn what_is_unknown_is_refused_with_what_may_have_been_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path()).expect("opened");
    push(&catalog, "parse-json", b"one");
    let find = |text: &str| {
        let plugin = text.parse().expect("a plugin");
        catalog.plugin(&default_tenant(), &plugin).expect_err("unknown").to_string()
    };
    assert_eq!(find("parse-jsn"), "plugin `parse-jsn` does not exist: did you mean `parse-json`?");
    assert!(find("xyz").ends_with("push it with `millstream plugin push`"));
    let other = Digest::of(b"other");
    assert!(find(&format!("parse-json@{other}")).contains(&format!("has no version {other}")));
    assert!(matches!(catalog.component(&default_tenant(), &other), Err(Error::ComponentNotFound { .. })));
}

#[test]
fn a_tenant_sees_nothing_of_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path()).expect("opened");
    let version = push(&catalog, "count", b"one");
    let other: TenantId = "other".parse().expect("a tenant");
    assert!(catalog.plugins(&other).is_empty());
    assert!(catalog.plugin(&other, &"count".parse().expect("a plugin")).is_err());
    assert!(matches!(catalog.component(&other, &version.digest), Err(Error::ComponentNotFound { .. })));
}

#[test]
fn a_removed_pipeline_stays_removed_and_its_number_is_not_given_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path()).expect("opened");
    let id = catalog.next_pipeline_id().expect("a number");
    catalog.put_pipeline(&pipeline(id)).expect("put");
    let views = "views".parse().expect("a name");
    for _ in 0..2 {
        catalog.remove_pipeline(&default_tenant(), &views).expect("removed");
    }
    let again = open(folder.path()).expect("opened again");
    assert!(again.pipelines().is_empty());
    assert!(again.next_pipeline_id().expect("a number") > id);
}

#[test]
fn a_component_that_was_changed_or_lost_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path()).expect("opened");
    let version = push(&catalog, "count", b"one");
    let file = catalog.paths(&default_tenant()).component(&version.digest);
    std::fs::write(&file, b"0ne").expect("changed");
    let error = catalog.component(&default_tenant(), &version.digest).expect_err("changed").to_string();
    assert!(error.contains(&version.digest.hex()) && error.contains("does not have the digest"), "{error}");
    std::fs::remove_file(&file).expect("removed");
    assert!(matches!(catalog.component(&default_tenant(), &version.digest), Err(Error::Corrupt { .. })));
}

#[test]
fn what_does_not_belong_into_the_folder_stops_the_start_by_name() {
    let spoil: [fn(&Path); 4] = [
        |folder| std::fs::write(folder.join("stray"), b"").expect("written"),
        |folder| std::fs::create_dir(folder.join("tenants/A")).expect("made"),
        |folder| {
            let plugins = folder.join("tenants/default/plugins");
            std::fs::rename(plugins.join("count"), plugins.join("stray")).expect("moved");
        },
        |folder| std::fs::remove_file(folder.join("next-pipeline-id.json")).expect("removed"),
    ];
    for (place, spoil) in spoil.iter().enumerate() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = open(folder.path()).expect("opened");
        push(&catalog, "count", b"one");
        let id = catalog.next_pipeline_id().expect("a number");
        catalog.put_pipeline(&pipeline(id)).expect("put");
        spoil(folder.path());
        let error = open(folder.path()).expect_err("spoilt");
        let expected = ["stray", "tenants/A", "stray", "next-pipeline-id.json"][place];
        assert!(matches!(error, Error::Corrupt { .. }) && error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_push_that_was_cut_short_is_as_if_it_never_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path()).expect("opened");
    let paths = catalog.paths(&default_tenant());
    // What is on disk after the component and before the version.
    file::make_folder(&SystemFiles, &paths.components()).expect("made");
    file::write(&SystemFiles, &paths.component(&Digest::of(b"one")), b"one").expect("written");
    file::make_folder(&SystemFiles, &paths.plugin(&name("count"))).expect("made");
    let again = open(folder.path()).expect("opened again");
    assert!(again.plugin(&default_tenant(), &"count".parse().expect("a plugin")).is_err());
    assert_eq!(push(&again, "count", b"one").version, 1);
}

#[test]
fn a_damaged_file_of_a_pipeline_is_put_aside_and_named_at_every_start() {
    let spoil: [fn(&Path); 3] = [
        |file| std::fs::write(file, b"{").expect("written"),
        |file| std::fs::write(file, b"").expect("written"),
        |file| std::fs::rename(file, file.with_file_name("stray.json")).expect("moved"),
    ];
    for (place, spoil) in spoil.iter().enumerate() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = open(folder.path()).expect("opened");
        let id = catalog.next_pipeline_id().expect("a number");
        catalog.put_pipeline(&pipeline(id)).expect("put");
        let other = StoredPipeline { name: "other".parse().expect("a name"), ..pipeline(PipelineId(0)) };
        catalog.put_pipeline(&other).expect("put");
        let paths = catalog.paths(&default_tenant());
        spoil(&paths.pipeline(&"views".parse().expect("a name")));
        for _ in 0..2 {
            let again = open(folder.path()).expect("the others are opened");
            assert_eq!(again.pipelines(), std::slice::from_ref(&other));
            let file = paths.damaged().join(["views.json", "views.json", "stray.json"][place]);
            let damaged = again.damaged(&default_tenant());
            assert_eq!(damaged.iter().map(|damaged| &damaged.file).collect::<Vec<_>>(), [&file]);
            assert!(!damaged[0].reason.is_empty() && file.exists());
        }
        // A second one of the same name does not take its place.
        catalog.put_pipeline(&pipeline(id)).expect("put");
        spoil(&paths.pipeline(&"views".parse().expect("a name")));
        let again = open(folder.path()).expect("the others are opened");
        assert_eq!(again.damaged(&default_tenant()).len(), 2);
    }
}

#[test]
fn a_file_of_another_format_stops_the_start_and_stays_where_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path()).expect("opened");
    let id = catalog.next_pipeline_id().expect("a number");
    catalog.put_pipeline(&pipeline(id)).expect("put");
    let file = catalog.paths(&default_tenant()).pipeline(&"views".parse().expect("a name"));
    std::fs::write(&file, br#"{"format":9,"what":"ever"}"#).expect("written");
    assert!(matches!(open(folder.path()), Err(Error::UnknownFormat { found: 9, .. })));
    assert!(file.exists());
}

#[test]
fn intents_are_there_after_opening_again_until_they_are_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path()).expect("opened");
    let views = "views".parse().expect("a name");
    let staged = Intent { id: PipelineId(7), pipeline: views, purpose: Purpose::Stage };
    catalog.put_intent(&default_tenant(), &staged).expect("put");
    let switch = Intent { purpose: Purpose::Switch { replaces: Some(PipelineId(3)) }, ..staged };
    catalog.put_intent(&default_tenant(), &switch).expect("put in its place");
    let again = open(folder.path()).expect("opened again");
    assert_eq!(again.intents(), [(default_tenant(), switch)]);
    for _ in 0..2 {
        again.remove_intent(&default_tenant(), PipelineId(7)).expect("removed");
    }
    assert!(again.intents().is_empty());
    assert!(open(folder.path()).expect("opened again").intents().is_empty());
}

#[test]
fn a_change_that_fails_leaves_what_was_there_or_says_that_it_is_not_known() {
    // Folders are synced when the change can be seen already.
    for (failing, removed) in [(1, false), (2, false), (1, true), (2, true)] {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = open(folder.path()).expect("opened");
        let id = catalog.next_pipeline_id().expect("a number");
        let before = pipeline(id);
        catalog.put_pipeline(&before).expect("put");
        // What is put is preceded by its folder, which is there and synced again.
        crate::files::faults::fail_syncs(u32::from(!removed), failing);
        let error = match removed {
            true => catalog.remove_pipeline(&default_tenant(), &before.name),
            false => catalog.put_pipeline(&StoredPipeline { paused: true, ..before.clone() }),
        };
        let error = error.expect_err("the folder cannot be synced");
        assert_eq!(matches!(error, Error::Unsettled { .. }), failing == 2, "{error}");
        assert_eq!(catalog.pipelines(), std::slice::from_ref(&before), "what is known does not change");
        if failing == 1 {
            let again = open(folder.path()).expect("opened again");
            assert_eq!(again.pipelines(), std::slice::from_ref(&before), "and neither does what is written");
        }
        // The next change that succeeds settles it.
        catalog.put_pipeline(&before).expect("the disk is well again");
        assert_eq!(open(folder.path()).expect("opened again").pipelines(), [before]);
    }
}

#[test]
fn a_number_that_somebody_knows_is_not_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path()).expect("opened");
    catalog.skip_pipeline_id(PipelineId(41)).expect("skipped");
    catalog.skip_pipeline_id(PipelineId(7)).expect("nothing to do");
    assert_eq!(catalog.next_pipeline_id().expect("a number"), PipelineId(42));
    let again = open(folder.path()).expect("opened again");
    assert_eq!(again.next_pipeline_id().expect("a number"), PipelineId(43));
}

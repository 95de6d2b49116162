//! The driver of pipelines with the tenants' manifests: plugins compiled in, and the same as components.

use std::fs;

use harness::workspace;
use millstream_sdk::testing::{Input, Setup, TestDriver};

const ACCESS_LOG: [&str; 2] = ["parse-access-log", "count"];

fn manifest(pipeline: &str) -> String {
    harness::tenant_file("web-shop", &format!("pipelines/{pipeline}.toml")).expect("the tenant is there")
}

fn lines(file: &str) -> Vec<String> {
    let path = workspace().join("tenants/web-shop").join(file);
    fs::read_to_string(path).expect("the sample is there").lines().map(str::to_owned).collect()
}

fn page_views() -> Setup {
    TestDriver::of(&manifest("page-views"))
        .plugin::<parse_json::ParseJson>("parse-json")
        .plugin::<count::Count>("count")
        .partitions("clicks", 3)
}

/// Clicks with the time from the sample, each in the partition of its page, as producers send them.
fn clicks() -> Vec<Input> {
    let page = |line: &str| {
        let click: serde_json::Value = serde_json::from_str(line).ok()?;
        click["page"].as_str().map(str::to_owned)
    };
    let click = |line: String| {
        let page = page(&line);
        let input = Input::value(line);
        page.map_or(input.clone(), |page| input.key(page))
    };
    lines("clicks.jsonl").into_iter().map(click).collect()
}

#[test]
fn page_views_count_every_click_once_however_it_is_cut() {
    page_views().check_cuts(|driver| {
        driver.feed("clicks", clicks());
        driver.end();
        let usage = driver.status().usage;
        let views: u64 =
            driver.read("page-views-per-minute").iter().filter_map(|row| row.json()["count"].as_u64()).sum();
        assert!(views > 0);
        assert_eq!(views + usage.late + usage.dead_letters, usage.records_in);
    });
}

#[test]
fn components_give_what_the_same_plugins_give_natively() {
    // It is what compiles.
    harness::binary().expect("the server can be built");
    let manifest = manifest("access-log");
    let native = TestDriver::of(&manifest)
        .plugin::<parse_access_log::ParseAccessLog>("parse-access-log")
        .plugin::<count::Count>("count");
    let components = ACCESS_LOG.iter().fold(TestDriver::of(&manifest), |setup, plugin| {
        setup.component(plugin, harness::component(plugin).expect("it can be built"))
    });
    let run = |setup: &Setup| {
        let mut driver = setup.start().unwrap_or_else(|refused| panic!("{refused}"));
        driver.batch_size(7);
        driver.feed("access-log", lines("access.log"));
        driver.end();
        let letters: Vec<_> = driver.dead_letters().into_iter().map(|letter| (letter.code, letter.row)).collect();
        (driver.read("requests-per-minute"), letters, driver.status().usage)
    };
    let (native, components) = (run(&native), run(&components));
    assert!(native.0.len() > 3, "{native:?}");
    assert_eq!((&components.0, &components.1), (&native.0, &native.1));
    assert!(components.2.fuel > 0 && native.2.fuel == 0, "only the sandbox counts fuel");
}

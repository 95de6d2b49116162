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

/// Counts each key's rows until it is quiet for 100 ms; totals that are even are rejected.
const TALLIES: &str = r#"
name = "tallies"
[source]
topics = ["in"]
[watermark]
disorder = "0s"
[[steps]]
name = "tally"
plugin = "tally"
config = { every = 1, quiet_ms = 100, reject_every = 2 }
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;

/// The second row comes when the first timer of `a` has been rejected and that of `b` has fired, in the same micro-batch if
/// that is not cut.
fn tally(driver: &mut TestDriver) {
    let row = |(key, time): (&str, i64)| Input::null().key(key).at(time);
    driver.feed("in", [("a", 10), ("b", 10), ("a", 20), ("c", 300), ("a", 310), ("b", 320), ("d", 600)].map(row));
    driver.end();
}

#[test]
fn a_rejected_timer_is_a_dead_letter_and_changes_nothing_native_or_compiled() {
    harness::binary().expect("the server can be built");
    let native = TestDriver::of(TALLIES).plugin::<tally::Tally>("tally");
    let component = TestDriver::of(TALLIES).component("tally", harness::component("tally").expect("it can be built"));
    for setup in [native, component] {
        let mut driver = setup.start().unwrap_or_else(|refused| panic!("{refused}"));
        tally(&mut driver);
        let rows: Vec<_> =
            driver.read("out").iter().map(|row| (row.key_text() + " " + &row.value_text(), row.timestamp)).collect();
        let of_a: Vec<_> = rows.iter().filter(|(text, _)| text.starts_with('a')).collect();
        let row = |text: &str, time| (text.to_owned(), time);
        let expected = [row("a count 1", 10), row("a count 2", 20), row("a count 3", 310), row("a total 3", 410)];
        assert!(of_a.into_iter().eq(&expected), "the count goes on, and no total of 2: {rows:?}");
        assert!(rows.contains(&row("b total 1", 110)), "{rows:?}");
        let letters = driver.dead_letters();
        let [letter] = letters.as_slice() else { panic!("one timer is rejected, once: {letters:?}") };
        assert_eq!((letter.step.as_str(), letter.code.as_str()), ("tally", "told-to"));
        assert_eq!(letter.reason, "its total is 2");
        assert_eq!((letter.row.key_text().as_str(), letter.row.timestamp), ("a", 120));
        let of_timer = |name: &str| letter.provenance.get(&format!("timer-{name}")).map(String::as_str);
        assert_eq!(
            (of_timer("id"), of_timer("time"), of_timer("domain")),
            (Some("1"), Some("120"), Some("event-time"))
        );
        let usage = driver.status().usage;
        assert_eq!((usage.dead_letters, usage.failed_calls), (1, 0), "no call had to be made again");
        setup.check_cuts(tally);
    }
}

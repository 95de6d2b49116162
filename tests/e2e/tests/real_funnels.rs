//! How far visits come in a funnel: shoppers from clicks to orders, and readers of a web server from its home page to a
//! picture of a mission.
//!
//! What is expected is computed from all events of a visit, by definition: a step is taken by the first event that
//! fulfils it after the one of the step before.

use std::collections::BTreeMap;

use e2e::real;
use e2e::ways::{Outcome, arrivals, each_way};
use serde_json::{Value, json};

const GAP_MS: i64 = 30 * 60_000;

/// An event as the tests see it: when, and which steps it fulfils.
type Event = (i64, Vec<bool>);

/// A visit: key, first and last event, how many, and when each step was taken.
type Visit = (String, i64, i64, i64, Vec<Option<i64>>);

fn visits(events: &BTreeMap<String, Vec<Event>>, steps: usize) -> Vec<Visit> {
    let mut visits = Vec::new();
    for (key, events) in events {
        let mut events = events.clone();
        // Those of the same time stay as they came.
        events.sort_by_key(|(time, _)| *time);
        for visit in events.chunk_by(|before, after| after.0 - before.0 <= GAP_MS) {
            let mut taken = vec![None; steps];
            let mut from = 0;
            for (step, time) in taken.iter_mut().enumerate() {
                let Some(found) = visit.iter().skip(from).position(|(_, fulfils)| fulfils[step]) else { break };
                from += found + 1;
                *time = Some(visit[from - 1].0);
            }
            let (first, last) = (visit[0].0, visit[visit.len() - 1].0);
            visits.push((key.clone(), first, last, visit.len() as i64, taken));
        }
    }
    visits.sort_unstable();
    visits
}

fn found(outcome: &Outcome) -> anyhow::Result<Vec<Visit>> {
    let mut visits = Vec::new();
    for row in outcome.rows("visits") {
        let value = row.json()?;
        let steps: Vec<Option<i64>> =
            value["funnel"]["steps"].as_array().into_iter().flatten().map(|step| step["time"].as_i64()).collect();
        assert_eq!(value["funnel"]["reached"].as_u64(), Some(steps.iter().flatten().count() as u64), "{row:?}");
        let key = row.key.clone().unwrap_or_default();
        visits.push((key, row.number("start")?, row.number("end")?, row.number("events")?, steps));
    }
    visits.sort_unstable();
    Ok(visits)
}

/// How many visits took so many steps.
fn reached(visits: &[Visit]) -> BTreeMap<usize, usize> {
    let mut reached = BTreeMap::new();
    for visit in visits {
        *reached.entry(visit.4.iter().flatten().count()).or_default() += 1;
    }
    reached
}

const SHOP: &str = r#"
name = "shop-funnel"
source = { topics = ["events"] }
steps = [
  { name = "parse", plugin = "parse-json", config = { key = "shopper", timestamp = { field = "at" } } },
  { name = "visits", plugin = "sessionize", config = { gap_ms = 1800000, funnel_field = "type", funnel = [{ name = "clicks" }, { name = "carts" }, { name = "orders" }] }, outputs = { late = "late-events" } },
]
output = { topic = "visits" }
"#;

#[test]
fn shoppers_come_as_far_as_their_events_say() -> anyhow::Result<()> {
    let Some(rows) = real::table("02_funnel_sessions/otto_events_by_time.csv.gz", ',')? else { return Ok(()) };
    let mut events: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let mut values = Vec::new();
    for row in &rows {
        let (shopper, at, kind) = (&row["session"], row["ts_ms"].parse::<i64>()?, row["type"].as_str());
        let fulfils = ["clicks", "carts", "orders"].map(|step| step == kind).to_vec();
        events.entry(shopper.clone()).or_default().push((at, fulfils));
        values.push(json!({ "shopper": shopper, "at": at, "type": kind }).to_string());
    }
    let expected = visits(&events, 3);
    assert!((1..=3).all(|steps| reached(&expected).contains_key(&steps)), "{:?}", reached(&expected));
    each_way(SHOP, 1, &arrivals("events", values), |outcome| {
        assert_eq!(found(outcome)?, expected);
        assert_eq!((outcome.rows("late-events").len(), outcome.usage.dead_letters), (0, 0));
        Ok(())
    })
}

/// In the order in which the tracker's events were stored, which has nothing to do with when they happened.
#[test]
fn events_of_a_tracker_in_any_order_make_the_same_funnel() -> anyhow::Result<()> {
    const STEPS: [&str; 4] = ["product_view", "add_to_cart", "checkout_step", "transaction"];
    let Some(lines) = real::lines("02_funnel_sessions/snowplow_ecommerce_events.jsonl.gz")? else { return Ok(()) };
    let mut events: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let (mut values, mut unknown) = (Vec::new(), 0);
    for line in &lines {
        let event: Value = serde_json::from_str(line)?;
        // `2022-12-22 13:25:47.512000+00:00`; some have no fraction, or three digits and no zone.
        let at = event["derived_tstamp"].as_str().unwrap_or_default().replace(' ', "T");
        let utc = at.trim_end_matches("+00:00");
        let millis = utc.get(..23).unwrap_or(utc);
        anyhow::ensure!(utc[millis.len()..].chars().all(|digit| digit == '0'), "`{utc}` is no whole millisecond");
        match event["domain_userid"].as_str() {
            None => unknown += 1,
            Some(user) => {
                let fulfils = STEPS.map(|step| event["action"] == step).to_vec();
                events.entry(user.to_owned()).or_default().push((real::iso_ms(millis)?, fulfils));
            }
        }
        let value = json!({ "user": event["domain_userid"], "at": format!("{utc}Z"), "action": event["action"] });
        values.push(value.to_string());
    }
    let expected = visits(&events, 4);
    assert!(reached(&expected).contains_key(&4), "{:?}", reached(&expected));
    let funnel: Vec<String> = STEPS.iter().map(|step| format!(r#"{{ name = "{step}" }}"#)).collect();
    let manifest = format!(
        r#"
name = "tracker-funnel"
source = {{ topics = ["events"] }}
watermark = {{ disorder = "60d" }}
steps = [
  {{ name = "parse", plugin = "parse-json", config = {{ key = "user", timestamp = {{ field = "at", format = "rfc3339" }} }} }},
  {{ name = "visits", plugin = "sessionize", config = {{ gap_ms = 1800000, funnel_field = "action", funnel = [{}] }} }},
]
output = {{ topic = "visits" }}
"#,
        funnel.join(", ")
    );
    each_way(&manifest, 1, &arrivals("events", values), |outcome| {
        assert_eq!(found(outcome)?, expected);
        assert_eq!(outcome.usage.dead_letters, unknown);
        Ok(())
    })
}

const PAGES: &str = r#"
name = "page-funnel"
source = { topics = ["access-log"] }
watermark = { disorder = "1s" }
steps = [
  { name = "parse", plugin = "parse-access-log" },
  { name = "visits", plugin = "sessionize", outputs = { late = "late-views" }, config = { gap_ms = 1800000, funnel = [
    { name = "home", where = "path in ['/', '/ksc.html']" },
    { name = "missions", where = "path = '/shuttle/missions/missions.html'" },
    { name = "mission", where = "path starts_with '/shuttle/missions/sts-' and path ends_with '.html'" },
    { name = "picture", where = "path starts_with '/shuttle/missions/sts-' and (path ends_with '.gif' or path ends_with '.jpg')" },
  ] } },
]
output = { topic = "visits" }
"#;

#[test]
fn readers_come_from_the_home_page_as_far_as_their_requests_say() -> anyhow::Result<()> {
    let Some(requests) = real::nasa_requests()? else { return Ok(()) };
    let mut events: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for request in &requests {
        let path = request.path.as_str();
        let of_mission = path.starts_with("/shuttle/missions/sts-");
        let fulfils = vec![
            matches!(path, "/" | "/ksc.html"),
            path == "/shuttle/missions/missions.html",
            of_mission && path.ends_with(".html"),
            of_mission && (path.ends_with(".gif") || path.ends_with(".jpg")),
        ];
        events.entry(request.host.clone()).or_default().push((request.time, fulfils));
    }
    let expected = visits(&events, 4);
    assert!((0..=4).all(|steps| reached(&expected).contains_key(&steps)), "{:?}", reached(&expected));
    each_way(PAGES, 1, &arrivals("access-log", requests.into_iter().map(|request| request.line)), |outcome| {
        let found = found(outcome)?;
        let differing = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        assert!(found.len() == expected.len() && differing.is_none(), "{} visits, {differing:?}", found.len());
        assert_eq!((outcome.rows("late-views").len(), outcome.usage.dead_letters), (0, 0));
        Ok(())
    })
}

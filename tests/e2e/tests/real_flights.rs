//! Departures from the airports of New York, each with the weather as it was at its airport when it was due.

use std::cell::RefCell;
use std::collections::BTreeMap;

use e2e::real;
use e2e::ways::{Arrival, Outcome, each_way};
use serde_json::json;

/// For how long an observation counts: they come every hour, and some are missing.
const AGE_MS: i64 = 3_600_000;
/// The flights of the test: those of the first weeks.
const UNTIL: &str = "2013-02-01T00:00:00Z";

const WEATHER: &str = r#"
name = "flight-weather"
source = { topics = ["flights", "weather"] }
watermark = { disorder = "22h" }
steps = [
  { name = "parse", plugin = "parse-json", config = { key = "airport", timestamp = { field = "at", format = "rfc3339" } } },
  { name = "join", plugin = "join", config = { by = { as_of = { max_age_ms = 3600000 } }, kind = "left", split = true }, outputs = { unmatched = "unknown-weather", late = "late-flights" } },
]
output = { topic = "flights-with-weather" }
"#;

#[test]
fn flights_have_the_weather_of_when_they_were_due() -> anyhow::Result<()> {
    let Some(flights) = real::table("09_event_streams/flights_nyc_2013_departures.csv.gz", ',')? else { return Ok(()) };
    let Some(weather) = real::table("05_iot_telemetry/nyc_weather_2013_hourly.csv.gz", ',')? else { return Ok(()) };
    let mut observed: BTreeMap<&str, BTreeMap<i64, String>> = BTreeMap::new();
    // Whatever arrives, with the moment at which it does: observations when they are made, flights when they leave.
    let mut arriving: Vec<(i64, Arrival)> = Vec::new();
    for row in weather.iter().filter(|row| row["ts_utc"].as_str() < UNTIL) {
        let (at, airport) = (&row["ts_utc"], row["origin"].as_str());
        let value = json!({ "airport": airport, "at": at, "temp": row["temp"], "wind": row["wind_speed"] }).to_string();
        let ms = real::iso_ms(at)?;
        let twice = observed.entry(airport).or_default().insert(ms, value.clone());
        anyhow::ensure!(twice.is_none(), "{airport} was observed twice at {at}");
        arriving.push((ms, Arrival { topic: "weather", partition: 0, value }));
    }
    let (mut expected, mut unknown) = (Vec::new(), Vec::new());
    for (place, row) in flights.iter().enumerate().filter(|(_, row)| row["actual_dep_utc"].as_str() < UNTIL) {
        let (due, airport) = (&row["sched_dep_utc"], row["origin"].as_str());
        let flight = format!("{}{}", row["carrier"], row["flight"]);
        let value = json!({ "airport": airport, "at": due, "flight": flight, "place": place }).to_string();
        let ms = real::iso_ms(due)?;
        let then = observed.get(airport).and_then(|seen| seen.range(..=ms).next_back());
        match then.filter(|(at, _)| ms - **at <= AGE_MS) {
            Some((_, weather)) => expected.push(format!(r#"{{"left":{value},"right":{weather}}}"#)),
            None => unknown.push(format!(r#"{{"left":{value},"right":null}}"#)),
        }
        arriving.push((real::iso_ms(&row["actual_dep_utc"])?, Arrival { topic: "flights", partition: 0, value }));
    }
    arriving.sort_by_key(|(moment, _)| *moment);
    let arrivals: Vec<Arrival> = arriving.into_iter().map(|(_, arrival)| arrival).collect();
    assert!(expected.len() > 25_000 && !unknown.is_empty(), "{} and {}", expected.len(), unknown.len());
    expected.sort_unstable();
    unknown.sort_unstable();
    let turned = WEATHER.replace(r#"["flights", "weather"]"#, r#"["weather", "flights"]"#);
    assert_ne!(turned, WEATHER);
    let fuel = RefCell::new(BTreeMap::<&str, Vec<u64>>::new());
    let check = |outcome: &Outcome| {
        fuel.borrow_mut().entry(outcome.way).or_default().push(outcome.usage.fuel);
        assert_eq!(outcome.usage.dead_letters, 0);
        let sorted = |topic: &str| {
            let mut values: Vec<_> = outcome.rows(topic).iter().map(|row| row.value.clone()).collect();
            values.sort_unstable();
            values
        };
        assert_eq!(outcome.rows("late-flights").len(), 0);
        assert_eq!(sorted("unknown-weather"), unknown);
        let joined = sorted("flights-with-weather");
        let differing = joined.iter().zip(&expected).find(|(joined, expected)| joined != expected);
        assert!(joined.len() == expected.len() && differing.is_none(), "{} rows, {differing:?}", joined.len());
        Ok(())
    };
    each_way(WEATHER, 1, &arrivals, check)?;
    // The join tells its sides by the places of their topics.
    let turned = turned.replace(r#"kind = "left""#, r#"left = 1, right = 0, kind = "left""#);
    each_way(&turned, 1, &arrivals, check)?;
    let fuel = fuel.into_inner();
    // What is cut at random, and crashes, spends what it happens to.
    for way in ["as it arrives", "as one backlog"] {
        let [one, other] = fuel[way][..] else { anyhow::bail!("each order of topics ran once: {fuel:?}") };
        assert!(one.max(other) <= 2 * one.min(other), "{way}: the order of topics decides what it costs: {fuel:?}");
    }
    Ok(())
}

//! Packets of smart meters, as they reached the sinks of three sites: many twice, many late. Each device's packets are
//! billed by the minute, each packet once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use e2e::real;
use e2e::ways::{Arrival, Outcome, arrivals, each_way};
use serde_json::json;

const MINUTE_MS: i64 = 60_000;
/// Packets are late if they are older than the newest by more than this and a minute is over since ..
const DISORDER_MS: i64 = 2_000;
/// .. this.
const LATENESS_MS: i64 = 10_000;

const SITES: [&str; 3] = ["shared_high_load", "tdma_high_load", "tdma_induced_interference"];

/// Bills what came in time, each packet once or every copy of it.
fn billing(once: &str) -> String {
    format!(
        r#"
name = "billing"
source = {{ topics = ["packets"] }}
watermark = {{ disorder = "2s" }}
steps = [
  {{ name = "parse", plugin = "parse-json", config = {{ key = "device", timestamp = {{ field = "at" }} }} }},
  {once}
  {{ name = "bill", plugin = "stats", config = {{ field = "hops" }}, window = {{ tumbling = "1m", lateness = "10s" }}, late = "late-packets" }},
]
output = {{ topic = "bills" }}
"#
    )
}

const ONCE: &str = r#"{ name = "once", plugin = "dedupe", config = { ttl_ms = 600000, fields = ["seq", "at"], split = true }, outputs = { duplicates = "duplicates" } },"#;

/// A packet as the tests see it.
struct Packet {
    site: usize,
    device: String,
    seq: String,
    at: i64,
    hops: i64,
    /// As it is sent.
    value: String,
}

fn packets() -> anyhow::Result<Option<Vec<Packet>>> {
    let Some(rows) = real::table("05_iot_telemetry/tsch_packets.csv.gz", ',')? else { return Ok(None) };
    let mut packets = Vec::new();
    for row in &rows {
        let (at, hops) = (row["event_ms"].parse::<i64>()?, row["hops"].parse::<i64>()?);
        let site = SITES.iter().position(|site| *site == row["site"]).context("a site is one of three")?;
        let (device, seq) = (format!("{}/{}", row["site"], row["device"]), row["seq"].clone());
        let value = json!({ "device": device, "seq": seq, "at": at, "hops": hops }).to_string();
        packets.push(Packet { site, device, seq, at, hops, value });
    }
    assert_eq!(packets.len(), 55_671, "the file is the one we know");
    Ok(Some(packets))
}

/// Device and start of the minute: packets and hops.
type Bills = BTreeMap<(String, i64), (i64, i64)>;

/// What must come of packets; lists are sorted.
#[derive(Default)]
struct Expected {
    bills: Bills,
    duplicates: Vec<String>,
    late: Vec<String>,
}

fn expected<'a>(packets: impl IntoIterator<Item = &'a Packet>, once: bool) -> Expected {
    let mut expected = Expected::default();
    let (mut seen, mut newest) = (BTreeSet::new(), [i64::MIN; SITES.len()]);
    for Packet { site, device, seq, at, hops, value } in packets {
        let newest = &mut newest[*site];
        let start = at.div_euclid(MINUTE_MS) * MINUTE_MS;
        if !seen.insert((device, seq, at)) && once {
            expected.duplicates.push(value.clone());
        } else if *newest != i64::MIN && start + MINUTE_MS - 1 + LATENESS_MS < *newest - DISORDER_MS {
            expected.late.push(value.clone());
        } else {
            let bill = expected.bills.entry((device.clone(), start)).or_default();
            *bill = (bill.0 + 1, bill.1 + hops);
        }
        *newest = (*newest).max(*at);
    }
    expected.duplicates.sort_unstable();
    expected.late.sort_unstable();
    expected
}

fn check(outcome: &Outcome, expected: &Expected) -> anyhow::Result<()> {
    for (topic, expected) in [("duplicates", &expected.duplicates), ("late-packets", &expected.late)] {
        let mut values: Vec<_> = outcome.rows(topic).iter().map(|row| row.value.clone()).collect();
        values.sort_unstable();
        assert_eq!(values.len(), expected.len(), "in `{topic}`");
        assert!(values == *expected, "`{topic}` has others than were expected");
    }
    // A minute that late packets belong to is billed again: the last bill counts, and has everything.
    let mut bills = Bills::new();
    for row in outcome.rows("bills") {
        let bill = (row.number("count")?, row.json()?["sum"].as_f64().unwrap_or_default() as i64);
        bills.insert((row.key.clone().unwrap_or_default(), row.number("start")?), bill);
    }
    assert_eq!(bills, expected.bills);
    assert_eq!(outcome.usage.dead_letters, 0);
    Ok(())
}

#[test]
fn packets_are_billed_once_however_often_and_late_they_come() -> anyhow::Result<()> {
    let Some(packets) = packets()? else { return Ok(()) };
    let (mut duplicates, mut late) = (Vec::new(), 0);
    // Each site is a tenant's own, with its own time.
    for site in 0..SITES.len() {
        let own = || packets.iter().filter(|packet| packet.site == site);
        let expected = expected(own(), true);
        duplicates.push(expected.duplicates.len());
        late += expected.late.len();
        let arrivals = arrivals("packets", own().map(|packet| packet.value.clone()));
        each_way(&billing(ONCE), 1, &arrivals, |outcome| {
            assert!(outcome.usage.windows_updated > 0, "some minutes are billed again");
            check(outcome, &expected)
        })?;
    }
    assert_eq!(duplicates, [3_089, 1_089, 4_176], "the file is the one we know");
    assert!(late > 50, "{late} are late");
    Ok(())
}

#[test]
fn packets_of_three_sites_are_late_by_the_time_of_their_own() -> anyhow::Result<()> {
    let Some(packets) = packets()? else { return Ok(()) };
    let expected = expected(&packets, false);
    assert!(expected.late.len() > 50, "{} are late", expected.late.len());
    let arrival =
        |packet: &Packet| Arrival { topic: "packets", partition: packet.site as u32, value: packet.value.clone() };
    let arrivals = side_by_side(packets.iter().map(arrival).collect());
    each_way(&billing(""), 3, &arrivals, |outcome| check(outcome, &expected))
}

/// Takes a record of each partition in turn, as long as there are any.
fn side_by_side(arrivals: Vec<Arrival>) -> Vec<Arrival> {
    let mut lanes: BTreeMap<u32, Vec<Arrival>> = BTreeMap::new();
    for arrival in arrivals {
        lanes.entry(arrival.partition).or_default().push(arrival);
    }
    let mut places: Vec<(usize, Arrival)> = lanes.into_values().flat_map(|lane| lane.into_iter().enumerate()).collect();
    places.sort_by_key(|(place, arrival)| (*place, arrival.partition));
    places.into_iter().map(|(_, arrival)| arrival).collect()
}

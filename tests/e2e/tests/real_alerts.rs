//! Bursts in application logs: more than ten errors in a minute on a host, more than ten failed logins in a minute from
//! an address.

use std::collections::BTreeMap;

use e2e::real;
use e2e::ways::{Arrival, Outcome, arrivals, each_way};
use serde_json::{Value, json};

const MINUTE_MS: i64 = 60_000;

/// Key and start of the window: how many.
type Bursts = BTreeMap<(String, i64), i64>;

fn alerts(outcome: &Outcome, topic: &str) -> anyhow::Result<Bursts> {
    let mut bursts = Bursts::new();
    for row in outcome.rows(topic) {
        let at = (row.key.clone().unwrap_or_default(), row.number("start")?);
        assert_eq!(bursts.insert(at, row.number("count")?), None, "{row:?}: this alert was given before");
    }
    Ok(bursts)
}

fn manifest(level: &str, disorder: &str) -> String {
    format!(
        r#"
name = "error-bursts"
source = {{ topics = ["broker-logs"] }}
watermark = {{ disorder = "{disorder}" }}
steps = [
  {{ name = "parse", plugin = "parse-json", config = {{ key = "host", fields = ["level"], timestamp = {{ field = "ts", format = "rfc3339" }} }} }},
  {{ name = "errors", plugin = "filter", config = {{ where = "level = '{level}'" }} }},
  {{ name = "per-minute", plugin = "count", window = {{ tumbling = "1m" }}, late = "late-errors" }},
  {{ name = "bursts", plugin = "filter", config = {{ where = "count > 10" }} }},
]
output = {{ topic = "alerts" }}
"#
    )
}

/// The brokers' lines with their hosts, times and levels. Each broker's lines are in a partition of its own, file after
/// file, as its collector sends them.
struct Brokers {
    arrivals: Vec<Arrival>,
    rows: Vec<(u32, String, i64, String)>,
}

fn broker_lines() -> anyhow::Result<Option<Brokers>> {
    let Some(lines) = real::lines("03_app_logs_alerting/kafka_broker_logs.jsonl.gz")? else { return Ok(None) };
    let mut brokers = Brokers { arrivals: Vec::new(), rows: Vec::new() };
    for line in lines {
        let row: Value = serde_json::from_str(&line)?;
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let host = text("host");
        let partition = host.trim_start_matches("kafka").parse()?;
        brokers.rows.push((partition, host, real::iso_ms(&text("ts"))?, text("level")));
        brokers.arrivals.push(Arrival { topic: "broker-logs", partition, value: line });
    }
    assert_eq!(brokers.rows.len(), 22_164, "the file is the one we know");
    Ok(Some(brokers))
}

fn check_bursts(level: &str, bursts: usize) -> anyhow::Result<()> {
    let Some(brokers) = broker_lines()? else { return Ok(()) };
    let mut expected = Bursts::new();
    for (_, host, time, _) in brokers.rows.iter().filter(|row| row.3 == level) {
        *expected.entry((host.clone(), time.div_euclid(MINUTE_MS) * MINUTE_MS)).or_default() += 1;
    }
    expected.retain(|_, count| *count > 10);
    assert_eq!(expected.len(), bursts, "{expected:?}");
    // Files of one broker overlap by hours.
    each_way(&manifest(level, "8h"), 3, &brokers.arrivals, |outcome| {
        assert_eq!(alerts(outcome, "alerts")?, expected);
        assert_eq!((outcome.usage.late, outcome.usage.dead_letters), (0, 0));
        Ok(())
    })
}

#[test]
fn bursts_of_errors_raise_an_alert_a_minute_and_host() -> anyhow::Result<()> {
    check_bursts("ERROR", 1)
}

#[test]
fn bursts_of_warnings_raise_an_alert_a_minute_and_host() -> anyhow::Result<()> {
    check_bursts("WARN", 5)
}

#[test]
fn lines_beyond_the_disorder_are_late_and_raise_nothing() -> anyhow::Result<()> {
    let Some(brokers) = broker_lines()? else { return Ok(()) };
    let (mut expected, mut late) = (Bursts::new(), Vec::new());
    let mut newest = BTreeMap::new();
    // Event time is read where the windows begin, so lines that the filter drops do not move it.
    for (partition, host, time, _) in brokers.rows.iter().filter(|row| row.3 == "WARN") {
        let newest = newest.entry(partition).or_insert(i64::MIN);
        let start = time.div_euclid(MINUTE_MS) * MINUTE_MS;
        match *newest != i64::MIN && start + MINUTE_MS - 1 < *newest - 10_000 {
            true => late.push(*time),
            false => *expected.entry((host.clone(), start)).or_default() += 1,
        }
        *newest = (*newest).max(*time);
    }
    expected.retain(|_, count| *count > 10);
    assert!(!late.is_empty() && !expected.is_empty(), "{} late, {expected:?}", late.len());
    late.sort_unstable();
    each_way(&manifest("WARN", "10s"), 3, &brokers.arrivals, |outcome| {
        assert_eq!(alerts(outcome, "alerts")?, expected);
        let mut times: Vec<i64> = outcome.rows("late-errors").iter().map(|row| row.time).collect();
        times.sort_unstable();
        assert_eq!(times, late);
        Ok(())
    })
}

const LOGINS: &str = r#"
name = "failed-logins"
source = { topics = ["auth-log"] }
steps = [
  { name = "parse", plugin = "parse-json", config = { key = "address", timestamp = { field = "at" } } },
  { name = "in-a-minute", plugin = "count", window = { hopping = "1m", slide = "10s" } },
  { name = "bursts", plugin = "filter", config = { where = "count > 10" } },
]
output = { topic = "alerts" }
"#;

/// `Mar 30 15:58:01 host sshd[1]: Failed password for root from 24.151.103.17 port 1 ssh2`, of a year that the log does
/// not say: 2017, when it was published.
fn failed_login(line: &str) -> anyhow::Result<Option<(String, i64)>> {
    let Some((_, from)) = line.split_once("Failed password for ") else { return Ok(None) };
    let address = from.rsplit_once(" from ").and_then(|(_, rest)| rest.split(' ').next());
    let Some(address) = address else { return Ok(None) };
    let month = if line.starts_with("Mar") { 3 } else { 4 };
    let number = |from: usize, to: usize| line[from..to].trim().parse::<i64>();
    let time = real::civil_ms([2017, month, number(4, 6)?], [number(7, 9)?, number(10, 12)?, number(13, 15)?]);
    Ok(Some((address.to_owned(), time)))
}

#[test]
fn addresses_that_try_more_than_ten_passwords_in_any_minute_are_found() -> anyhow::Result<()> {
    let Some(lines) = real::lines("03_app_logs_alerting/ssh_auth.log.gz")? else { return Ok(()) };
    let logins: Vec<(String, i64)> =
        lines.iter().filter_map(|line| failed_login(line).transpose()).collect::<anyhow::Result<_>>()?;
    let mut expected = Bursts::new();
    for (address, time) in &logins {
        // Every ten seconds a minute begins; this row is in those that began less than a minute ago.
        for start in (time - MINUTE_MS + 1..=*time).filter(|start| start.rem_euclid(10_000) == 0) {
            *expected.entry((address.clone(), start)).or_default() += 1;
        }
    }
    expected.retain(|_, count| *count > 10);
    assert!(logins.len() > 500 && expected.len() > 20, "{} logins, {expected:?}", logins.len());
    let values = logins.iter().map(|(address, at)| json!({ "address": address, "at": at }).to_string());
    each_way(LOGINS, 1, &arrivals("auth-log", values), |outcome| {
        assert_eq!(alerts(outcome, "alerts")?, expected);
        Ok(())
    })
}

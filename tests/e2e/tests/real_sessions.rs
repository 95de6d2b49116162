//! Sessions of 30 minutes: of shoppers of a web shop, and of two web servers' visitors.
//!
//! What is expected is computed from all rows, by definition: rows of a key follow one another in a session as long as
//! each is within the gap of the one before.

use std::collections::BTreeMap;

use anyhow::Context;
use e2e::ways::{Arrival, Outcome, arrivals, each_way};
use e2e::{PATIENCE, real};
use harness::{Producer, Server};
use millstream::record::Batch;
use serde_json::{Value, json};

const GAP_MS: i64 = 30 * 60_000;

/// Key, first millisecond and the one after the last: how many rows.
type Sessions = BTreeMap<(String, i64, i64), i64>;

fn sessions(times: &BTreeMap<String, Vec<i64>>) -> Sessions {
    let mut sessions = Sessions::new();
    for (key, times) in times {
        let mut times = times.clone();
        times.sort_unstable();
        for session in times.chunk_by(|before, after| after - before <= GAP_MS) {
            let [first, .., last] = session else {
                sessions.insert((key.clone(), session[0], session[0] + GAP_MS), 1);
                continue;
            };
            sessions.insert((key.clone(), *first, last + GAP_MS), session.len() as i64);
        }
    }
    sessions
}

fn counted(outcome: &Outcome, topic: &str) -> anyhow::Result<Sessions> {
    let mut sessions = Sessions::new();
    for row in outcome.rows(topic) {
        let (start, end) = (row.number("start")?, row.number("end")?);
        assert_eq!(row.time, end - 1, "{row:?}");
        let key = row.key.clone().unwrap_or_default();
        let before = sessions.insert((key, start, end), row.number("count")?);
        assert_eq!(before, None, "{row:?}: this session was complete before");
    }
    Ok(sessions)
}

const SHOPPERS: &str = r#"
name = "shoppers"
source = { topics = ["events"] }
steps = [
  { name = "parse", plugin = "parse-json", config = { key = "shopper", timestamp = { field = "at" } } },
  { name = "sessions", plugin = "count", window = { session = "30m" }, late = "late-events" },
]
output = { topic = "sessions" }
"#;

#[test]
fn shoppers_have_the_sessions_that_their_events_make() -> anyhow::Result<()> {
    let Some(rows) = real::table("02_funnel_sessions/otto_events_by_time.csv.gz", ',')? else { return Ok(()) };
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut values = Vec::new();
    for row in &rows {
        let (shopper, at) = (&row["session"], row["ts_ms"].parse::<i64>()?);
        times.entry(shopper.clone()).or_default().push(at);
        values.push(json!({ "shopper": shopper, "at": at, "type": row["type"] }).to_string());
    }
    let expected = sessions(&times);
    assert!(rows.len() == 862 && expected.len() > 100, "the file is the one we know");
    each_way(SHOPPERS, 1, &arrivals("events", values), |outcome| {
        assert_eq!(counted(outcome, "sessions")?, expected);
        assert_eq!((outcome.usage.late, outcome.usage.dead_letters), (0, 0));
        Ok(())
    })
}

/// Shopper after shopper, so that those of the second have weeks of event time before them. Within a shopper time goes
/// up, which makes the definition simple: a row is late if its own gap is over, and alone if that of the row before is.
#[test]
fn shoppers_one_after_the_other_are_late_row_by_row() -> anyhow::Result<()> {
    let Some(lines) = real::lines("02_funnel_sessions/otto_sessions_sample.jsonl.gz")? else { return Ok(()) };
    let (mut late, mut expected, mut values) = (Vec::new(), Sessions::new(), Vec::new());
    let mut newest = i64::MIN;
    for line in &lines {
        let shopper: Value = serde_json::from_str(line)?;
        let mut open: Option<(i64, i64, i64)> = None;
        let mut keep = |session: Option<(i64, i64, i64)>| {
            if let Some((first, last, rows)) = session {
                expected.insert((shopper["session"].to_string(), first, last + GAP_MS), rows);
            }
        };
        for event in shopper["events"].as_array().into_iter().flatten() {
            let at = event["ts"].as_i64().unwrap_or_default();
            values.push(json!({ "shopper": shopper["session"], "at": at }).to_string());
            // The watermark is one millisecond below the newest row, as the last of a session is below its end.
            let is_over = |time: i64| newest != i64::MIN && time + GAP_MS <= newest;
            if is_over(at) {
                late.push(at);
            } else if let Some((first, last, rows)) = open.filter(|(_, last, _)| at - last <= GAP_MS && !is_over(*last))
            {
                assert!(last <= at);
                open = Some((first, at, rows + 1));
            } else {
                keep(open.replace((at, at, 1)));
            }
            newest = newest.max(at);
        }
        keep(open);
    }
    assert!(late.len() > 400 && expected.len() > 5, "{} late, {} sessions", late.len(), expected.len());
    each_way(SHOPPERS, 1, &arrivals("events", values), |outcome| {
        assert_eq!(counted(outcome, "sessions")?, expected);
        let times: Vec<i64> = outcome.rows("late-events").iter().map(|row| row.time).collect();
        assert_eq!(times, late);
        Ok(())
    })
}

const VISITS: &str = r#"
name = "visits"
source = { topics = ["access-log"] }
watermark = { disorder = "60s" }
steps = [
  { name = "parse", plugin = "parse-access-log" },
  { name = "visits", plugin = "count", window = { session = "30m" }, late = "late-views" },
]
output = { topic = "visits" }
"#;

#[test]
fn visits_of_a_shuffled_log_are_those_of_a_sorted_one() -> anyhow::Result<()> {
    let Some(lines) = real::lines("01_web_access_logs/apache_access_2015-05.log.gz")? else { return Ok(()) };
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.ends_with('"')) {
        let (host, rest) = line.split_once(' ').unwrap_or_default();
        let time = rest.split(['[', ']']).nth(1).unwrap_or_default();
        let [day, hour, minute, second] = [&time[..2], &time[12..14], &time[15..17], &time[18..20]].map(str::parse);
        anyhow::ensure!(&time[2..12] == "/May/2015:" && &time[20..] == " +0000", "`{time}` is as in the whole file");
        times.entry(host.to_owned()).or_default().push(real::civil_ms([2015, 5, day?], [hour?, minute?, second?]));
    }
    let expected = sessions(&times);
    assert_eq!(
        (lines.len(), times.values().map(Vec::len).sum::<usize>()),
        (10_000, 9_999),
        "the file is as we know it"
    );
    // The log over three partitions: each has its part of every visit.
    let spread = |(place, line): (usize, &String)| Arrival {
        topic: "access-log",
        partition: place as u32 % 3,
        value: line.clone(),
    };
    let spread: Vec<Arrival> = lines.iter().enumerate().map(spread).collect();
    each_way(VISITS, 3, &spread, |outcome| {
        assert_eq!(counted(outcome, "visits")?, expected);
        assert_eq!((outcome.usage.late, outcome.usage.dead_letters), (0, 1));
        Ok(())
    })
}

/// A request long after the file. It moves event time past all visits.
const CLOSING: &str = r#"127.0.0.1 - - [01/Jan/2016:00:00:00 +0000] "GET /closing HTTP/1.1" 200 0"#;

#[test]
fn visits_are_the_same_on_a_server_that_is_killed_again_and_again() -> anyhow::Result<()> {
    const PARTITIONS: u32 = 3;
    let Some(requests) = real::nasa_requests()? else { return Ok(()) };
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for request in &requests {
        times.entry(request.host.clone()).or_default().push(request.time);
    }
    let expected = sessions(&times);
    assert_eq!((requests.len(), times.len()), (33_996, 2_582), "the file is the one we know");
    let mut server = Server::start()?;
    let client = server.client();
    client.push_plugins(&["parse-access-log", "count"])?;
    client.create_topic("access-log", PARTITIONS)?;
    client.apply(VISITS)?;
    let mut producers: Vec<_> = (0..PARTITIONS)
        .map(|partition| Producer::new(client.clone(), "access-log", partition, i64::from(partition)))
        .collect();
    for part in requests.chunks(6_000) {
        for (first, producer) in producers.iter_mut().enumerate() {
            let own = part.iter().skip(first).step_by(PARTITIONS as usize);
            producer.send(&batch(own.map(|request| &request.line)))?;
        }
        // While the pipeline is somewhere in what was sent: nothing waits for it here.
        server.kill()?;
        server.start_again()?;
    }
    for producer in &mut producers {
        producer.send(&batch([CLOSING]))?;
    }
    let status = client.drained("visits", PATIENCE)?;
    let mut visits = Sessions::new();
    for record in client.all_records("visits")? {
        let value = record.json()?;
        let number = |field: &str| value[field].as_i64().with_context(|| format!("{record:?} has no `{field}`"));
        let session = (record.key.clone().unwrap_or_default(), number("start")?, number("end")?);
        assert_eq!(visits.insert(session, number("count")?), None, "{record:?} is there twice");
    }
    assert_eq!(visits, expected);
    assert_eq!((status.usage.late, status.usage.dead_letters), (0, 0));
    assert_eq!(status.usage.records_in, 33_996 + u64::from(PARTITIONS));
    Ok(())
}

fn batch(lines: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Batch {
    let mut batch = Batch::default();
    lines.into_iter().for_each(|line| batch.push(0, None, Some(line.as_ref())));
    batch
}

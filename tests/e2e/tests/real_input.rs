//! Page views of two real web servers, checked against values that are computed here in another way.
//!
//! The files are not part of the repository: `e2e::real` says where they are looked for.

use std::collections::BTreeMap;

use e2e::{Counts, PATIENCE, counts, real, send_lines};
use harness::{Record, Server};
use millstream::pipeline::status::PipelineStatus;

const PARTITIONS: u32 = 3;

/// A line as this test sees it: `None` if it is malformed.
struct View {
    path: Option<String>,
    time_ms: i64,
}

/// What a pipeline over these views must answer.
#[derive(Default)]
struct Expected {
    counts: Counts,
    /// Event times of the late rows, sorted.
    late: Vec<i64>,
    /// Offset of each malformed line in its partition, and the line.
    dead: BTreeMap<(String, String), String>,
}

/// Goes through the views one by one, with a watermark for each partition, as the promise reads: a row is late if what
/// came before it in its partition has completed its window.
fn expected(lines: &[String], views: &[Option<View>], window_ms: i64, disorder_ms: i64) -> Expected {
    let mut expected = Expected::default();
    let mut newest = [i64::MIN; PARTITIONS as usize];
    for (place, (line, view)) in lines.iter().zip(views).enumerate() {
        let partition = place % PARTITIONS as usize;
        let Some(view) = view else {
            let offset = place / PARTITIONS as usize;
            expected.dead.insert((partition.to_string(), offset.to_string()), line.clone());
            continue;
        };
        let start = view.time_ms.div_euclid(window_ms) * window_ms;
        let last = start + window_ms - 1;
        if newest[partition] != i64::MIN && last < newest[partition] - disorder_ms {
            expected.late.push(view.time_ms);
        } else {
            *expected.counts.entry((view.path.clone(), start)).or_default() += 1;
        }
        newest[partition] = newest[partition].max(view.time_ms);
    }
    expected.late.sort_unstable();
    expected
}

/// Runs the lines through the real thing.
fn run(lines: &[String], window: &str, disorder: &str, closing: &str) -> anyhow::Result<(Server, PipelineStatus)> {
    let server = Server::start()?;
    let client = server.client();
    client.push_plugins(&["parse-access-log", "count"])?;
    client.create_topic("access-log", PARTITIONS)?;
    client.apply(&format!(
        r#"
name = "page-views"
source = {{ topics = ["access-log"] }}
watermark = {{ disorder = "{disorder}" }}
steps = [
  {{ name = "parse", plugin = "parse-access-log", config = {{ key = "path" }} }},
  {{ name = "views", plugin = "count", window = {{ tumbling = "{window}" }}, late = "late-views" }},
]
output = {{ topic = "views" }}
"#
    ))?;
    let mut all: Vec<&str> = lines.iter().map(String::as_str).collect();
    // Event time of every partition is moved past all windows. The lines before keep their places: the file's end is
    // made even first.
    let missing = all.len().next_multiple_of(PARTITIONS as usize) - all.len();
    all.extend(vec![closing; missing + PARTITIONS as usize]);
    send_lines(&client, "access-log", PARTITIONS, &all)?;
    let status = client.drained("page-views", PATIENCE)?;
    Ok((server, status))
}

fn check(lines: &[String], expected: &Expected, server: &Server, status: &PipelineStatus) -> anyhow::Result<()> {
    let client = server.client();
    assert_eq!(counts(&client.all_records("views")?)?, expected.counts);
    let mut late: Vec<i64> = client.all_records("late-views")?.iter().map(|record| record.timestamp).collect();
    late.sort_unstable();
    assert_eq!(late, expected.late);
    let letters = client.all_records("page-views.dead-letters")?;
    let place = |record: &Record| {
        let header = |name| record.header(name).unwrap_or_default().to_owned();
        ((header("millstream.partition"), header("millstream.offset")), record.value.clone().unwrap_or_default())
    };
    assert_eq!(letters.iter().map(place).collect::<BTreeMap<_, _>>(), expected.dead);
    assert_eq!(letters.len(), expected.dead.len());
    let usage = status.usage;
    assert!(usage.records_in >= lines.len() as u64);
    assert_eq!((usage.late, usage.dead_letters), (expected.late.len() as u64, expected.dead.len() as u64));
    assert_eq!(usage.records_out, expected.counts.len() as u64);
    Ok(())
}

#[test]
fn apache_lines_are_counted_by_page_and_minute() -> anyhow::Result<()> {
    let Some(lines) = real::lines("01_web_access_logs/apache_access_2015-05.log.gz")? else { return Ok(()) };
    let views: Vec<_> = lines.iter().map(|line| apache(line)).collect();
    let expected = expected(&lines, &views, 60_000, 60_000);
    assert_eq!((lines.len(), expected.dead.len(), expected.late.len()), (10_000, 1, 0), "the file is the one we know");
    let (server, status) = run(&lines, "1m", "60s", CLOSING)?;
    check(&lines, &expected, &server, &status)
}

#[test]
fn apache_lines_beyond_the_disorder_are_late_one_by_one() -> anyhow::Result<()> {
    let Some(lines) = real::lines("01_web_access_logs/apache_access_2015-05.log.gz")? else { return Ok(()) };
    let views: Vec<_> = lines.iter().map(|line| apache(line)).collect();
    // Within a minute the file is shuffled, so windows of seconds meet many rows that are too late.
    let expected = expected(&lines, &views, 5_000, 2_000);
    assert!(expected.late.len() > 1_000, "only {} rows would be late", expected.late.len());
    let (server, status) = run(&lines, "5s", "2s", CLOSING)?;
    check(&lines, &expected, &server, &status)
}

#[test]
fn nasa_requests_are_counted_by_page_and_minute() -> anyhow::Result<()> {
    let Some(rows) = real::lines("01_web_access_logs/nasa_19950801.tsv.gz")? else { return Ok(()) };
    let rows: Vec<Vec<&str>> = rows.iter().skip(1).map(|row| row.split('\t').collect()).collect();
    let lines: Vec<String> = rows.iter().map(|row| common_log_line(row)).collect();
    let views: Vec<_> = rows
        .iter()
        .map(|row| {
            let time_ms = row[2].parse::<i64>().ok()? * 1000;
            Some(View { path: Some(row[4].to_owned()), time_ms })
        })
        .collect();
    let expected = expected(&lines, &views, 60_000, 0);
    assert_eq!((lines.len(), expected.dead.len(), expected.late.len()), (33_996, 0, 0), "the file is the one we know");
    let (server, status) = run(&lines, "1m", "0s", CLOSING)?;
    check(&lines, &expected, &server, &status)
}

/// A request long after both files.
const CLOSING: &str = r#"127.0.0.1 - - [01/Jan/2016:00:00:00 +0000] "GET /closing HTTP/1.1" 200 0"#;

/// A row of the NASA file as the line that its server would have written, in the time zone it stood in.
fn common_log_line(row: &[&str]) -> String {
    let [host, logname, time, method, url, status, bytes, ..] = row else { return row.join("\t") };
    let second = time.parse::<i64>().unwrap_or(0) - 807_249_600;
    // 807249600 is 1995-08-01 00:00:00 in Florida (UTC-4), and the file ends before that day does.
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let url = url.replace('\\', r"\\").replace('"', r#"\""#);
    format!(
        "{host} {logname} - [01/Aug/1995:{hour:02}:{minute:02}:{second:02} -0400] \"{method} {url} HTTP/1.0\" {status} {bytes}"
    )
}

/// Reads a line of the combined format: by its quotes, from which it must have six.
fn apache(line: &str) -> Option<View> {
    let parts: Vec<&str> = line.split('"').collect();
    let [front, request, _, _, _, _, ""] = parts.as_slice() else { return None };
    let time = front.split(['[', ']']).nth(1)?;
    let words: Vec<&str> = request.split(' ').collect();
    let path = match words.as_slice() {
        [_, path, protocol] if protocol.starts_with("HTTP/") => Some((*path).to_owned()),
        _ => None,
    };
    Some(View { path, time_ms: unix_ms(time)? })
}

/// `17/May/2015:10:05:03 +0000`.
fn unix_ms(text: &str) -> Option<i64> {
    let (date, zone) = text.split_once(' ')?;
    if zone != "+0000" {
        return None;
    }
    let parts: Vec<&str> = date.split(['/', ':']).collect();
    let [day, month, year, hour, minute, second] = parts.as_slice() else { return None };
    let number = |text: &str| text.parse::<i64>().ok();
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = names.iter().position(|name| name == month)? as i64 + 1;
    let date = [number(year)?, month, number(day)?];
    Some(real::civil_ms(date, [number(hour)?, number(minute)?, number(second)?]))
}

//! The temperatures of a thermal solar plant: the mean of the last 24 hours, every minute.

use e2e::real;
use e2e::ways::{arrivals, each_way};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// Readings of the test: those of January and a bit. The definition takes 1,440 of them for each result.
const READINGS: usize = 45_000;

const ROLLING: &str = r#"
name = "rolling-mean"
source = { topics = ["readings"] }
steps = [
  { name = "parse", plugin = "parse-json", config = { timestamp = { field = "at", format = "rfc3339" } } },
  { name = "day", plugin = "stats", config = { field = "t" }, window = { hopping = "1d", slide = "1m" } },
]
output = { topic = "means" }
"#;

#[test]
fn every_minute_has_the_mean_of_the_day_before_it() -> anyhow::Result<()> {
    let Some(rows) = real::table("05_iot_telemetry/solar_plant_2018_1min.csv.gz", ',')? else { return Ok(()) };
    let (mut readings, mut values) = (Vec::new(), Vec::new());
    for row in rows.iter().take(READINGS) {
        let (at, t) = (&row["ts"], &row["t1_c"]);
        values.push(format!(r#"{{"at":"{at}Z","t":{t}}}"#));
        let tenths = (t.parse::<f64>()? * 10.0).round() as i64;
        readings.push((real::iso_ms(at)?, tenths));
    }
    assert!(rows.len() == 406_562 && readings.is_sorted(), "the file is the one we know");
    let (first, last) = (readings[0].0, readings[READINGS - 1].0);
    // Every window that has a reading: from the one that ends just behind the first to the one that begins at the last.
    let starts = (first - DAY_MS + MINUTE_MS..=last).step_by(MINUTE_MS as usize);
    let of = |start: i64| {
        let from = readings.partition_point(|(at, _)| *at < start);
        let to = readings.partition_point(|(at, _)| *at < start + DAY_MS);
        readings[from..to].iter().map(|(_, tenths)| *tenths)
    };
    let expected: Vec<(i64, i64, i64, i64, i64)> = starts
        .filter_map(|start| {
            let (low, high) = (of(start).min()?, of(start).max()?);
            Some((start, of(start).count() as i64, of(start).sum(), low, high))
        })
        .collect();
    // Some minutes are missing, so that some days are not whole.
    let gaps = expected[1440..expected.len() - 1440].iter().filter(|window| window.1 < 1440).count();
    assert!(gaps > 1000 && expected.iter().any(|window| window.1 == 1440), "{gaps} days have gaps");
    each_way(ROLLING, 1, &arrivals("readings", values), |outcome| {
        let means = outcome.rows("means");
        assert_eq!(means.len(), expected.len());
        for (row, (start, count, sum, low, high)) in means.iter().zip(&expected) {
            let value = row.json()?;
            let tenths = |field: &str| (value[field].as_f64().unwrap_or(f64::NAN) * 10.0).round() as i64;
            assert_eq!(
                (row.number("start")?, row.number("count")?, tenths("sum"), tenths("min"), tenths("max")),
                (*start, *count, *sum, *low, *high)
            );
            assert_eq!(row.time, start + DAY_MS - 1);
            let (mean, exact) = (value["mean"].as_f64().unwrap_or(f64::NAN), *sum as f64 / 10.0 / *count as f64);
            assert!((mean - exact).abs() < 1e-12 * exact.abs().max(1.0), "{row:?}: it is {exact}");
        }
        Ok(())
    })
}

//! Where sample rows come from: the first records of a pipeline's topics, or rows that are made up.

use serde_json::{Value, json};

use super::Samples;
use crate::ids::{TenantId, TopicName, TopicPartition};
use crate::log::Log;
use crate::log::batch::decode;
use crate::pipeline::spec::Spec;
use crate::record::Batch;

/// Bytes of batches that are read of each topic. A batch is read whole, however large it is.
const READ_BYTES: usize = 64 << 10;
/// Bytes of keys and values of the samples of a topic. What is larger is left out.
const SAMPLE_BYTES: usize = 256 << 10;
/// The time of the first row that is made up, in milliseconds since the Unix epoch.
const FIRST_MS: i64 = 1_700_000_000_000;
/// Milliseconds from one made-up row to the next.
const STEP_MS: i64 = 250;
/// Fields of the values that are made up, beside those that a configuration may mean.
const FIELDS: [&str; 5] = ["id", "name", "value", "time", "kind"];
/// Most fields that are taken from a configuration.
const FIELDS_MAX: usize = 32;

/// The first records of the topics that a pipeline reads, `rows` altogether of its sources, and as many of each table. A
/// source that has none gets rows that are made up. A topic that cannot be read has none: deploying says so, if it matters.
pub(in crate::pipeline) async fn first_records(log: &dyn Log, tenant: &TenantId, spec: &Spec, rows: usize) -> Samples {
    let mut samples = Samples::new();
    let of_each = (rows / spec.sources.len().max(1)).max(1);
    for topic in spec.tables.values() {
        samples.insert(topic.clone(), read(log, tenant, topic, rows).await);
    }
    for (number, topic) in spec.sources.iter().enumerate() {
        let mut batch = read(log, tenant, topic, of_each).await;
        if batch.is_empty() {
            batch = generated(spec, of_each, number);
        }
        samples.insert(topic.clone(), batch);
    }
    samples
}

/// The first records of the first partition that has any.
async fn read(log: &dyn Log, tenant: &TenantId, topic: &TopicName, rows: usize) -> Batch {
    let mut batch = Batch::default();
    let Ok(info) = log.topic(tenant, topic).await else { return batch };
    let Some((partition, first)) = (0..).zip(&info.partitions).find(|(_, partition)| partition.records > 0) else {
        return batch;
    };
    let at = TopicPartition { topic: topic.clone(), partition };
    let Ok(fetched) = log.fetch(tenant, &at, first.start, READ_BYTES).await else { return batch };
    for encoded in &fetched.batches {
        if batch.len() >= rows || decode(encoded, first.start, true, &mut batch).is_err() {
            break;
        }
    }
    let rows = batch.view().rows_within(rows, SAMPLE_BYTES);
    batch.truncate(rows);
    if batch.payload_bytes() > SAMPLE_BYTES {
        batch.clear();
    }
    batch
}

/// Rows that are made up, the same each time: several keys and none, times that go back and repeat, values of several
/// forms with fields that the configurations of steps name. `number` makes those of several topics different.
pub(in crate::pipeline) fn generated(spec: &Spec, rows: usize, number: usize) -> Batch {
    let mut fields: Vec<String> = FIELDS.map(str::to_owned).into();
    spec.steps.iter().for_each(|step| strings(&step.config, &mut fields));
    let mut batch = Batch::default();
    for row in 0..rows {
        let seen = (row + number) as i64;
        let time = match row {
            // Now and then one comes late, or together with the one before it.
            _ if row % 11 == 7 => FIRST_MS + (row as i64 - 3) * STEP_MS,
            _ if row % 5 == 4 => FIRST_MS + (row as i64 - 1) * STEP_MS,
            _ => FIRST_MS + row as i64 * STEP_MS,
        };
        let key = [Some("a"), Some("b"), Some("a"), Some("c"), None][row % 5];
        let value = match row % 12 {
            3 => Some(format!("word {seen}")),
            7 => Some(String::new()),
            9 => None,
            11 => Some(format!(
                "10.0.0.{} - - [14/Nov/2023:22:13:{:02} +0000] \"GET /a HTTP/1.1\" 200 {seen}",
                row % 4,
                row % 60
            )),
            _ => Some(object(&fields, seen, time).to_string()),
        };
        batch.push(time, key.map(str::as_bytes), value.as_deref().map(str::as_bytes));
        batch.headers.push_row([(&b"sample"[..], Some(&b"1"[..]))].into_iter().filter(|_| row % 4 == 0));
    }
    batch
}

/// An object in which each field has a value, of a form that changes from row to row.
fn object(fields: &[String], seen: i64, time: i64) -> Value {
    let value = |place: usize| match (seen as usize + place) % 6 {
        0 => json!(seen % 4),
        1 => json!(time),
        2 => json!(format!("text {}", seen % 3)),
        3 => json!(seen as f64 / 3.0),
        4 => json!(["a", "b", "c"][seen as usize % 3]),
        _ => json!(-seen),
    };
    fields
        .iter()
        .enumerate()
        .map(|(place, field)| (field.clone(), value(place)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Short strings of a configuration: names of fields are among them.
fn strings(config: &Value, into: &mut Vec<String>) {
    match config {
        Value::String(text) if into.len() < FIELDS_MAX && text.len() <= 64 && !into.contains(text) => {
            into.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        Value::Object(fields) => fields.values().for_each(|value| strings(value, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::default_tenant;
    use crate::log::batch::{EncodeOptions, encode};
    use crate::log::memory::MemoryLog;
    use crate::log::{RecordLog as _, TopicAdmin as _, TopicConfig};

    fn spec() -> Spec {
        let manifest = "name = \"p\"\n[source]\ntopics = [\"in\", \"more\"]\n[[steps]]\nname = \"s\"\nplugin = \"x\"\n\
                        config = { key = \"page\" }\n[output]\ntopic = \"out\"\n";
        manifest.parse().expect("it is a manifest")
    }

    #[test]
    fn rows_that_are_made_up_are_always_the_same_and_have_the_fields_of_configurations() {
        let rows = generated(&spec(), 60, 0);
        assert_eq!((rows.len(), &rows), (60, &generated(&spec(), 60, 0)));
        assert_ne!(rows, generated(&spec(), 60, 1));
        let value = rows.values.iter().next().flatten().expect("the first row has a value");
        assert!(String::from_utf8_lossy(value).contains("\"page\":"), "{value:?}");
        assert!(rows.keys.lengths.contains(&-1) && rows.values.lengths.contains(&-1), "nulls are among them");
        assert!(!rows.timestamps.is_sorted(), "some come late");
    }

    #[tokio::test]
    async fn samples_are_the_first_records_of_a_topic_or_made_up_and_few_of_many() {
        let (log, tenant) = (MemoryLog::default(), default_tenant());
        for topic in ["in", "more"] {
            log.create_topic(&tenant, &topic.parse().expect("a name"), TopicConfig::with_partitions(2))
                .await
                .expect("made");
        }
        let mut batch = Batch::default();
        (0..1_000).for_each(|row| batch.push(row, None, Some(b"real")));
        let at = TopicPartition { topic: "in".parse().expect("a name"), partition: 1 };
        log.append(&tenant, &at, encode(batch.view(), &EncodeOptions::default())).await.expect("written");
        let samples = first_records(&log, &tenant, &spec(), 20).await;
        let of = |topic: &str| &samples[&topic.parse().expect("a name")];
        assert_eq!(of("in").timestamps, (0..10).collect::<Vec<_>>());
        assert_eq!(*of("more"), generated(&spec(), 10, 1));
        batch.clear();
        batch.push(0, None, Some(&vec![0; SAMPLE_BYTES + 1]));
        let at = TopicPartition { partition: 0, ..at };
        log.append(&tenant, &at, encode(batch.view(), &EncodeOptions::default())).await.expect("written");
        let samples = first_records(&log, &tenant, &spec(), 20).await;
        assert_eq!(samples[&at.topic], generated(&spec(), 10, 0), "what is too large is left out");
    }
}

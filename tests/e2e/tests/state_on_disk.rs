//! State that is larger than the memory it may take, on a real server, through kills.

use anyhow::ensure;
use e2e::PATIENCE;
use harness::{Client, Options, Producer, Server, component};
use millstream::record::Batch;

/// Each key is counted, and its count given with every third row.
const MANIFEST: &str = r#"
name = "tally"
source = { topics = ["rows"] }
steps = [{ name = "tally", plugin = "tally", config = { every = 3, pad_bytes = 300 } }]
output = { topic = "counts" }
"#;

/// Ten megabytes of state, for one of memory.
const KEYS: u64 = 30_000;

fn key(number: u64) -> String {
    format!("key-{number:06}")
}

/// Sends a row of each key, in an order of its own.
fn send(client: &Client, producer: &mut Producer, step: u64) -> anyhow::Result<()> {
    let mut rows = Batch::default();
    for at in 0..KEYS {
        rows.push(0, Some(key(at * step % KEYS).as_bytes()), Some(b"x"));
        if rows.len() == 5000 {
            producer.send(&rows)?;
            rows.clear();
        }
    }
    client.drained("tally", PATIENCE)?;
    Ok(())
}

#[test]
fn counts_of_keys_on_disk_are_exact_through_kills() -> anyhow::Result<()> {
    let options = Options { arguments: vec!["--state-memory".to_owned(), "1".to_owned()], ..Options::default() };
    let mut server = Server::start_with(options)?;
    let client = server.client();
    client.push("tally", &std::fs::read(component("tally")?)?)?;
    client.create_topic("rows", 1)?;
    client.apply(MANIFEST)?;
    let mut producer = Producer::new(client.clone(), "rows", 0, 7);
    // Steps that have no factor in common with the number of keys.
    for step in [1, 7, 11, 13, 17, 19] {
        send(&client, &mut producer, step)?;
        let status = client.pipeline("tally")?;
        ensure!(status.open_groups == KEYS, "{status:?}");
        ensure!(status.state_bytes < 3 << 20 && status.state_disk_bytes > 5 << 20, "{status:?}");
        server.kill()?;
        server.start_again()?;
    }
    let mut counts: Vec<_> = client.all_records("counts")?.into_iter().map(|row| (row.key, row.value)).collect();
    counts.sort();
    let of_key = |number| ["count 3", "count 6"].map(|count| (Some(key(number)), Some(count.to_owned())));
    let expected: Vec<_> = (0..KEYS).flat_map(of_key).collect();
    ensure!(counts == expected, "{} counts, the first {:?}", counts.len(), counts.first());
    Ok(())
}

#[test]
fn memory_for_state_that_makes_no_sense_is_refused() -> anyhow::Result<()> {
    let options = Options { arguments: vec!["--state-memory".to_owned(), "4096".to_owned()], ..Options::default() };
    let error = Server::start_with(options).map(|_| ()).expect_err("more than the limit of a pipeline");
    ensure!(format!("{error:#}").contains("1..=1024"), "{error:#}");
    Ok(())
}

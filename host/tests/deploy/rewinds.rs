//! Rewinding real pipelines.

use millstream::ids::default_tenant;
use millstream::pipeline::status::State;
use millstream::pipeline::{Rewind, StartOffset};
use millstream::record::Batch;

use crate::guests::Transform;
use crate::server::{Server, done, manifest, name, topic, until};

fn to_offset(of: &str, partition: u32, offset: u64) -> Rewind {
    Rewind::ToOffsets(vec![StartOffset { topic: topic(of), partition, offset }])
}

#[tokio::test]
async fn other_partitions_go_on_where_they_stood_when_it_stopped() {
    let server = Server::new(4).await;
    server.create("in", 2).await;
    server.feed("in", 0, 0..100).await;
    server.apply(&manifest("p", "pass", "in", "out")).await;
    server.drained("p").await;
    // What the other partition has is on its way when the rewind is asked for.
    server.log.let_commits(false);
    server.feed("in", 1, 100..200).await;
    until("its commit is on the way", || server.log.held() > 0).await;
    let rewound = server.pipelines.rewind(&default_tenant(), &name("p"), to_offset("in", 0, 100)).unwrap();
    until("it is being stopped", || server.state("p") == State::Stopping).await;
    server.log.let_commits(true);
    done(&rewound).await.unwrap();
    server.feed("in", 0, 200..300).await;
    server.feed("in", 1, 300..400).await;
    server.drained("p").await;
    server.has_each_once("out", 0..400);
}

/// A plugin that emits for the first row of a call what the table `rates` has for the key `k`.
fn rate() -> Transform {
    let import =
        r#"(import "millstream:plugin/lookup@0.1.0" "get" (func $lookup (param i32 i32 i32 i32 i32 i32 i32)))"#;
    let transform = "(call $lookup (i32.const 3200) (i32.const 5) (i32.const 3208) (i32.const 1) (i32.const 3205)
          (i32.const 1) (i32.const 3000))
        (if (i32.load8_u (i32.const 3000)) (then unreachable))
        (i32.store (i32.const 2048) (i32.const 3300)) (i32.store (i32.const 2052) (i32.const 1))
        (i64.store (i32.const 2088) (i64.load (i32.const 3004)))
        (i64.store (i32.const 2096) (i64.load (i32.const 3012)))
        (i32.const 2048)";
    let data = r#"(data (i32.const 3200) "ratesk") (data (i32.const 3208) "\01\00\00\00")"#;
    Transform { imports: import, ..Transform::doing(transform) }.with(data)
}

pub(crate) const RATING: &str = r#"
name = "p"
[source]
topics = ["in"]
[[tables]]
name = "rates"
topic = "rates"
[[steps]]
name = "rate"
plugin = "rate"
lookup = ["rates"]
[output]
topic = "out"
"#;

/// A server with a pipeline that has looked one row up in a table of one key, of which its topic has 300 versions.
pub(crate) async fn rating() -> Server {
    let server = Server::new(4).await;
    server.push("rate", &rate().component()).await;
    server.create("in", 1).await;
    server.create("rates", 1).await;
    server.feed("rates", 0, 0..300).await;
    server.apply(RATING).await;
    one_more(&server, "299").await;
    server
}

/// Sends a row, and expects this of the table.
pub(crate) async fn one_more(server: &Server, expected: &str) {
    let before = server.values("out").len();
    let mut row = Batch::default();
    row.push(0, Some(b"k"), Some(b"row"));
    server.append("in", 0, &row).await;
    server.drained("p").await;
    let values = server.values("out");
    assert_eq!(values.len(), before + 1);
    assert!(values.iter().all(|value| value.is_some()), "{values:?}");
    assert_eq!(values.last().unwrap().as_deref(), Some(expected));
}

#[tokio::test]
async fn a_rewind_keeps_reference_tables_whole() {
    let mut server = rating().await;
    let rewound = server.pipelines.rewind(&default_tenant(), &name("p"), to_offset("in", 0, 0)).unwrap();
    done(&rewound).await.unwrap();
    server.drained("p").await;
    one_more(&server, "299").await;
    server.restart().await;
    server.drained("p").await;
    one_more(&server, "299").await;
    // The table goes on from where it was, as its state does.
    server.feed("rates", 0, 300..301).await;
    server.drained("p").await;
    one_more(&server, "300").await;
    server.restart().await;
    one_more(&server, "300").await;
    assert_eq!(
        server.show("p").usage.records_in,
        301 + 5 + 1,
        "the row of before the rewind is read twice, no table is"
    );
}

#[tokio::test]
async fn a_paused_pipeline_keeps_its_tables_when_it_is_rewound() {
    let mut server = rating().await;
    server.pipelines.pause(&default_tenant(), &name("p")).await.unwrap();
    server.restart().await;
    let rewound = server.pipelines.rewind(&default_tenant(), &name("p"), Rewind::ToTime(1)).unwrap();
    done(&rewound).await.unwrap();
    assert_eq!(server.state("p"), State::Paused);
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap();
    server.drained("p").await;
    one_more(&server, "299").await;
}

//! Where pipelines are in their inputs when those change: what is added begins where it should, what is removed is
//! remembered, and what retention takes away is missed.

use std::sync::Arc;

use millstream::error::Coded as _;
use millstream::ids::{PipelineName, default_tenant};
use millstream::log::TopicConfig;
use millstream::pipeline::{Error, Restore, StartOffset};

use crate::rewinds::{RATING, one_more, rating};
use crate::server::{Server, done, manifest, name, topic};

fn reading(topics: &str, start: &str) -> String {
    let topics = format!("topics = {topics}\nstart = \"{start}\"");
    manifest("p", "pass", "in", "out").replace("topics = [\"in\"]", &topics)
}

#[tokio::test]
async fn the_latest_is_what_was_there_when_apply_answered() {
    let server = Server::new(4).await;
    for source in ["in", "more"] {
        server.create(source, 1).await;
        server.feed(source, 0, 1000..1003).await;
    }
    // Nothing is awaited in between that would let the pipeline start first.
    server.apply(&reading(r#"["in"]"#, "latest")).await;
    server.feed("in", 0, 0..3).await;
    server.drained("p").await;
    server.has_each_once("out", 0..3);

    // A topic that is added while the pipeline is paused.
    server.pipelines.pause(&default_tenant(), &name("p")).await.unwrap();
    server.apply(&reading(r#"["in", "more"]"#, "latest")).await;
    server.feed("more", 0, 3..6).await;
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap();
    server.drained("p").await;
    server.has_each_once("out", 0..6);
}

#[tokio::test]
async fn what_retention_takes_before_the_first_row_is_counted() {
    let server = Server::new(4).await;
    let config = TopicConfig { retention_bytes: Some(1), ..TopicConfig::with_partitions(1) };
    server.pipelines.create_topic(&default_tenant(), &topic("in"), config).await.unwrap();
    server.apply(&manifest("p", "pass", "in", "out")).await;
    server.pipelines.pause(&default_tenant(), &name("p")).await.unwrap();
    for batch in 0..5 {
        server.feed("in", 0, batch * 10..(batch + 1) * 10).await;
    }
    assert_eq!(server.log.enforce_retention().unwrap(), 4);
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap();
    server.drained("p").await;
    assert_eq!(server.values("out").len(), 10);
    assert_eq!(server.show("p").usage.trimmed, 40);
}

#[tokio::test]
async fn a_table_is_read_from_the_beginning_of_what_was_a_source_long_ago() {
    let server = rating().await;
    server.pipelines.delete(&default_tenant(), &name("p")).await.unwrap();
    let both = manifest("q", "pass", "in", "passed").replace("[\"in\"]", "[\"in\", \"rates\"]");
    server.apply(&both).await;
    server.drained("q").await;
    server.apply(&manifest("q", "pass", "in", "passed")).await;
    // Two changes later the topic is a table's.
    let table = RATING.replace("name = \"p\"", "name = \"q\"").replace("\"out\"", "\"rated\"");
    server.apply(&table.replace("name = \"rate\"", "name = \"step\"")).await;
    server.feed("in", 0, 0..1).await;
    server.drained("q").await;
    assert_eq!(server.values("rated"), [Some("299".to_owned())]);
}

async fn savepoint(server: &Server, of: &str) -> millstream::checkpoint::CheckpointId {
    let taken = server.pipelines.savepoint(&default_tenant(), &name(of), None).unwrap();
    done(&taken).await.unwrap().checkpoint.unwrap()
}

async fn restore(server: &Server, of: &str, restore: Restore) -> Result<PipelineName, Arc<Error>> {
    let restored = server.pipelines.restore(&default_tenant(), &name(of), restore).unwrap();
    done(&restored).await.map(|done| done.pipeline)
}

#[tokio::test]
async fn a_table_whose_topic_was_made_anew_is_read_anew_where_a_restore_says_so() {
    let server = rating().await;
    let checkpoint = savepoint(&server, "p").await;
    // Its checkpoints go with a pipeline that is deleted, so another one keeps the topic's place free.
    server.apply(&manifest("p", "pass", "in", "out")).await;
    server.pipelines.delete_topic(&default_tenant(), &topic("rates")).await.unwrap();
    server.create("rates", 1).await;
    server.feed("rates", 0, 900..901).await;
    let back = |to_offsets| Restore { checkpoint, into: None, manifest: None, to_offsets };
    let refused = restore(&server, "p", back(Vec::new())).await.unwrap_err();
    assert_eq!(refused.code(), "topic_recreated");
    let beginning = |offset| StartOffset { topic: topic("rates"), partition: 0, offset };
    let refused = restore(&server, "p", back(vec![beginning(1)])).await.unwrap_err();
    assert_eq!(refused.code(), "offset_out_of_range");
    restore(&server, "p", back(vec![beginning(0)])).await.unwrap();
    server.drained("p").await;
    one_more(&server, "900").await;
}

#[tokio::test]
async fn a_fork_writes_to_no_topic_that_its_pipeline_writes_now() {
    let server = Server::new(4).await;
    server.create("in", 1).await;
    server.apply(&manifest("p", "pass", "in", "before")).await;
    let checkpoint = savepoint(&server, "p").await;
    server.apply(&manifest("p", "pass", "in", "now")).await;
    for shared in ["before", "now"] {
        let manifest = Some(manifest("fork", "pass", "in", shared) + "[dead-letters]\ntopic = \"fork.dead\"\n");
        let fork = Restore { checkpoint, into: Some(name("fork")), manifest, to_offsets: Vec::new() };
        let refused = restore(&server, "p", fork).await.unwrap_err();
        assert_eq!(refused.code(), "shared_target", "{refused}");
    }
}

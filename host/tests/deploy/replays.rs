//! State is read back on threads that may wait, few at once, and not at all for who is paused.
//!
//! These tests have one thread for all that is asynchronous: if a replay held it up, nothing could let the replay through.

use std::num::NonZero;

use millstream::ids::default_tenant;
use millstream::pipeline::status::State;

use crate::server::{Server, manifest, name, until};

/// A server with so many pipelines that have read 10 rows each.
async fn with_pipelines(count: usize) -> Server {
    let server = Server::new(4).await;
    server.create("in", 1).await;
    server.feed("in", 0, 0..10).await;
    for number in 0..count {
        server.apply(&manifest(&format!("p-{number}"), "pass", "in", &format!("out-{number}"))).await;
    }
    for number in 0..count {
        server.drained(&format!("p-{number}")).await;
    }
    server
}

#[tokio::test]
async fn replays_hold_nothing_else_up_and_few_go_on_at_once() {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let count = cores + 3;
    let mut server = with_pipelines(count).await;
    server.log.let_replays(false);
    server.restart().await;
    until("as many replays go on as there are cores", || server.log.replaying().0 == cores).await;
    assert_eq!(server.state("p-0"), State::Starting);
    server.feed("in", 0, 10..20).await;
    server.log.let_replays(true);
    for number in 0..count {
        server.drained(&format!("p-{number}")).await;
        server.has_each_once(&format!("out-{number}"), 0..20);
    }
    assert_eq!(server.log.replaying(), (0, cores));
}

#[tokio::test]
async fn a_paused_pipeline_shows_what_is_committed_and_reads_nothing_back() {
    let mut server = with_pipelines(1).await;
    let before = server.show("p-0");
    server.pipelines.pause(&default_tenant(), &name("p-0")).await.unwrap();
    let replayed = server.log.replayed();
    server.restart().await;
    let paused = server.show("p-0");
    assert_eq!((paused.state, paused.usage), (State::Paused, before.usage));
    let positions = |status: &millstream::pipeline::status::PipelineStatus| {
        status.inputs.iter().map(|input| (input.topic.clone(), input.partition, input.position)).collect::<Vec<_>>()
    };
    assert_eq!(positions(&paused), positions(&before));
    server.feed("in", 0, 10..20).await;
    assert_eq!(server.show("p-0").inputs[0].end, 20);
    assert_eq!(server.log.replayed(), replayed);
    server.pipelines.resume(&default_tenant(), &name("p-0")).await.unwrap();
    server.drained("p-0").await;
    assert_eq!(server.log.replayed(), replayed + 1);
    server.has_each_once("out-0", 0..20);
}

//! Topics that come and go while pipelines are applied that need them.

use futures_util::future::join_all;
use millstream::error::Coded as _;
use millstream::ids::default_tenant;
use millstream::log::{TopicAdmin as _, TopicConfig};
use millstream::pipeline::{Applied, Apply, Error};
use tokio::task::JoinHandle;

use crate::server::{Server, manifest, name, topic, until};

/// How many are applied, each beside who deletes or makes its topic.
const PAIRS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_deletes_a_topic_comes_before_the_pipeline_that_needs_it_or_is_refused() {
    let server = Server::new(4).await;
    server.create("in", 1).await;
    for pair in 0..PAIRS {
        server.create(&format!("out-{pair}"), 1).await;
    }
    let pairs = (0..PAIRS).map(|pair| {
        let (applying, deleting) = (server.pipelines.clone(), server.pipelines.clone());
        let output = format!("out-{pair}");
        let manifest = manifest(&format!("p-{pair}"), "pass", "in", &output);
        let apply = tokio::spawn(async move { applying.apply(&default_tenant(), &manifest, Apply::default()).await });
        let delete = tokio::spawn(async move {
            // Some come early, some late.
            for _ in 0..pair * 3 {
                tokio::task::yield_now().await;
            }
            deleting.delete_topic(&default_tenant(), &topic(&output)).await
        });
        async move { (apply.await.unwrap(), delete.await.unwrap()) }
    });
    for (applied, deleted) in join_all(pairs).await {
        let applied = applied.unwrap().status;
        if let Err(error) = deleted {
            assert_eq!(error.code(), "topic_in_use");
            assert!(error.to_string().contains(&format!("pipeline `{}`", applied.name)), "{error}");
        }
    }
    server.feed("in", 0, 0..30).await;
    for pair in 0..PAIRS {
        server.drained(&format!("p-{pair}")).await;
        server.has_each_once(&format!("out-{pair}"), 0..30);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_topic_that_somebody_else_makes_meanwhile_is_used_as_it_is() {
    let server = Server::new(4).await;
    server.create("one", 1).await;
    server.create("four", 4).await;
    server.feed("one", 0, 0..10).await;
    server.feed("four", 3, 10..20).await;
    let rounds = (0..PAIRS).map(|round| {
        let output = format!("out-{round}");
        // Both make the topic, each with as many partitions as its source has; a third with three.
        let apply = |source: &str| {
            let manifest = manifest(&format!("{source}-{round}"), "pass", source, &output);
            let pipelines = server.pipelines.clone();
            tokio::spawn(async move { pipelines.apply(&default_tenant(), &manifest, Apply::default()).await })
        };
        let (one, four, pipelines) = (apply("one"), apply("four"), server.pipelines.clone());
        let output = topic(&output);
        let made = tokio::spawn(async move {
            pipelines.create_topic(&default_tenant(), &output, TopicConfig::with_partitions(3)).await
        });
        async move { (one.await.unwrap(), four.await.unwrap(), made.await.unwrap()) }
    });
    for (one, four, made) in join_all(rounds).await {
        one.unwrap();
        four.unwrap();
        if let Err(error) = made {
            assert_eq!(error.code(), "topic_conflict");
        }
    }
    for round in 0..PAIRS {
        server.drained(&format!("one-{round}")).await;
        server.drained(&format!("four-{round}")).await;
        server.has_each_once(&format!("out-{round}"), 0..20);
    }
}

/// A server with a pipeline that is being applied: it is planned, and looks at its state. It reads four partitions.
async fn applying() -> (Server, JoinHandle<Result<Applied, Error>>) {
    let server = Server::new(4).await;
    server.create("four", 4).await;
    server.feed("four", 3, 0..10).await;
    server.log.let_replays(false);
    let pipelines = server.pipelines.clone();
    let apply = tokio::spawn(async move {
        pipelines.apply(&default_tenant(), &manifest("p", "pass", "four", "out"), Apply::default()).await
    });
    until("its state is looked at", || server.log.replaying().0 == 1).await;
    (server, apply)
}

#[tokio::test]
async fn what_is_being_applied_keeps_its_topics() {
    let (server, apply) = applying().await;
    for needed in ["four", "out", "p.dead-letters"] {
        let refused = server.pipelines.delete_topic(&default_tenant(), &topic(needed)).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("topic `{needed}` is used by pipeline `p`: delete it first"));
    }
    server.log.let_replays(true);
    apply.await.unwrap().unwrap();
    server.drained("p").await;
    server.has_each_once("out", 0..10);
}

#[tokio::test]
async fn what_is_being_applied_takes_a_topic_as_it_was_made_meanwhile() {
    let (server, apply) = applying().await;
    server.create("out", 1).await;
    server.log.let_replays(true);
    apply.await.unwrap().unwrap();
    server.drained("p").await;
    server.has_each_once("out", 0..10);
    let made = server.log.topic(&default_tenant(), &topic("out")).await.unwrap();
    assert_eq!(made.config.partitions, 1);
}

#[tokio::test]
async fn a_refusal_names_all_pipelines_that_need_the_topic() {
    let server = Server::new(4).await;
    server.create("in", 1).await;
    server.apply(&manifest("a", "pass", "in", "out")).await;
    server.apply(&manifest("b", "pass", "out", "end")).await;
    let refused = server.pipelines.delete_topic(&default_tenant(), &topic("out")).await.unwrap_err();
    assert_eq!(refused.to_string(), "topic `out` is used by pipelines `a`, `b`: delete them first");
    for pipeline in ["a", "b"] {
        server.pipelines.delete(&default_tenant(), &name(pipeline)).await.unwrap();
    }
    server.pipelines.delete_topic(&default_tenant(), &topic("out")).await.unwrap();
    assert!(!server.log.topics(&default_tenant()).await.unwrap().contains_key(&topic("out")));
}

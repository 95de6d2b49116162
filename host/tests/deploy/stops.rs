//! A request to stop is answered only when the pipeline has stopped.

use futures_util::FutureExt as _;
use millstream::error::Coded as _;
use millstream::ids::default_tenant;
use millstream::log::CommitLog as _;
use millstream::pipeline::Apply;
use millstream::pipeline::status::State;

use crate::server::{Server, manifest, name, until};

/// A server with a pipeline whose first commit, of 600 rows, is held up.
async fn held_up() -> Server {
    let server = Server::new(4).await;
    server.create("in", 1).await;
    server.apply(&manifest("p", "pass", "in", "out")).await;
    until("it runs", || server.state("p") == State::Running).await;
    hold_up(&server).await;
    server
}

async fn hold_up(server: &Server) {
    server.log.let_commits(false);
    server.feed("in", 0, 0..600).await;
    until("its commit is on the way", || server.log.held() > 0).await;
}

/// What `show` says while a stop waits for the log.
async fn waits_for_the_log(server: &Server) {
    until("it waits for the log", || {
        let status = server.show("p");
        let reason = status.reason.map(|reason| (reason.code, reason.message));
        status.state == State::Stopping
            && reason.is_some_and(|(code, message)| code == "stopping" && message.contains("the log has to answer"))
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_waits_for_a_commit_on_its_way_and_no_row_is_doubled() {
    let server = held_up().await;
    let pipelines = server.pipelines.clone();
    let upgrade = tokio::spawn(async move {
        pipelines.apply(&default_tenant(), &manifest("p", "again", "in", "out"), Apply::default()).await
    });
    waits_for_the_log(&server).await;
    server.feed("in", 0, 600..900).await;
    server.log.let_commits(true);
    upgrade.await.unwrap().unwrap();
    server.drained("p").await;
    server.has_each_once("out", 0..900);
}

#[tokio::test]
async fn a_paused_pipeline_commits_nothing_more_and_goes_on_after_resume() {
    let mut server = held_up().await;
    let pipelines = server.pipelines.clone();
    let pause = tokio::spawn(async move { pipelines.pause(&default_tenant(), &name("p")).await });
    waits_for_the_log(&server).await;
    assert!(!pause.is_finished(), "a commit is on its way");
    server.log.let_commits(true);
    assert_eq!(pause.await.unwrap().unwrap().state, State::Paused);
    let sequence = |server: &Server| {
        let (tenant, id) = server.log.tasks().unwrap().remove(0);
        server.log.recover(&tenant, id).unwrap().head.sequence
    };
    let (committed, written) = (sequence(&server), server.values("out").len());
    assert!(written == 0 || written == 600, "{written} of a micro-batch of 600");
    server.feed("in", 0, 600..900).await;
    server.restart().await;
    assert_eq!((sequence(&server), server.values("out").len()), (committed, written));
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap();
    server.drained("p").await;
    server.has_each_once("out", 0..900);
}

#[tokio::test]
async fn a_pause_is_done_to_its_end_if_nobody_waits_for_it() {
    let server = held_up().await;
    // As when a client goes away: the request is dropped at its first await.
    assert!(server.pipelines.pause(&default_tenant(), &name("p")).now_or_never().is_none());
    server.log.let_commits(true);
    until("it is paused", || server.state("p") == State::Paused).await;
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap();
    server.drained("p").await;
    server.has_each_once("out", 0..600);
}

#[tokio::test]
async fn a_deleted_pipeline_writes_nothing_more() {
    let server = held_up().await;
    let pipelines = server.pipelines.clone();
    let delete = tokio::spawn(async move { pipelines.delete(&default_tenant(), &name("p")).await });
    waits_for_the_log(&server).await;
    server.log.let_commits(true);
    delete.await.unwrap().unwrap();
    let written = server.values("out").len();
    assert!(written == 0 || written == 600, "{written} of a micro-batch of 600");
    assert_eq!(server.log.tasks().unwrap(), [], "its commits are forgotten");
    let gone = server.pipelines.show(&default_tenant(), &name("p")).await.unwrap_err();
    assert_eq!(gone.code(), "pipeline_not_found");
}

/// The only place for calls is free again when the stop is answered, so what called is gone.
#[tokio::test]
async fn a_guest_that_computes_for_long_is_cancelled() {
    let server = Server::new(1).await;
    server.create("in", 1).await;
    server.feed("in", 0, 0..600).await;
    server.apply(&manifest("p", "spin", "in", "out")).await;
    until("it runs", || server.state("p") == State::Running).await;
    assert_eq!(server.pipelines.pause(&default_tenant(), &name("p")).await.unwrap().state, State::Paused);
    server.apply(&manifest("p", "pass", "in", "out")).await;
    server.apply(&manifest("other", "pass", "in", "elsewhere")).await;
    server.drained("other").await;
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap();
    server.drained("p").await;
    server.has_each_once("out", 0..600);
    server.has_each_once("elsewhere", 0..600);
}

#[tokio::test]
async fn a_server_that_ends_has_stopped_all_and_starts_none() {
    let mut server = Server::new(4).await;
    server.create("in", 1).await;
    server.apply(&manifest("p", "pass", "in", "out")).await;
    server.apply(&manifest("q", "spin", "in", "elsewhere")).await;
    until("both run", || ["p", "q"].iter().all(|pipeline| server.state(pipeline) == State::Running)).await;
    hold_up(&server).await;
    let pipelines = server.pipelines.clone();
    let stop = tokio::spawn(async move { pipelines.stop().await });
    waits_for_the_log(&server).await;
    server.log.let_commits(true);
    stop.await.unwrap();
    let written = server.values("out").len();
    let resumed = server
        .pipelines
        .apply(&default_tenant(), &manifest("r", "pass", "in", "late"), Apply::default())
        .await
        .unwrap();
    assert_eq!(resumed.status.state, State::Starting, "nothing is started any more");
    server.feed("in", 0, 600..900).await;
    assert_eq!(server.values("out").len(), written);
    server.restart().await;
    server.drained("p").await;
    server.has_each_once("out", 0..900);
    server.drained("r").await;
    server.has_each_once("late", 0..900);
}

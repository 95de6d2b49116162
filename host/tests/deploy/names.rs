//! Two that want the same name at once: one pipeline, one runner, each row once.

use futures_util::future::join_all;
use millstream::error::Coded as _;
use millstream::ids::{TenantId, default_tenant};
use millstream::log::CommitLog as _;
use millstream::pipeline::status::State;
use millstream::pipeline::{Apply, Change, Restore};

use crate::server::{Server, done, manifest, name, until};

/// How many want the same thing at once.
const AT_ONCE: usize = 12;

/// The deployments that the log knows are those that the catalog names: nobody writes beside them.
fn all_are_known(server: &Server) {
    let mut named: Vec<(TenantId, _)> =
        server.catalog.pipelines().into_iter().map(|stored| (stored.tenant, stored.id.task())).collect();
    named.sort();
    let mut known = server.log.tasks().unwrap();
    known.sort();
    assert_eq!(known, named);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_make_a_pipeline_at_once_one_does() {
    let mut server = Server::new(4).await;
    server.create("in", 2).await;
    let applies = (0..AT_ONCE).map(|_| {
        let pipelines = server.pipelines.clone();
        tokio::spawn(async move {
            pipelines.apply(&default_tenant(), &manifest("p", "pass", "in", "out"), Apply::default()).await
        })
    });
    let applied = join_all(applies).await;
    let changes: Vec<_> = applied.into_iter().map(|applied| applied.unwrap().unwrap().change).collect();
    let count = |change| changes.iter().filter(|&&had| had == change).count();
    assert_eq!((count(Change::Created), count(Change::Unchanged)), (1, AT_ONCE - 1), "{changes:?}");
    server.feed("in", 0, 0..300).await;
    server.feed("in", 1, 300..600).await;
    server.drained("p").await;
    server.restart().await;
    server.drained("p").await;
    server.has_each_once("out", 0..600);
    all_are_known(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_forks_to_one_name_one_is_made() {
    let mut server = Server::new(4).await;
    server.create("in", 1).await;
    server.apply(&manifest("p", "pass", "in", "out")).await;
    server.feed("in", 0, 0..100).await;
    server.drained("p").await;
    let taken = server.pipelines.savepoint(&default_tenant(), &name("p"), None).unwrap();
    let checkpoint = done(&taken).await.unwrap().checkpoint.unwrap();
    let restore = || Restore { checkpoint, into: Some(name("fork")), manifest: None, to_offsets: Vec::new() };
    // All are asked for before any of them is done.
    let forks: Vec<_> =
        (0..AT_ONCE).filter_map(|_| server.pipelines.restore(&default_tenant(), &name("p"), restore()).ok()).collect();
    assert!(forks.len() > 1, "they do not meet");
    let outcomes = join_all(forks.iter().map(|fork| done(fork))).await;
    let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(refused.len(), outcomes.len() - 1);
    assert!(refused.iter().all(|error| error.code() == "pipeline_exists"), "{refused:?}");
    server.feed("in", 0, 100..600).await;
    server.drained("fork").await;
    server.restart().await;
    server.drained("fork").await;
    server.has_each_once("fork.out", 100..600);
    all_are_known(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn restores_of_one_name_follow_one_another() {
    let mut server = Server::new(4).await;
    server.create("in", 1).await;
    server.apply(&manifest("p", "pass", "in", "out")).await;
    server.feed("in", 0, 0..100).await;
    server.drained("p").await;
    let taken = server.pipelines.savepoint(&default_tenant(), &name("p"), None).unwrap();
    let checkpoint = done(&taken).await.unwrap().checkpoint.unwrap();
    server.pipelines.delete(&default_tenant(), &name("p")).await.unwrap();
    // A savepoint outlives its pipeline, and makes it again.
    let restore = || Restore { checkpoint, into: Some(name("q")), manifest: None, to_offsets: Vec::new() };
    let made = server.pipelines.restore(&default_tenant(), &name("p"), restore()).unwrap();
    done(&made).await.unwrap();
    let taken = server.pipelines.savepoint(&default_tenant(), &name("q"), None).unwrap();
    let checkpoint = done(&taken).await.unwrap().checkpoint.unwrap();
    let again = Restore { checkpoint, into: None, manifest: None, to_offsets: Vec::new() };
    let restores: Vec<_> =
        (0..AT_ONCE).map(|_| server.pipelines.restore(&default_tenant(), &name("q"), again.clone()).unwrap()).collect();
    for outcome in join_all(restores.iter().map(|restore| done(restore))).await {
        outcome.unwrap();
    }
    server.feed("in", 0, 100..600).await;
    server.drained("q").await;
    server.restart().await;
    server.drained("q").await;
    server.has_each_once("q.out", 100..600);
    all_are_known(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_is_asked_at_once_one_pipeline_or_none_is_left() {
    let mut server = Server::new(4).await;
    server.create("in", 1).await;
    for round in 0..4_usize {
        let asked = (0..AT_ONCE * 2).map(|number| {
            let pipelines = server.pipelines.clone();
            tokio::spawn(async move {
                let (tenant, name) = (default_tenant(), name("p"));
                let plugin = if number % 2 == 0 { "pass" } else { "again" };
                let result = match (number + round) % 4 {
                    0 => pipelines.delete(&tenant, &name).await,
                    1 => pipelines.pause(&tenant, &name).await.map(drop),
                    2 => pipelines.resume(&tenant, &name).await.map(drop),
                    _ => {
                        pipelines.apply(&tenant, &manifest("p", plugin, "in", "out"), Apply::default()).await.map(drop)
                    }
                };
                match result {
                    Err(error) if error.code() != "pipeline_not_found" => panic!("{error}"),
                    _ => {}
                }
            })
        });
        join_all(asked).await.into_iter().for_each(|asked| asked.unwrap());
        let stored = server.catalog.pipelines();
        let shown = server.pipelines.list(&default_tenant()).await.unwrap();
        assert_eq!(
            stored.iter().map(|stored| stored.id).collect::<Vec<_>>(),
            shown.iter().map(|shown| shown.id).collect::<Vec<_>>()
        );
        assert!(shown.iter().zip(&stored).all(|(shown, stored)| (shown.state == State::Paused) == stored.paused));
    }
    let _ = server.pipelines.delete(&default_tenant(), &name("p")).await;
    assert_eq!(server.log.tasks().unwrap(), []);
    server.apply(&manifest("p", "pass", "in", "last")).await;
    server.feed("in", 0, 0..600).await;
    server.drained("p").await;
    server.restart().await;
    server.drained("p").await;
    server.has_each_once("last", 0..600);
    all_are_known(&server);
}

/// A pause that waited while the pipeline was deleted must not bring it back.
#[tokio::test]
async fn a_pause_does_not_bring_a_deleted_pipeline_back() {
    let mut server = Server::new(4).await;
    server.create("in", 1).await;
    server.apply(&manifest("p", "pass", "in", "out")).await;
    until("it runs", || server.state("p") == State::Running).await;
    server.log.let_commits(false);
    server.feed("in", 0, 0..10).await;
    until("its commit is on the way", || server.log.held() > 0).await;
    let spawn = |what: bool| {
        let pipelines = server.pipelines.clone();
        tokio::spawn(async move {
            match what {
                true => pipelines.delete(&default_tenant(), &name("p")).await,
                false => pipelines.pause(&default_tenant(), &name("p")).await.map(drop),
            }
        })
    };
    let delete = spawn(true);
    until("it is being deleted", || server.state("p") == State::Stopping).await;
    let pause = spawn(false);
    // It has begun to wait.
    tokio::task::yield_now().await;
    server.log.let_commits(true);
    delete.await.unwrap().unwrap();
    let refused = pause.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), "pipeline_not_found");
    server.restart().await;
    assert_eq!(server.pipelines.list(&default_tenant()).await.unwrap(), []);
}

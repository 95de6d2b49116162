//! What is written down before it is done is carried out, or called off, by whoever comes next: state that nobody needs is
//! forgotten, state that somebody may need is kept.

use millstream::error::Coded as _;
use millstream::ids::{PipelineId, TaskId, default_tenant};
use millstream::log::CommitLog as _;
use millstream::pipeline::status::State;
use millstream::pipeline::{Apply, Rewind, StartOffset};

use crate::gated::Asked;
use crate::server::{Server, done, manifest, name, topic, until};

fn passing() -> String {
    manifest("p", "pass", "in", "out")
}

/// The deployments that the log has something of.
fn known(server: &Server) -> Vec<PipelineId> {
    let mut known: Vec<_> =
        server.log.tasks().unwrap().into_iter().map(|(_, TaskId { pipeline, .. })| pipeline).collect();
    known.sort();
    known
}

fn orphans(server: &Server) -> Vec<PipelineId> {
    server.pipelines.orphans(&default_tenant()).unwrap().items.into_iter().map(|orphan| orphan.id).collect()
}

/// A server with a pipeline that has read 10 rows.
async fn with_pipeline() -> Server {
    let server = Server::new(4).await;
    server.create("in", 1).await;
    server.feed("in", 0, 0..10).await;
    server.apply(&passing()).await;
    server.drained("p").await;
    server
}

/// The same, rewound to the end of what it has read, while the log forgets nothing: what is carried out next is to forget
/// the deployment of before. Answers both.
async fn replaced() -> (Server, PipelineId, PipelineId) {
    let server = with_pipeline().await;
    let before = server.show("p").id;
    server.log.refuse(Asked::Forget, true);
    let rewind = Rewind::ToOffsets(vec![StartOffset { topic: topic("in"), partition: 0, offset: 10 }]);
    done(&server.pipelines.rewind(&default_tenant(), &name("p"), rewind).unwrap()).await.unwrap();
    let after = server.show("p").id;
    assert_eq!(known(&server), [before, after]);
    server.log.refuse(Asked::Forget, false);
    (server, before, after)
}

#[tokio::test]
async fn a_deletion_carries_out_what_was_left_of_an_earlier_switch() {
    let (mut server, ..) = replaced().await;
    server.pipelines.delete(&default_tenant(), &name("p")).await.unwrap();
    assert_eq!(known(&server), []);
    server.restart().await;
    assert_eq!(orphans(&server), []);
}

/// Only a deletion is called off by whoever lets a pipeline go on.
#[tokio::test]
async fn resuming_leaves_what_is_left_of_a_switch_to_the_next_start() {
    let (mut server, _, after) = replaced().await;
    server.pipelines.pause(&default_tenant(), &name("p")).await.unwrap();
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap();
    server.restart().await;
    assert_eq!((known(&server), orphans(&server)), (vec![after], vec![]));
    server.feed("in", 0, 10..20).await;
    server.drained("p").await;
    server.has_each_once("out", 0..20);
}

/// Somebody resumes it while it is to be deleted: the deletion comes after that, and is not called off by it.
#[tokio::test]
async fn a_deletion_that_waits_for_a_resume_is_not_called_off() {
    let mut server = with_pipeline().await;
    server.log.let_commits(false);
    server.feed("in", 0, 10..20).await;
    until("its commit is on the way", || server.log.held() > 0).await;
    // A pause that the log does not answer leaves it stopped, with a commit on its way: the resume waits for that.
    server.log.refuse(Asked::Fence, true);
    server.pipelines.pause(&default_tenant(), &name("p")).await.unwrap_err();
    server.log.refuse(Asked::Fence, false);
    let pipelines = server.pipelines.clone();
    let resume = tokio::spawn(async move { pipelines.resume(&default_tenant(), &name("p")).await.map(drop) });
    until("it is being resumed", || server.state("p") == State::Stopping).await;
    let pipelines = server.pipelines.clone();
    let delete = tokio::spawn(async move { pipelines.delete(&default_tenant(), &name("p")).await });
    // It has come to where it waits.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    server.log.refuse(Asked::Forget, true);
    server.log.let_commits(true);
    resume.await.unwrap().unwrap();
    delete.await.unwrap().unwrap();
    server.log.refuse(Asked::Forget, false);
    server.restart().await;
    assert_eq!((known(&server), orphans(&server)), (vec![], vec![]), "the next start forgets what was deleted");
}

/// A deletion that cannot be written down, and of which nobody knows whether it is: the pipeline that goes on is not being
/// deleted any more, so what is lost of it later is not taken for what somebody deleted.
#[tokio::test]
async fn what_goes_on_after_a_deletion_that_failed_is_no_longer_to_be_deleted() {
    let mut server = with_pipeline().await;
    let id = server.show("p").id;
    server.files.fail_syncs(Some("pipelines"));
    server.files.fail_writes(Some("pipelines"));
    let refused = server.pipelines.delete(&default_tenant(), &name("p")).await.unwrap_err();
    assert_eq!((refused.code(), server.state("p")), ("catalog_unsettled", State::Failed));
    server.files.fail_syncs(None);
    server.files.fail_writes(None);
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap();
    server.drained("p").await;
    assert_eq!(server.catalog.intents(), []);
    server.pipelines.stop().await;
    server.lose("p");
    server.restart().await;
    assert_eq!((known(&server), orphans(&server)), (vec![id], vec![id]));
}

/// The file of a pipeline is lost with what was to be carried out of its last switch: both deployments are left. One is
/// made a pipeline again; the other is nobody's to forget.
#[tokio::test]
async fn an_orphan_that_is_adopted_leaves_no_intent_behind() {
    let (mut server, before, after) = replaced().await;
    server.pipelines.stop().await;
    server.lose("p");
    server.restart().await;
    assert_eq!(orphans(&server), [before, after]);
    server.pipelines.adopt(&default_tenant(), before, &passing()).await.unwrap();
    assert_eq!(server.catalog.intents(), []);
    server.restart().await;
    assert_eq!((known(&server), orphans(&server)), (vec![before, after], vec![after]));
    server.feed("in", 0, 10..20).await;
    server.drained("p").await;
    server.has_each_once("out", 0..20);
}

#[tokio::test]
async fn an_orphan_that_is_not_adopted_is_one_again_unless_the_catalog_may_name_it() {
    let mut server = with_pipeline().await;
    let id = server.show("p").id;
    server.pipelines.stop().await;
    server.lose("p");
    server.restart().await;
    server.files.fail_writes(Some("pipelines"));
    let refused = server.pipelines.adopt(&default_tenant(), id, &passing()).await.unwrap_err();
    assert_eq!(refused.code(), "catalog_storage_failed", "{refused}");
    assert_eq!(orphans(&server), [id], "it is as it was");
    server.files.fail_writes(None);
    server.files.fail_syncs(Some("pipelines"));
    let unsettled = server.pipelines.adopt(&default_tenant(), id, &passing()).await.unwrap_err();
    assert_eq!(unsettled.code(), "catalog_unsettled", "{unsettled}");
    assert_eq!(orphans(&server), []);
    let discarded = server.pipelines.discard_orphan(&default_tenant(), id).await.unwrap_err();
    assert_eq!(discarded.code(), "orphan_not_found", "after a restart it may be a pipeline's");
    assert_eq!(known(&server), [id]);
    server.files.fail_syncs(None);
    server.restart().await;
    assert_eq!(orphans(&server), [id]);
    server.pipelines.adopt(&default_tenant(), id, &passing()).await.unwrap();
    server.feed("in", 0, 10..20).await;
    server.drained("p").await;
    server.has_each_once("out", 0..20);
}

/// A pipeline that tries again and again, and whose `resume` cannot be written down.
#[tokio::test]
async fn a_pipeline_that_cannot_be_resumed_is_as_it_was() {
    let mut server = with_pipeline().await;
    server.log.refuse(Asked::Commit, true);
    server.feed("in", 0, 10..20).await;
    until("it tries again", || server.state("p") == State::BackingOff).await;
    server.files.fail_writes(Some("pipelines"));
    // One of its attempts may come between, and while that goes on there is nothing to resume.
    while server.pipelines.resume(&default_tenant(), &name("p")).await.is_ok() {
        until("it tries again", || server.state("p") == State::BackingOff).await;
    }
    server.log.refuse(Asked::Commit, false);
    server.drained("p").await;
    server.has_each_once("out", 0..20);
    server.files.fail_writes(None);
    server.pipelines.pause(&default_tenant(), &name("p")).await.unwrap();
    server.files.fail_writes(Some("pipelines"));
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap_err();
    assert_eq!(server.state("p"), State::Paused);
    server.feed("in", 0, 20..30).await;
    server.files.fail_writes(None);
    server.restart().await;
    assert_eq!(server.state("p"), State::Paused);
    server.has_each_once("out", 0..20);
    server.pipelines.apply(&default_tenant(), &passing(), Apply::default()).await.unwrap();
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap();
    server.drained("p").await;
    server.has_each_once("out", 0..30);
}

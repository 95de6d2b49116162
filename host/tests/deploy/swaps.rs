//! What a swap goes on with is what there is when the old version has stopped, not what there was when it was looked at.

use millstream::error::Coded as _;
use millstream::ids::default_tenant;
use millstream::pipeline::Apply;
use millstream::pipeline::status::State;

use crate::gated::Asked;
use crate::guests::counting;
use crate::server::{Server, manifest, name, until};

/// Counts rows in windows by a plugin.
fn counting_by(plugin: &str) -> String {
    let manifest = manifest("p", plugin, "in", "out");
    manifest.replace("[output]", "window = { tumbling = \"1s\" }\n[output]")
}

/// Another plugin that has no `migrate` may take a step that has no state. If state comes before the swap, it may not.
#[tokio::test]
async fn state_that_comes_while_an_upgrade_waits_is_never_taken_for_that_of_another_plugin() {
    let server = Server::new(4).await;
    for plugin in ["one", "other"] {
        server.push(plugin, &counting()).await;
    }
    server.create("in", 1).await;
    server.apply(&counting_by("one")).await;
    until("it runs", || server.state("p") == State::Running).await;
    // The first state there is, on its way to the log.
    server.log.let_commits(false);
    server.feed("in", 0, 0..600).await;
    until("its commit is on the way", || server.log.held() > 0).await;
    let pipelines = server.pipelines.clone();
    let upgrade = tokio::spawn(async move {
        pipelines.apply(&default_tenant(), &counting_by("other"), Apply::default()).await.map(drop)
    });
    until("it is being stopped", || server.state("p") == State::Stopping).await;
    server.log.let_commits(true);
    let refused = upgrade.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), "state_conflict", "{refused}");
    server.drained("p").await;
    assert_eq!(server.show("p").steps[0].plugin.as_str(), "one");
    assert_eq!(server.show("p").open_groups, 1);
}

/// A stop that the log did not answer has to ask again: what was being committed then may still be written.
#[tokio::test]
async fn a_stop_after_one_that_the_log_did_not_answer_waits_for_it() {
    let server = Server::new(4).await;
    server.create("in", 1).await;
    server.apply(&manifest("p", "pass", "in", "out")).await;
    until("it runs", || server.state("p") == State::Running).await;
    server.log.let_commits(false);
    server.feed("in", 0, 0..600).await;
    until("its commit is on the way", || server.log.held() > 0).await;
    server.log.refuse(Asked::Fence, true);
    let refused = server.pipelines.pause(&default_tenant(), &name("p")).await.unwrap_err();
    assert_eq!(refused.code(), "log_closed");
    server.log.refuse(Asked::Fence, false);
    let pipelines = server.pipelines.clone();
    let again = tokio::spawn(async move { pipelines.pause(&default_tenant(), &name("p")).await.map(drop) });
    until("it is told to stop again", || server.state("p") == State::Stopping || again.is_finished()).await;
    assert!(!again.is_finished(), "it was answered while a commit was on its way");
    server.log.let_commits(true);
    again.await.unwrap().unwrap();
    assert_eq!(server.log.held(), 0);
    let written = server.values("out").len();
    assert!(written == 0 || written == 600, "{written} of a micro-batch of 600");
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap();
    server.drained("p").await;
    server.has_each_once("out", 0..600);
}

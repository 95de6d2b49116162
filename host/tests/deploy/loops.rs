//! Rows that come round on a server: over restarts, and when a pipeline goes back.

use millstream::ids::default_tenant;
use millstream::pipeline::{Apply, Restore, Rewind};

use crate::server::{Server, done, name, until};

/// Every row goes round three times, and then ends.
const ROUND: &str = r#"
name = "p"
[source]
topics = ["in", "again"]
[loop]
topic = "again"
rounds = 3
[[steps]]
name = "step"
plugin = "pass"
[output]
topic = "again"
"#;

/// Asserts that a topic has these numbers, each so often.
fn has_each(server: &Server, of: &str, values: std::ops::Range<usize>, times: usize) {
    let expected: Vec<_> = values.flat_map(|value| std::iter::repeat_n(Some(value.to_string()), times)).collect();
    assert_eq!(server.values(of), expected, "{of}");
}

async fn started() -> Server {
    let server = Server::new(4).await;
    server.create("in", 2).await;
    // The topic of the loop is the pipeline's own: it is made like any that is written.
    server.apply(ROUND).await;
    server
}

#[tokio::test]
async fn rows_go_round_once_over_restarts_and_pauses() {
    let mut server = started().await;
    server.feed("in", 0, 0..100).await;
    server.restart().await;
    server.feed("in", 1, 100..200).await;
    server.pipelines.pause(&default_tenant(), &name("p")).await.unwrap();
    server.feed("in", 0, 200..300).await;
    server.restart().await;
    server.pipelines.resume(&default_tenant(), &name("p")).await.unwrap();
    server.drained("p").await;
    has_each(&server, "again", 0..300, 3);
    has_each(&server, "p.dead-letters", 0..300, 1);
    let usage = server.show("p").usage;
    assert_eq!((usage.records_in, usage.dead_letters, usage.superseded), (1200, 300, 0));
    // It rests: nothing is committed for nothing.
    server.restart().await;
    server.drained("p").await;
    assert_eq!(server.show("p").usage.commits, usage.commits);
}

#[tokio::test]
async fn an_upgrade_takes_rows_along_that_are_on_their_way() {
    let server = started().await;
    server.log.let_commits(false);
    server.feed("in", 0, 0..100).await;
    until("a commit is on its way", || server.log.held() > 0).await;
    server.log.let_commits(true);
    let changed = ROUND.replace("\"pass\"", "\"again\"");
    server.pipelines.apply(&default_tenant(), &changed, Apply::default()).await.unwrap();
    server.feed("in", 1, 100..200).await;
    server.drained("p").await;
    has_each(&server, "again", 0..200, 3);
    has_each(&server, "p.dead-letters", 0..200, 1);
}

#[tokio::test]
async fn what_came_round_after_a_checkpoint_counts_no_more_when_it_is_restored() {
    let mut server = started().await;
    server.feed("in", 0, 0..100).await;
    server.drained("p").await;
    let taken = server.pipelines.savepoint(&default_tenant(), &name("p"), None).unwrap();
    let checkpoint = done(&taken).await.unwrap().checkpoint.unwrap();
    server.feed("in", 0, 100..200).await;
    server.drained("p").await;
    let restore = Restore { checkpoint, into: None, manifest: None, to_offsets: Vec::new() };
    done(&server.pipelines.restore(&default_tenant(), &name("p"), restore).unwrap()).await.unwrap();
    server.drained("p").await;
    server.restart().await;
    server.feed("in", 1, 200..300).await;
    server.drained("p").await;
    // The rows behind the checkpoint went round once more, and what they had become before did not.
    let times = |of: usize| if (100..200).contains(&of) { 2 } else { 1 };
    for (topic, each) in [("again", 3), ("p.dead-letters", 1)] {
        let expected: Vec<_> =
            (0..300).flat_map(|of| std::iter::repeat_n(Some(of.to_string()), each * times(of))).collect();
        assert_eq!(server.values(topic), expected, "{topic}");
    }
    assert_eq!(server.show("p").usage.superseded, 300);
}

#[tokio::test]
async fn a_rewind_lets_rows_come_round_anew() {
    let server = started().await;
    server.feed("in", 0, 0..100).await;
    server.drained("p").await;
    let rewound = server.pipelines.rewind(&default_tenant(), &name("p"), Rewind::ToTime(50)).unwrap();
    done(&rewound).await.unwrap();
    server.drained("p").await;
    let expected = |each: usize| {
        let times = move |of: usize| if of < 50 { each } else { 2 * each };
        (0..100).flat_map(move |of| std::iter::repeat_n(Some(of.to_string()), times(of))).collect::<Vec<_>>()
    };
    assert_eq!((server.values("again"), server.values("p.dead-letters")), (expected(3), expected(1)));
    // Of what had come round, the half behind that time was read again and left out; how much exactly depends on where
    // commits were.
    assert!(server.show("p").usage.superseded >= 150);
}

#[tokio::test]
async fn a_fork_goes_round_by_a_topic_of_its_own() {
    let server = started().await;
    server.feed("in", 0, 0..100).await;
    server.drained("p").await;
    let taken = server.pipelines.savepoint(&default_tenant(), &name("p"), None).unwrap();
    let checkpoint = done(&taken).await.unwrap().checkpoint.unwrap();
    let restore = Restore { checkpoint, into: Some(name("fork")), manifest: None, to_offsets: Vec::new() };
    done(&server.pipelines.restore(&default_tenant(), &name("p"), restore).unwrap()).await.unwrap();
    server.feed("in", 1, 100..200).await;
    server.drained("p").await;
    server.drained("fork").await;
    has_each(&server, "again", 0..200, 3);
    has_each(&server, "fork.again", 100..200, 3);
    has_each(&server, "fork.dead-letters", 100..200, 1);
}

/// A bound holds for what one pipeline reads and writes: over two of them nobody counts.
#[tokio::test]
async fn a_loop_over_two_pipelines_is_refused_though_one_of_them_is_bounded() {
    let server = started().await;
    let back = "name = \"q\"\n[source]\ntopics = [\"again\"]\n[[steps]]\nname = \"step\"\nplugin = \"pass\"\n[output]\ntopic = \"in\"\n";
    let refused = server.pipelines.apply(&default_tenant(), back, Apply::default()).await.unwrap_err();
    let message = refused.to_string();
    assert!(
        message.contains("topic `again` -> pipeline `q` -> topic `in` -> pipeline `p` -> topic `again`"),
        "{message}"
    );
    assert!(message.contains("`[loop]` bounds the rounds of a single pipeline"), "{message}");
    // Who only reads what goes round closes nothing.
    server.apply(&back.replace("topic = \"in\"", "topic = \"copy\"")).await;
    server.feed("in", 0, 0..10).await;
    server.drained("p").await;
    server.drained("q").await;
    has_each(&server, "copy", 0..10, 3);
}

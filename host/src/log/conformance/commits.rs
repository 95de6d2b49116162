//! Commits and recovery.

use super::*;

pub(crate) async fn a_commit_is_there_whole_or_not_at_all(subject: &mut dyn Subject) {
    let log = subject.log();
    make(log, "in", 1);
    make(log, "out", 2);
    append(log, &at("out", 0), values(["before"])).await.unwrap();
    let whole = Commit {
        positions: vec![(at("in", 0), 5)],
        outputs: vec![
            (at("out", 0), values(["a", "b"])),
            (at("out", 1), values(["c"])),
            (at("out", 0), run(&[values(["d"]), values(["e"])])),
        ],
        block: Block::Delta(Bytes::from_static(b"delta")),
        usage: Bytes::from_static(b"usage"),
        ..commit(7, 1)
    };
    for (bad, expected) in [
        ((at("gone", 0), values(["x"])), "topic_not_found"),
        ((at("out", 2), values(["x"])), "partition_not_found"),
        ((at("out", 1), Bytes::new()), "invalid_batch"),
        ((at("out", 1), Bytes::from_static(b"x")), "invalid_batch"),
    ] {
        let mut torn = whole.clone();
        torn.outputs.push(bad);
        assert_eq!(code(log.commit(&tenant(), torn).await), expected);
        assert_eq!(log.recover(&tenant(), PipelineId(7)), Ok(Recovery::default()));
        assert_eq!(everything(log, &at("out", 0)), ["before"]);
        assert_eq!(everything(log, &at("out", 1)), Vec::<String>::new());
    }
    assert_eq!(log.commit(&tenant(), whole).await.unwrap().base_offsets, [1, 0, 3]);
    for _ in 0..2 {
        let log = subject.log();
        assert_eq!(everything(log, &at("out", 0)), ["before", "a", "b", "d", "e"]);
        assert_eq!(everything(log, &at("out", 1)), ["c"]);
        let recovery = log.recover(&tenant(), PipelineId(7)).unwrap();
        let expected = Recovery {
            sequence: 1,
            positions: [(at("in", 0), 5)].into(),
            blocks: vec![Bytes::from_static(b"delta")],
            usage: Bytes::from_static(b"usage"),
        };
        assert_eq!(recovery, expected);
        subject.reopen();
    }
}

pub(crate) async fn of_two_writers_of_a_pipeline_one_loses(subject: &mut dyn Subject) {
    make(subject.log(), "out", 1);
    let with_output =
        |sequence, value: &str| Commit { outputs: vec![(at("out", 0), values([value]))], ..commit(7, sequence) };
    let first = subject.log().commit(&tenant(), with_output(1, "one"));
    let second = subject.log().commit(&tenant(), with_output(1, "other"));
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap().base_offsets, [0]);
    assert_eq!(second, Err(Error::CommitConflict { pipeline: PipelineId(7), sequence: 1, last: 1 }));
    subject.reopen();
    for sequence in [0, 1, 3, u64::MAX] {
        assert_eq!(code(subject.log().commit(&tenant(), with_output(sequence, "x")).await), "commit_conflict");
    }
    subject.log().commit(&tenant(), with_output(2, "two")).await.unwrap();
    assert_eq!(code(subject.log().commit(&tenant(), commit(8, 2)).await), "commit_conflict");
    assert_eq!(everything(subject.log(), &at("out", 0)), ["one", "two"]);
}

pub(crate) async fn a_pipeline_recovers_from_its_base_and_the_deltas_after_it(subject: &mut dyn Subject) {
    let delta = |text: &'static str| Block::Delta(Bytes::from_static(text.as_bytes()));
    let base = |text: &'static str| Block::Base(Bytes::from_static(text.as_bytes()));
    let steps: [(Block, &[&str]); 8] = [
        (Block::None, &[]),
        (delta("d2"), &["d2"]),
        (Block::None, &["d2"]),
        (delta("d4"), &["d2", "d4"]),
        (base("b5"), &["b5"]),
        (delta(""), &["b5", ""]),
        (base("b7"), &["b7"]),
        (base("b8"), &["b8"]),
    ];
    for (sequence, (block, expected)) in (1..).zip(steps) {
        let positions = vec![(at("in", 0), sequence * 10), (at("in", sequence as u32), 1)];
        let usage = Bytes::from(sequence.to_string());
        let step = Commit { block, positions, usage: usage.clone(), ..commit(7, sequence) };
        subject.log().commit(&tenant(), step).await.unwrap();
        subject.reopen();
        let recovery = subject.log().recover(&tenant(), PipelineId(7)).unwrap();
        assert_eq!((recovery.sequence, recovery.usage), (sequence, usage));
        assert_eq!(recovery.blocks, expected);
        assert_eq!(recovery.positions.len() as u64, sequence + 1);
        assert_eq!(recovery.positions[&at("in", 0)], sequence * 10);
    }
    assert_eq!(subject.log().recover(&tenant(), PipelineId(6)), Ok(Recovery::default()));
}

pub(crate) async fn a_forgotten_pipeline_begins_anew_and_its_outputs_stay(subject: &mut dyn Subject) {
    make(subject.log(), "out", 1);
    for pipeline in [7, 8] {
        let full = Commit {
            positions: vec![(at("in", 0), 3)],
            outputs: vec![(at("out", 0), values([pipeline.to_string()]))],
            block: Block::Delta(Bytes::from_static(b"state")),
            ..commit(pipeline, 1)
        };
        subject.log().commit(&tenant(), full).await.unwrap();
    }
    subject.log().forget(&tenant(), PipelineId(7)).unwrap();
    subject.log().forget(&tenant(), PipelineId(7)).unwrap();
    subject.reopen();
    assert_eq!(subject.log().recover(&tenant(), PipelineId(7)), Ok(Recovery::default()));
    assert_eq!(subject.log().recover(&tenant(), PipelineId(8)).unwrap().sequence, 1);
    assert_eq!(everything(subject.log(), &at("out", 0)), ["7", "8"]);
    subject.log().commit(&tenant(), commit(7, 1)).await.unwrap();
    assert_eq!(subject.log().recover(&tenant(), PipelineId(7)).unwrap().blocks, Vec::<Bytes>::new());
}

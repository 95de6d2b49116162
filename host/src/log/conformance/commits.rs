//! Commits and recovery.

use std::ops::ControlFlow;

use super::*;

fn delta(text: &'static str) -> Block {
    Block::Some { bytes: Bytes::from_static(text.as_bytes()), oldest: 0 }
}

fn from(oldest: u64, text: &'static str) -> Block {
    Block::Some { bytes: Bytes::from_static(text.as_bytes()), oldest }
}

pub(crate) async fn a_commit_is_there_whole_or_not_at_all(subject: &mut dyn Subject) {
    let log = subject.log();
    make(log, "in", 1);
    make(log, "out", 2);
    let epoch = fence(log, 7).await;
    append(log, &at("out", 0), values(["before"])).await.unwrap();
    let whole = Commit {
        positions: vec![(at("in", 0), place(1, 5))],
        outputs: vec![
            (at("out", 0), values(["a", "b"])),
            (at("out", 1), values(["c"])),
            (at("out", 0), run(&[values(["d"]), values(["e"])])),
        ],
        block: delta("delta"),
        usage: Bytes::from_static(b"usage"),
        ..commit(7, epoch, 1)
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
        assert_eq!(log.recover(&tenant(), task(7)).unwrap().head, Head { epoch, ..Head::empty(task(7)) });
        assert_eq!(everything(log, &at("out", 0)), ["before"]);
        assert_eq!(everything(log, &at("out", 1)), Vec::<String>::new());
    }
    assert_eq!(log.commit(&tenant(), whole).await.unwrap().base_offsets, [1, 0, 3]);
    for _ in 0..2 {
        let log = subject.log();
        assert_eq!(everything(log, &at("out", 0)), ["before", "a", "b", "d", "e"]);
        assert_eq!(everything(log, &at("out", 1)), ["c"]);
        let recovery = log.recover(&tenant(), task(7)).unwrap();
        let expected = Recovery {
            head: Head {
                task: task(7),
                epoch,
                sequence: 1,
                last_block: 1,
                oldest: 0,
                positions: [(at("in", 0), place(1, 5))].into(),
                usage: Bytes::from_static(b"usage"),
            },
            blocks: vec![(1, Bytes::from_static(b"delta"))],
        };
        assert_eq!(recovery, expected);
        subject.reopen();
    }
}

pub(crate) async fn of_two_writers_of_a_task_one_loses(subject: &mut dyn Subject) {
    make(subject.log(), "out", 1);
    let epoch = fence(subject.log(), 7).await;
    let with_output =
        |sequence, value: &str| Commit { outputs: vec![(at("out", 0), values([value]))], ..commit(7, epoch, sequence) };
    let first = subject.log().commit(&tenant(), with_output(1, "one"));
    let second = subject.log().commit(&tenant(), with_output(1, "other"));
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap().base_offsets, [0]);
    assert_eq!(second, Err(Error::CommitConflict { task: task(7), sequence: 1, last: 1 }));
    subject.reopen();
    for sequence in [0, 1, 3, u64::MAX] {
        assert_eq!(code(subject.log().commit(&tenant(), with_output(sequence, "x")).await), "commit_conflict");
    }
    subject.log().commit(&tenant(), with_output(2, "two")).await.unwrap();
    let other = fence(subject.log(), 8).await;
    assert_eq!(code(subject.log().commit(&tenant(), commit(8, other, 2)).await), "commit_conflict");
    assert_eq!(everything(subject.log(), &at("out", 0)), ["one", "two"]);
}

pub(crate) async fn a_task_recovers_from_the_blocks_that_are_still_needed(subject: &mut dyn Subject) {
    let epoch = fence(subject.log(), 7).await;
    type Kept = &'static [(u64, &'static str)];
    let steps: [(Block, u64, Kept); 13] = [
        (Block::None, 0, &[]),
        (delta("d2"), 0, &[(2, "d2")]),
        (Block::None, 0, &[(2, "d2")]),
        (delta("d4"), 0, &[(2, "d2"), (4, "d4")]),
        // The whole state, written in both ways.
        (from(5, "w5"), 5, &[(5, "w5")]),
        (delta(""), 5, &[(5, "w5"), (6, "")]),
        (from(u64::MAX, "w7"), 7, &[(7, "w7")]),
        (from(8, "w8"), 8, &[(8, "w8")]),
        (delta("d9"), 8, &[(8, "w8"), (9, "d9")]),
        // Piece by piece, where the number may be that of a commit without a block.
        (Block::None, 8, &[(8, "w8"), (9, "d9")]),
        (from(9, "p11"), 9, &[(9, "d9"), (11, "p11")]),
        (from(10, "p12"), 10, &[(11, "p11"), (12, "p12")]),
        // It does not go back.
        (from(3, "p13"), 10, &[(11, "p11"), (12, "p12"), (13, "p13")]),
    ];
    for (sequence, (block, oldest, expected)) in (1..).zip(steps) {
        let positions = vec![(at("in", 0), place(1, sequence * 10)), (at("in", sequence as u32), place(2, 1))];
        let usage = Bytes::from(sequence.to_string());
        let step = Commit { block, positions, usage: usage.clone(), ..commit(7, epoch, sequence) };
        subject.log().commit(&tenant(), step).await.unwrap();
        if sequence % 3 > 0 {
            subject.reopen();
        }
        let Recovery { head, blocks } = subject.log().recover(&tenant(), task(7)).unwrap();
        assert_eq!((head.sequence, head.oldest, head.usage), (sequence, oldest, usage));
        assert_eq!(head.last_block, expected.last().map_or(0, |&(number, _)| number));
        assert_eq!(blocks, expected.iter().map(|&(number, text)| (number, text.into())).collect::<Vec<_>>());
        assert_eq!(head.positions.len() as u64, sequence + 1);
        assert_eq!(head.positions[&at("in", 0)], place(1, sequence * 10));
    }
    assert_eq!(subject.log().recover(&tenant(), task(6)), Ok(empty(6)));
}

pub(crate) async fn blocks_are_read_back_from_any_on_and_as_far_as_wanted(subject: &mut dyn Subject) {
    let epoch = fence(subject.log(), 7).await;
    for (sequence, block) in (1..).zip([delta("1"), delta("2"), from(2, "3"), Block::None, delta("5")]) {
        subject.log().commit(&tenant(), Commit { block, ..commit(7, epoch, sequence) }).await.unwrap();
    }
    let read = |after, most| {
        let mut numbers = Vec::new();
        let head = subject.log().replay(&tenant(), task(7), after, &mut |number, _| {
            numbers.push(number);
            if numbers.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let head = head.unwrap();
        assert_eq!((head.sequence, head.last_block, head.oldest), (5, 5, 2), "the same whatever is read");
        numbers
    };
    for (after, expected) in
        [(0, &[2, 3, 5][..]), (1, &[2, 3, 5]), (2, &[3, 5]), (3, &[5]), (4, &[5]), (5, &[]), (u64::MAX, &[])]
    {
        assert_eq!(read(after, usize::MAX), expected, "after {after}");
    }
    assert_eq!(read(0, 1), [2]);
}

pub(crate) async fn a_forgotten_task_begins_anew_and_its_outputs_stay(subject: &mut dyn Subject) {
    make(subject.log(), "out", 1);
    for pipeline in [7, 8] {
        let epoch = fence(subject.log(), pipeline).await;
        let full = Commit {
            positions: vec![(at("in", 0), place(1, 3))],
            outputs: vec![(at("out", 0), values([pipeline.to_string()]))],
            block: delta("state"),
            ..commit(pipeline, epoch, 1)
        };
        subject.log().commit(&tenant(), full).await.unwrap();
    }
    assert_eq!(subject.log().tasks().unwrap(), [(tenant(), task(7)), (tenant(), task(8))]);
    subject.log().forget(&tenant(), task(7)).unwrap();
    subject.log().forget(&tenant(), task(7)).unwrap();
    assert_eq!(subject.log().tasks().unwrap(), [(tenant(), task(8))]);
    subject.reopen();
    assert_eq!(subject.log().recover(&tenant(), task(7)), Ok(empty(7)));
    assert_eq!(subject.log().recover(&tenant(), task(8)).unwrap().head.sequence, 1);
    assert_eq!(everything(subject.log(), &at("out", 0)), ["7", "8"]);
    let epoch = fence(subject.log(), 7).await;
    subject.log().commit(&tenant(), commit(7, epoch, 1)).await.unwrap();
    assert_eq!(subject.log().recover(&tenant(), task(7)).unwrap().blocks, []);
}

//! Who may write for a task, and which topic a name means.

use super::*;

fn fenced<T: std::fmt::Debug>(result: Result<T>) -> (u64, u64) {
    match result {
        Err(Error::Fenced { task: TaskId { pipeline: PipelineId(7), number: 0 }, epoch, current }) => (epoch, current),
        other => panic!("{other:?}"),
    }
}

/// A commit of pipeline 7 with an output.
fn output(epoch: u64, sequence: u64) -> Commit {
    Commit { outputs: vec![(at("out", 0), values([sequence.to_string()]))], ..commit(7, epoch, sequence) }
}

pub(crate) async fn a_fence_gives_a_greater_epoch_and_what_was_committed_before(subject: &mut dyn Subject) {
    let mut last = 0;
    for sequence in 0..6 {
        let fenced = subject.log().fence(&tenant(), task(7)).await.unwrap();
        assert!(fenced.epoch > last, "{} after {last}", fenced.epoch);
        last = fenced.epoch;
        assert_eq!(fenced.head, subject.log().head(&tenant(), task(7)).unwrap());
        assert_eq!((fenced.head.epoch, fenced.head.sequence), (last, sequence));
        let position = (at("in", sequence as u32), place(3, sequence));
        let block = Block::Some { bytes: Bytes::from_static(b"block"), oldest: 2 };
        let commit = Commit { positions: vec![position], block, ..commit(7, last, sequence + 1) };
        subject.log().commit(&tenant(), commit).await.unwrap();
        if sequence % 2 == 0 {
            subject.reopen();
        }
    }
    let head = subject.log().fence(&tenant(), task(7)).await.unwrap().head;
    assert_eq!((head.last_block, head.oldest, head.positions.len()), (6, 2, 6));
    let before = head.epoch;
    subject.log().forget(&tenant(), task(7)).unwrap();
    subject.reopen();
    let anew = subject.log().fence(&tenant(), task(7)).await.unwrap();
    assert!(anew.epoch > before, "also of what was forgotten");
    assert_eq!(anew.head, Head { epoch: anew.epoch, ..Head::empty(task(7)) });
}

pub(crate) async fn a_commit_of_another_epoch_is_refused_and_leaves_nothing(subject: &mut dyn Subject) {
    make(subject.log(), "out", 1);
    let old = fence(subject.log(), 7).await;
    subject.log().commit(&tenant(), output(old, 1)).await.unwrap();
    let new = fence(subject.log(), 7).await;
    for _ in 0..2 {
        for epoch in [0, old, new + 1, u64::MAX] {
            for sequence in [1, 2, 3] {
                let refused = subject.log().commit(&tenant(), output(epoch, sequence)).await;
                assert_eq!(fenced(refused), (epoch, new));
            }
        }
        assert_eq!(everything(subject.log(), &at("out", 0)), ["1"]);
        assert_eq!(subject.log().head(&tenant(), task(7)).unwrap().sequence, 1);
        subject.reopen();
    }
    subject.log().commit(&tenant(), output(new, 2)).await.unwrap();
    assert_eq!(code(subject.log().commit(&tenant(), output(new, 2)).await), "commit_conflict");
    assert_eq!(everything(subject.log(), &at("out", 0)), ["1", "2"]);
}

pub(crate) async fn a_fence_takes_its_place_in_the_order_of_writes(subject: &mut dyn Subject) {
    make(subject.log(), "out", 1);
    for before in 0..5 {
        let (tenant, log) = (tenant(), subject.log());
        let old = log.fence(&tenant, task(7)).await.unwrap();
        let first = old.head.sequence + 1;
        let commit = |number: u64| tokio::spawn(log.commit(&tenant, output(old.epoch, first + number)));
        // Tasks of one thread are first polled in the order in which they are spawned.
        let written: Vec<_> = (0..before).map(commit).collect();
        let new = tokio::spawn(log.fence(&tenant, task(7)));
        let refused: Vec<_> = (before..before + 3).map(commit).collect();
        let new = new.await.unwrap().unwrap();
        assert_eq!(new.head.sequence, old.head.sequence + before);
        for written in written {
            written.await.unwrap().unwrap();
        }
        for refused in refused {
            assert_eq!(fenced(refused.await.unwrap()), (old.epoch, new.epoch));
        }
        assert_eq!(everything(log, &at("out", 0)).len() as u64, new.head.sequence);
    }
}

pub(crate) async fn a_writer_that_is_fenced_while_it_commits_knows_what_it_has_written(subject: &mut dyn Subject) {
    make(subject.log(), "out", 1);
    for round in 0..20 {
        let log = subject.log();
        let old = log.fence(&tenant(), task(7)).await.unwrap();
        let writer = async {
            let mut sequence = old.head.sequence;
            loop {
                match log.commit(&tenant(), output(old.epoch, sequence + 1)).await {
                    Ok(_) => sequence += 1,
                    Err(Error::Fenced { .. }) => return sequence,
                    Err(error) => panic!("{error}"),
                }
                tokio::task::yield_now().await;
            }
        };
        let fence = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            log.fence(&tenant(), task(7)).await.unwrap()
        };
        let (written, new) = tokio::join!(writer, fence);
        assert_eq!(new.head.sequence, written, "round {round}");
        let numbers: Vec<_> = (1..=written).map(|number| number.to_string()).collect();
        assert_eq!(everything(log, &at("out", 0)), numbers);
    }
}

pub(crate) async fn a_task_that_is_forgotten_or_was_never_fenced_takes_no_commit(subject: &mut dyn Subject) {
    make(subject.log(), "out", 1);
    for epoch in [0, 1] {
        assert_eq!(fenced(subject.log().commit(&tenant(), output(epoch, 1)).await), (epoch, 0));
    }
    let epoch = fence(subject.log(), 7).await;
    assert_eq!(subject.log().tasks().unwrap(), [(tenant(), task(7))]);
    subject.log().commit(&tenant(), output(epoch, 1)).await.unwrap();
    subject.log().forget(&tenant(), task(7)).unwrap();
    for _ in 0..2 {
        for sequence in [1, 2] {
            assert_eq!(fenced(subject.log().commit(&tenant(), output(epoch, sequence)).await), (epoch, 0));
        }
        assert_eq!(subject.log().recover(&tenant(), task(7)), Ok(empty(7)));
        assert_eq!(subject.log().tasks().unwrap(), []);
        subject.reopen();
    }
    assert_eq!(everything(subject.log(), &at("out", 0)), ["1"]);
}

pub(crate) async fn the_tasks_of_a_pipeline_are_apart(subject: &mut dyn Subject) {
    let tasks = [0, 1, u32::MAX].map(|number| TaskId { pipeline: PipelineId(7), number });
    for (number, task) in (1..).zip(tasks) {
        let epoch = subject.log().fence(&tenant(), task).await.unwrap().epoch;
        let block = Block::Some { bytes: Bytes::from(task.to_string()), oldest: 1 };
        let positions = vec![(at("in", 0), place(1, number))];
        let commit = Commit { task, block, positions, ..commit(7, epoch, 1) };
        subject.log().commit(&tenant(), commit).await.unwrap();
    }
    subject.reopen();
    let mut known = subject.log().tasks().unwrap();
    known.sort();
    assert_eq!(known, tasks.map(|task| (tenant(), task)));
    subject.log().forget(&tenant(), tasks[1]).unwrap();
    for (number, task) in [(1, tasks[0]), (3, tasks[2])] {
        let Recovery { head, blocks } = subject.log().recover(&tenant(), task).unwrap();
        assert_eq!((head.task, head.positions), (task, [(at("in", 0), place(1, number))].into()));
        assert_eq!(blocks, [(1, Bytes::from(task.to_string()))]);
    }
    assert_eq!(subject.log().head(&tenant(), tasks[1]), Ok(Head::empty(tasks[1])));
}

pub(crate) async fn a_topic_has_an_id_of_its_own(subject: &mut dyn Subject) {
    let other: TenantId = "acme-2".parse().unwrap();
    let mut given = Vec::new();
    for _ in 0..3 {
        make(subject.log(), "t", 1);
        make(subject.log(), "u", 2);
        subject.log().create_topic(&other, &topic("t"), TopicConfig::with_partitions(1)).await.unwrap();
        let topics = subject.log().topics(&tenant()).await.unwrap();
        let theirs = subject.log().topic(&other, &topic("t")).await.unwrap();
        given.extend([topics[&topic("t")].id, topics[&topic("u")].id, theirs.id]);
        // It keeps it as long as it is there.
        append(subject.log(), &at("t", 0), values(["a"])).await.unwrap();
        subject.reopen();
        make(subject.log(), "t", 1);
        assert_eq!(subject.log().topic(&tenant(), &topic("t")).await.unwrap().id, topics[&topic("t")].id);
        for from in [0, 1] {
            assert_eq!(fetch(subject.log(), &at("t", 0), from, 100).unwrap().topic_id, topics[&topic("t")].id);
        }
        for name in ["t", "u"] {
            subject.log().delete_topic(&tenant(), &topic(name)).await.unwrap();
        }
        subject.log().delete_topic(&other, &topic("t")).await.unwrap();
        assert_eq!(code(subject.log().topic(&tenant(), &topic("t")).await), "topic_not_found");
    }
    let all = given.len();
    given.sort();
    given.dedup();
    assert_eq!(given.len(), all, "no id is given twice");
}

//! Waking, order and cancellation.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

pub(crate) async fn watchers_wake_when_records_become_visible(subject: &mut dyn Subject) {
    let log = subject.log();
    make(log, "t", 1);
    make(log, "u", 1);
    let epoch = fence(log, 7).await;
    let mut watch = log.watch(&tenant(), &topic("t")).unwrap();
    let other = log.watch(&tenant(), &topic("u")).unwrap();
    for sequence in 1..4 {
        let output = Commit { outputs: vec![(at("t", 0), values(["c"]))], ..commit(7, epoch, sequence) };
        let before = everything(log, &at("t", 0)).len();
        let woken = async {
            watch.changed().await.unwrap();
            assert!(everything(log, &at("t", 0)).len() > before, "what it woke for can be read");
        };
        let (_, committed) = tokio::join!(woken, log.commit(&tenant(), output));
        committed.unwrap();
        let (_, appended) =
            tokio::join!(async { watch.changed().await.unwrap() }, log.append(&tenant(), &at("t", 0), values(["a"])));
        appended.unwrap();
    }
    assert!(!other.has_changed().unwrap());
}

fn poll<T>(pending: &mut Pending<T>) -> Poll<Result<T>> {
    pin!(pending).poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) async fn writes_take_effect_in_the_order_of_their_first_polls(subject: &mut dyn Subject) {
    let log = subject.log();
    make(log, "t", 1);
    // Made in one order, polled in the other, awaited in a third.
    let mut writes: Vec<_> =
        (0..8).rev().map(|number: u32| log.append(&tenant(), &at("t", 0), values([number.to_string()]))).collect();
    let mut done = Vec::new();
    for write in writes.iter_mut().rev() {
        done.push(poll(write).is_ready());
    }
    for (write, done) in writes.into_iter().zip(done.into_iter().rev()) {
        if !done {
            write.await.unwrap();
        }
    }
    assert_eq!(everything(log, &at("t", 0)), ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

pub(crate) async fn changes_of_topics_have_their_place_in_the_order_of_writes(subject: &mut dyn Subject) {
    async fn end<T>(begun: Poll<Result<T>>, pending: Pending<T>) -> Result<T> {
        match begun {
            Poll::Ready(result) => result,
            Poll::Pending => pending.await,
        }
    }
    let log = subject.log();
    let create = || log.create_topic(&tenant(), &topic("t"), TopicConfig::with_partitions(1));
    let append = |value: &str| log.append(&tenant(), &at("t", 0), values([value]));
    let (mut made, mut first, mut deleted) = (create(), append("first"), log.delete_topic(&tenant(), &topic("t")));
    let (mut refused, mut made_again, mut second) = (append("between"), create(), append("second"));
    let begun = (poll(&mut made), poll(&mut first), poll(&mut deleted));
    let begun_again = (poll(&mut refused), poll(&mut made_again), poll(&mut second));
    // Whoever is asked last has all of the others behind it.
    assert_eq!(end(begun_again.2, second).await.map(|appended| appended.base_offset), Ok(0));
    end(begun.0, made).await.unwrap();
    assert_eq!(end(begun.1, first).await.map(|appended| appended.base_offset), Ok(0));
    end(begun.2, deleted).await.unwrap();
    assert_eq!(code(end(begun_again.0, refused).await), "topic_not_found");
    end(begun_again.1, made_again).await.unwrap();
    assert_eq!(everything(log, &at("t", 0)), ["second"]);
}

pub(crate) async fn a_dropped_write_is_there_whole_or_not_at_all(subject: &mut dyn Subject) {
    make(subject.log(), "t", 1);
    make(subject.log(), "u", 1);
    let (epoch, other) = (fence(subject.log(), 7).await, fence(subject.log(), 8).await);
    drop(subject.log().append(&tenant(), &at("t", 0), values(["never polled"])));
    for sequence in 1..20 {
        let last = subject.log().recover(&tenant(), task(7)).unwrap().head.sequence;
        let outputs = vec![(at("t", 0), values(["t"])), (at("u", 0), values(["u"]))];
        let mut dropped = subject.log().commit(&tenant(), Commit { outputs, ..commit(7, epoch, last + 1) });
        let _ = poll(&mut dropped);
        drop(dropped);
        // What follows shows what became of it.
        subject.log().commit(&tenant(), commit(8, other, sequence)).await.unwrap();
        let committed = subject.log().recover(&tenant(), task(7)).unwrap().head.sequence as usize;
        assert_eq!(everything(subject.log(), &at("t", 0)), vec!["t"; committed]);
        assert_eq!(everything(subject.log(), &at("u", 0)), vec!["u"; committed]);
    }
}

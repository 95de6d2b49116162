//! Idempotence.

use super::*;

pub(crate) async fn a_batch_that_is_sent_again_is_written_once(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    append(subject.log(), &at, values(["x"])).await.unwrap();
    assert_eq!(append(subject.log(), &at, sent(9, 0, 0, 2)).await, Ok((1, 3, false)));
    assert_eq!(append(subject.log(), &at, sent(9, 0, 2, 1)).await, Ok((3, 4, false)));
    for _ in 0..2 {
        assert_eq!(append(subject.log(), &at, sent(9, 0, 0, 2)).await, Ok((1, 3, true)));
        assert_eq!(append(subject.log(), &at, sent(9, 0, 2, 1)).await, Ok((3, 4, true)));
        assert_eq!(everything(subject.log(), &at), ["x", "0", "1", "2"]);
        subject.reopen();
    }
    // Of two that are sent at once, one is the other's repetition.
    let (first, second) =
        tokio::join!(append(subject.log(), &at, sent(9, 0, 3, 1)), append(subject.log(), &at, sent(9, 0, 3, 1)));
    assert_eq!((first, second), (Ok((4, 5, false)), Ok((4, 5, true))));
    assert_eq!(append(subject.log(), &at, sent(8, 0, 3, 1)).await, Ok((5, 6, false)), "another producer");
}

pub(crate) async fn a_hole_in_the_sequence_is_refused(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    append(subject.log(), &at, sent(9, 0, 0, 2)).await.unwrap();
    subject.reopen();
    let hole = Error::OutOfOrderSequence { at: at.clone(), producer_id: 9, sequence: 3, expected: 2 };
    assert_eq!(append(subject.log(), &at, sent(9, 0, 3, 1)).await, Err(hole));
    assert_eq!(append(subject.log(), &at, sent(9, 0, 2, 1)).await, Ok((2, 3, false)));
}

pub(crate) async fn an_older_epoch_is_fenced(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    append(subject.log(), &at, sent(9, 1, 0, 1)).await.unwrap();
    append(subject.log(), &at, sent(9, 2, 0, 1)).await.unwrap();
    subject.reopen();
    let fenced = Error::ProducerFenced { at: at.clone(), producer_id: 9, epoch: 1, current: 2 };
    assert_eq!(append(subject.log(), &at, sent(9, 1, 1, 1)).await, Err(fenced));
    assert_eq!(code(append(subject.log(), &at, sent(9, 3, 1, 1)).await), "out_of_order_sequence");
    assert_eq!(append(subject.log(), &at, sent(9, 3, 0, 1)).await, Ok((2, 3, false)));
}

pub(crate) async fn a_producer_is_known_as_long_as_its_last_batch(subject: &mut dyn Subject) {
    let config = TopicConfig { retention_bytes: Some(1), ..TopicConfig::with_partitions(1) };
    subject.log().create_topic(&tenant(), &topic("t"), config).await.unwrap();
    let at = at("t", 0);
    append(subject.log(), &at, sent(1, 0, 0, 1)).await.unwrap();
    append(subject.log(), &at, sent(2, 0, 0, 1)).await.unwrap();
    assert_eq!(subject.enforce_retention(0), Ok(1));
    for _ in 0..2 {
        assert_eq!(append(subject.log(), &at, sent(2, 0, 0, 1)).await, Ok((1, 2, true)));
        subject.reopen();
    }
    assert_eq!(append(subject.log(), &at, sent(1, 0, 40, 1)).await, Ok((2, 3, false)), "it may begin anywhere");
}

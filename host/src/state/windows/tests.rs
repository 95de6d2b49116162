//! Open windows against a map, and their blocks against themselves.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::record::Batch;

type Model = BTreeMap<(i64, Option<Vec<u8>>), u64>;

fn tens() -> Windows {
    Windows::new(Tumbling::new(10, 0).expect("above zero"))
}

/// Folds rows as a counting guest does.
fn count(windows: &mut Windows, rows: &[(i64, Option<Vec<u8>>)]) {
    let mut batch = Batch::default();
    for (time, key) in rows {
        batch.push(*time, key.as_deref(), None);
    }
    let mut call = CallGroups::default();
    windows.group(batch.view(), &mut call);
    let mut counts: Vec<u64> = call.accumulators.iter().map(number).collect();
    for &group in &call.row_groups {
        counts[group as usize] += 1;
    }
    let accumulators = counts.iter().map(|count| Some(count.to_le_bytes())).collect();
    windows.store(&call, &accumulators, |_| false);
}

fn number(bytes: Option<&[u8]>) -> u64 {
    bytes.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("a count has 8 bytes")))
}

fn close(windows: &mut Windows, watermark: i64, most: usize) -> Vec<(i64, Option<Vec<u8>>, u64)> {
    let mut closed = Vec::new();
    while let Some(due) = windows.close(Watermark::At(watermark), most, usize::MAX) {
        let groups = due.keys.iter().zip(due.accumulators.iter());
        closed.extend(groups.map(|(key, count)| (due.window.start, key.map(<[u8]>::to_vec), number(count))));
    }
    closed
}

/// The whole state.
fn whole(windows: &mut Windows) -> Vec<u8> {
    let mut writer = Writer::whole();
    windows.write_whole(&mut writer);
    writer.finish()
}

/// A block, and whether a round of rewriting ends with it.
fn block(windows: &mut Windows, rewrite: usize) -> (Vec<u8>, bool) {
    let mut writer = Writer::default();
    let round = windows.write_block(&mut writer, rewrite);
    (writer.finish(), round)
}

fn apply(windows: &mut Windows, block: &[u8]) {
    let mut reader = Reader::new(block).expect("our version");
    windows.read_block(&mut reader).expect("our block");
    assert!(reader.is_at_end());
}

#[test]
fn a_row_is_late_when_the_watermark_covers_its_window() {
    let windows = tens();
    let window = Window { start: 0, end: 10 };
    assert_eq!(windows.assign(3, Watermark::At(8), None), WindowAssignment::Open(window));
    assert_eq!(windows.assign(3, Watermark::At(9), Some(window)), WindowAssignment::Late);
    assert_eq!(windows.assign(i64::MAX, Watermark::None, None), WindowAssignment::Unassignable);
    assert_eq!(
        windows.assign(-1, Watermark::None, Some(window)),
        WindowAssignment::Open(Window { start: -10, end: 0 })
    );
}

#[test]
fn windows_close_by_start_and_groups_by_key() {
    let mut windows = tens();
    let key = |key: &str| Some(key.as_bytes().to_vec());
    count(&mut windows, &[(15, key("b")), (5, key("z")), (5, None), (3, key("z")), (25, key("a")), (15, key("a"))]);
    let expected = vec![(0, None, 1), (0, key("z"), 2), (10, key("a"), 1), (10, key("b"), 1)];
    assert_eq!(close(&mut windows, 19, 100), expected);
    assert_eq!((windows.len(), windows.is_due(Now { watermark: Watermark::At(19), clock: 0 })), (1, false));
}

#[test]
fn complete_groups_hold_back_the_output_watermark() {
    let mut windows = tens();
    count(&mut windows, &[(5, Some(b"a".to_vec())), (5, Some(b"b".to_vec()))]);
    assert_eq!(windows.output_watermark(Watermark::At(4)), Watermark::At(4));
    let due = windows.close(Watermark::At(50), 1, usize::MAX).expect("the window is complete");
    assert_eq!((due.keys.len(), windows.len()), (1, 1));
    assert_eq!(windows.output_watermark(Watermark::At(50)), Watermark::At(8));
    windows.close(Watermark::At(50), 1, usize::MAX);
    assert_eq!(windows.output_watermark(Watermark::At(50)), Watermark::At(50));
}

#[test]
fn a_group_named_untouched_stays_as_it_was() {
    let mut windows = tens();
    let mut batch = Batch::default();
    batch.push(1, Some(b"a"), None);
    let mut call = CallGroups::default();
    windows.group(batch.view(), &mut call);
    windows.store(&call, &[Some([1; 8])].into_iter().collect(), |group| group == 0);
    assert!(windows.is_empty() && !windows.is_changed());
}

fn rows() -> impl Strategy<Value = Vec<(i64, Option<Vec<u8>>)>> {
    let key = proptest::option::of(proptest::collection::vec(0_u8..3, 0..30));
    proptest::collection::vec((-30_i64..60, key), 0..20)
}

fn rewrite() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 3 => 1_usize..100, 1 => Just(usize::MAX)]
}

proptest! {
    /// Rows, closings of part of a window and blocks in any order: the windows rebuilt from the blocks, from the
    /// beginning of any round of rewriting or any whole block on, wherever a round stands then, are the windows
    /// themselves, and what closed is what a map says.
    #[test]
    fn blocks_rebuild_what_a_map_says(steps in proptest::collection::vec((rows(), -40_i64..70, 1_usize..4, rewrite()), 1..30)) {
        let (mut windows, mut rebuilt, mut model) = (tens(), tens(), Model::new());
        let (mut blocks, mut needed, mut round_from) = (Vec::new(), 0, 0);
        let mut watermark = i64::MIN;
        for (rows, to, most, rewrite) in steps {
            let rows: Vec<_> = rows.into_iter()
                .filter(|(time, _)| matches!(windows.assign(*time, Watermark::At(watermark), None), WindowAssignment::Open(_)))
                .collect();
            count(&mut windows, &rows);
            for (time, key) in rows {
                *model.entry((time - time.rem_euclid(10), key)).or_default() += 1;
            }
            watermark = watermark.max(to);
            if let Some(due) = windows.close(Watermark::At(watermark), most, usize::MAX) {
                for (key, accumulator) in due.keys.iter().zip(due.accumulators.iter()) {
                    let first = model.pop_first();
                    prop_assert_eq!(first, Some(((due.window.start, key.map(<[u8]>::to_vec)), number(accumulator))));
                }
            }
            // A later step may not add to a window that began to close.
            if rewrite == usize::MAX {
                (needed, round_from) = (blocks.len(), blocks.len() + 1);
                blocks.push(whole(&mut windows));
                prop_assert!(!windows.is_changed());
            } else {
                let (block, round_ends) = block(&mut windows, rewrite);
                blocks.push(block);
                if round_ends {
                    (needed, round_from) = (round_from, blocks.len());
                }
            }
            rebuilt = tens();
            blocks[needed..].iter().for_each(|block| apply(&mut rebuilt, block));
            prop_assert_eq!(rebuilt.len(), model.len());
            prop_assert_eq!(windows.len(), model.len());
            prop_assert_eq!(windows.summary().entries, model.len() as u64);
            prop_assert_eq!(rebuilt.summary(), windows.summary());
        }
        let left: Vec<_> = model.into_iter().map(|((start, key), count)| (start, key, count)).collect();
        prop_assert_eq!(&close(&mut rebuilt, i64::MAX, 1000), &left);
        prop_assert_eq!(&close(&mut windows, i64::MAX, 2), &left);
    }
}

#[test]
fn marks_of_calls_do_not_outlive_their_numbers() {
    let (a, b) = (Some(b"a".to_vec()), Some(b"b".to_vec()));
    let mut windows = tens();
    count(&mut windows, &[(1, a.clone())]);
    windows.call = Ticks::before_end(0);
    // This call has the number that the first one had.
    count(&mut windows, &[(1, b.clone()), (1, a.clone())]);
    assert_eq!(close(&mut windows, 9, 10), [(0, a, 2), (0, b, 1)]);
}

#[test]
fn marks_of_commits_do_not_outlive_their_numbers() {
    let a = Some(b"a".to_vec());
    let mut windows = tens();
    count(&mut windows, &[(1, a.clone())]);
    let first = block(&mut windows, 0).0;
    windows.commit = Ticks::before_end(0);
    let empty = block(&mut windows, 0).0;
    // This commit has the number that the first one had.
    count(&mut windows, &[(1, a.clone())]);
    let last = block(&mut windows, 0).0;
    let mut rebuilt = tens();
    [first, empty, last].iter().for_each(|block| apply(&mut rebuilt, block));
    assert_eq!(close(&mut rebuilt, 9, 10), [(0, a, 2)]);
}

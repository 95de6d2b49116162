//! Keyed windows and their blocks: what is rebuilt from the blocks since the beginning of any round, or since a whole block
//! wherever a round stands, is what there is.

use proptest::prelude::*;

use super::*;
use crate::state::{Now, Reader, Store, Writer};
use crate::time::{Hopping, Session, Tumbling, Watermark};

/// Operations of one plan: few, because what may go wrong there goes wrong between two plans.
const OPERATIONS: usize = 64;

/// Computes a program the simple way: contents are the numbers of their rows.
fn compute(keyed_windows: &mut KeyedWindows, program: &Program) -> usize {
    let mut values = Values::new(keyed_windows, program);
    for level in 0..program.levels() {
        for &node in program.merges.get(level).map_or(&[][..], Vec::as_slice) {
            let Origin::Merge { left, right, .. } = program.nodes[node as usize].origin else { continue };
            let of = |node| values.get(keyed_windows, program, node).unwrap_or_default().to_vec();
            let both = [of(left), of(right)].concat();
            values.set(node, &both);
        }
        for &(row, node) in program.adds.get(level).map_or(&[][..], Vec::as_slice) {
            let Origin::Add { base } = program.nodes[node as usize].origin else { continue };
            let from = if values.is_open(node) { base } else { node };
            let mut bytes = values.get(keyed_windows, program, from).unwrap_or_default().to_vec();
            bytes.push(row as u8);
            values.set(node, &bytes);
        }
    }
    keyed_windows.settle(program, &mut values);
    program.fires.len()
}

fn arrive(keyed_windows: &mut KeyedWindows, rows: &[(i64, u8)], watermark: i64) {
    let times: Vec<i64> = rows.iter().map(|&(time, _)| time).collect();
    let bytes: Vec<[u8; 1]> = rows.iter().map(|&(_, key)| [key]).collect();
    let keys: Vec<Option<&[u8]>> = bytes.iter().map(|key| Some(&key[..])).collect();
    let hashes: Vec<u32> = keys.iter().map(|key| keyed_windows.hash(*key)).collect();
    let known = vec![watermark; rows.len()];
    let rows =
        Arrived { times: &times, keys: &keys, hashes: &hashes, known: &known, late: &known, gaps: &[], clock: 0 };
    let mut at = 0;
    while at < times.len() {
        let mut program = Program::with_limit(OPERATIONS);
        at = keyed_windows.plan(&rows, at, &mut program);
        compute(keyed_windows, &program);
    }
}

fn advance(keyed_windows: &mut KeyedWindows, watermark: i64, most: usize) {
    let mut program = Program::with_limit(most);
    keyed_windows.plan_due(Now { watermark: Watermark::At(watermark), clock: 0 }, &mut program);
    compute(keyed_windows, &program);
}

/// Everything that a block must bring back.
fn describe(keyed_windows: &KeyedWindows) -> Vec<String> {
    let live = (0..keyed_windows.slab.len()).filter(|&id| keyed_windows.slab[id].meta.is(LIVE));
    let keyed_window = |id: usize| {
        let KeyedWindow { key, meta, value, .. } = &keyed_windows.slab[id];
        let Meta { window, timer, clock, rows, since, .. } = meta;
        let flags = meta.flags & !SUMMED;
        format!("{id} {:?} {window:?} {timer} {clock} {rows} {since} {flags} {value:?}", keyed_windows.keys.key(*key))
    };
    live.map(keyed_window).collect()
}

fn windowing() -> impl Strategy<Value = Windowing> {
    let kinds = vec![
        Kind::Tumbling(Tumbling::new(10, 0).expect("sound")),
        Kind::Hopping(Hopping::new(30, 3, 1).expect("sound")),
        Kind::Session(Session { gap_ms: 7, gap_header: None }),
        Kind::Count { rows: 3 },
    ];
    (proptest::sample::select(kinds), 0_i64..20, any::<bool>()).prop_map(|(kind, lateness_ms, discards)| {
        let mode = if discards { Mode::Discarding } else { Mode::Accumulating };
        Windowing { kind, lateness_ms, early: None, mode }
    })
}

proptest! {
    #[test]
    fn blocks_since_the_beginning_of_a_round_rebuild_what_there_is(
        windowing in windowing(),
        steps in proptest::collection::vec(
            (proptest::collection::vec((0_i64..80, 0_u8..4), 0..8), 0_i64..90, 1_usize..5,
             prop_oneof![3 => Just(0), 3 => 1_usize..300, 1 => Just(usize::MAX)]),
            1..30,
        ),
    ) {
        let mut keyed_windows = KeyedWindows::new(windowing.clone());
        let (mut blocks, mut needed, mut round_from, mut watermark) = (Vec::new(), 0, 0, -1);
        for (rows, to, most, rewrite) in steps {
            arrive(&mut keyed_windows, &rows, watermark);
            watermark = watermark.max(to);
            advance(&mut keyed_windows, watermark, most);
            if rewrite == usize::MAX {
                let mut writer = Writer::whole();
                keyed_windows.write_whole(&mut writer);
                (needed, round_from) = (blocks.len(), blocks.len() + 1);
                blocks.push(writer.finish());
                prop_assert!(!keyed_windows.is_changed());
            } else {
                let mut writer = Writer::default();
                let round_ends = keyed_windows.write_block(&mut writer, rewrite);
                blocks.push(writer.finish());
                if round_ends {
                    (needed, round_from) = (round_from, blocks.len());
                }
            }
            let mut rebuilt = KeyedWindows::new(windowing.clone());
            for block in &blocks[needed..] {
                let mut reader = Reader::new(block).expect("our version");
                rebuilt.read_block(&mut reader).expect("our block");
                prop_assert!(reader.is_at_end());
            }
            prop_assert_eq!(describe(&rebuilt), describe(&keyed_windows));
            // Up to when windows are over whatever the lateness counts as one.
            prop_assert_eq!(keyed_windows.summary().entries, keyed_windows.len() as u64 + 1);
            prop_assert_eq!(rebuilt.summary(), keyed_windows.summary());
            prop_assert_eq!((rebuilt.len(), rebuilt.value_bytes), (keyed_windows.len(), values_of_keyed_windows(&keyed_windows)));
            // Timers that blocks brought and later blocks moved may still be there; they do nothing.
            let now = Now { watermark: Watermark::At(watermark), clock: 0 };
            prop_assert!(rebuilt.is_due(now) || !keyed_windows.is_due(now));
            advance(&mut rebuilt, watermark, usize::MAX);
            prop_assert!(!rebuilt.is_due(now));
        }
    }

    #[test]
    fn a_plan_that_is_undone_leaves_nothing(
        windowing in windowing(),
        before in proptest::collection::vec((0_i64..80, 0_u8..4), 0..20),
        rows in proptest::collection::vec((0_i64..80, 0_u8..4), 1..20),
        watermark in 0_i64..60,
    ) {
        let mut keyed_windows = KeyedWindows::new(windowing);
        arrive(&mut keyed_windows, &before, -1);
        advance(&mut keyed_windows, watermark / 2, 1000);
        let was = (describe(&keyed_windows), keyed_windows.index.clone(), keyed_windows.extras.clone(), keyed_windows.len());
        let bytes: Vec<[u8; 1]> = rows.iter().map(|&(_, key)| [key]).collect();
        let keys: Vec<Option<&[u8]>> = bytes.iter().map(|key| Some(&key[..])).collect();
        let hashes: Vec<u32> = keys.iter().map(|key| keyed_windows.hash(*key)).collect();
        let times: Vec<i64> = rows.iter().map(|&(time, _)| time).collect();
        let known = vec![watermark; rows.len()];
        let arrived =
            Arrived { times: &times, keys: &keys, hashes: &hashes, known: &known, late: &known, gaps: &[], clock: 0 };
        keyed_windows.plan(&arrived, 0, &mut Program::with_limit(OPERATIONS));
        keyed_windows.undo();
        prop_assert_eq!((describe(&keyed_windows), keyed_windows.index.clone(), keyed_windows.extras.clone(), keyed_windows.len()), was);
        // And it goes on as if there had been no plan: every keyed window gives its results and goes.
        advance(&mut keyed_windows, 1000, 10_000);
        advance(&mut keyed_windows, 1000, 10_000);
        prop_assert!(keyed_windows.is_empty() || keyed_windows.is_endless());
    }
}

fn values_of_keyed_windows(keyed_windows: &KeyedWindows) -> usize {
    keyed_windows.slab.iter().filter_map(|keyed_window| keyed_window.value.as_ref()).map(|value| value.len()).sum()
}

#[test]
fn rows_of_many_keys_that_give_results_one_by_one_are_computed_in_few_rounds() {
    let windowing =
        Windowing { kind: Kind::Global, lateness_ms: 0, early: Some(Early::Rows(1)), mode: Mode::Accumulating };
    let mut keyed_windows = KeyedWindows::new(windowing);
    let names: Vec<Vec<u8>> = (0..65_536_u32).map(|row| (row % 1000).to_le_bytes().to_vec()).collect();
    let keys: Vec<Option<&[u8]>> = names.iter().map(|key| Some(&key[..])).collect();
    let hashes: Vec<u32> = keys.iter().map(|key| keyed_windows.hash(*key)).collect();
    let times = vec![0; keys.len()];
    let rows =
        Arrived { times: &times, keys: &keys, hashes: &hashes, known: &times, late: &times, gaps: &[], clock: 0 };
    let mut program = Program::with_limit(usize::MAX);
    assert_eq!(keyed_windows.plan(&rows, 0, &mut program), keys.len());
    // The first level has nothing to compute.
    assert_eq!((program.levels(), program.fires.len()), (1 + 65_536_usize.div_ceil(1000), 65_536));
    assert_eq!(compute(&mut keyed_windows, &program), 65_536);
    assert_eq!(keyed_windows.len(), 1000);
}

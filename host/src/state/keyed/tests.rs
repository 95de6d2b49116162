//! Keyed state is a map wherever it is, and blocks rebuild it from any round on.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use proptest::prelude::*;

use super::*;
use crate::plugin::{TableRange, Tables as _};
use crate::state::{MemoryDisk, Now, Reader, Spill as _, Store, Stretch, Writer};

type Key = Option<Vec<u8>>;

/// What there is of each key, written for clarity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    values: BTreeMap<Key, Vec<u8>>,
    timers: BTreeMap<(Key, Domain, u64), i64>,
    entries: BTreeMap<(Key, u32, Vec<u8>), Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Op {
    Value(Key, Option<Vec<u8>>),
    Timer(Key, Domain, u64, Option<i64>),
    Entry(Key, u32, Vec<u8>, Option<Vec<u8>>),
    /// A look at a value and an entry.
    Look(Key, u32, Vec<u8>),
    /// A look at entries between two, at most this many.
    Range(Key, u32, Vec<u8>, Vec<u8>, u32, bool),
    /// A commit that rewrites so many bytes on top, after which so many go to disk.
    Block(usize, usize),
}

fn key() -> impl Strategy<Value = Key> {
    // Few of them, so that they meet again; some do not fit into a slot.
    let few = proptest::collection::vec(0_u8..2, 0..3);
    let long = (0_u8..3).prop_map(|byte| vec![byte; 30]);
    proptest::option::of(prop_oneof![few, long])
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..30)
}

fn entry() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => proptest::collection::vec(0_u8..3, 0..2), 1 => bytes()]
}

fn op() -> impl Strategy<Value = Op> {
    let domain = || prop_oneof![Just(Domain::Event), Just(Domain::Processing)];
    let time = || prop_oneof![4 => -10_i64..10, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    prop_oneof![
        4 => (key(), proptest::option::of(bytes())).prop_map(|(key, value)| Op::Value(key, value)),
        4 => (key(), domain(), 0_u64..4, proptest::option::weighted(0.7, time()))
            .prop_map(|(key, domain, id, time)| Op::Timer(key, domain, id, time)),
        3 => (key(), 0_u32..2, entry(), proptest::option::weighted(0.7, bytes()))
            .prop_map(|(key, table, entry, value)| Op::Entry(key, table, entry, value)),
        3 => (key(), 0_u32..2, entry()).prop_map(|(key, table, entry)| Op::Look(key, table, entry)),
        2 => (key(), 0_u32..2, entry(), entry(), 0_u32..4, any::<bool>())
            .prop_map(|(key, table, from, to, limit, backwards)| Op::Range(key, table, from, to, limit, backwards)),
        4 => (prop_oneof![Just(0), 1_usize..200, Just(usize::MAX)], prop_oneof![Just(0), 1_usize..500, Just(usize::MAX)])
            .prop_map(|(rewrite, spill)| Op::Block(rewrite, spill)),
    ]
}

fn slot_of(state: &mut Keyed, key: &Key) -> SlotId {
    let mut groups = KeyGroups::default();
    state.group([key.as_ref()].into_iter().collect::<Column>().view(), &mut groups);
    groups.slots[0]
}

fn apply(state: &mut Keyed, model: &mut Model, op: Op) {
    match op {
        Op::Value(key, value) => {
            let slot = slot_of(state, &key);
            state.store(&[slot], &[value.as_ref()].into_iter().collect());
            match value {
                Some(value) => model.values.insert(key, value),
                None => model.values.remove(&key),
            };
        }
        Op::Timer(key, domain, id, time) => {
            let slot = slot_of(state, &key);
            match time {
                Some(time) => {
                    state.set_timer(slot, Timer { domain, time, id });
                    model.timers.insert((key, domain, id), time);
                }
                None => {
                    state.remove_timer(slot, domain, id);
                    model.timers.remove(&(key, domain, id));
                }
            }
            state.update(slot);
        }
        Op::Entry(key, table, entry, value) => {
            let slot = slot_of(state, &key);
            let tables = state.lend_tables(&[slot]);
            let keys: Column = [Some(&entry)].into_iter().collect();
            let values: Column = [value.as_ref()].into_iter().collect();
            tables
                .lock()
                .expect("nobody panicked")
                .put(table, &[0], keys.view(), values.view())
                .expect("within limits");
            state.take_tables(&tables, true);
            match value {
                Some(value) => model.entries.insert((key, table, entry), value),
                None => model.entries.remove(&(key, table, entry)),
            };
        }
        Op::Look(key, table, entry) => {
            let slot = slot_of(state, &key);
            let mut value = Column::default();
            state.load(&[slot], &mut value);
            assert_eq!(value.view().iter().next().flatten(), model.values.get(&key).map(Vec::as_slice));
            let tables = state.lend_tables(&[slot]);
            let asked: Column = [Some(&entry)].into_iter().collect();
            let found = tables.lock().expect("nobody panicked").get(table, &[0], asked.view()).expect("a group");
            state.take_tables(&tables, true);
            let expected = model.entries.get(&(key, table, entry));
            assert_eq!(found.view().iter().next().flatten(), expected.map(Vec::as_slice));
        }
        Op::Range(key, table, start, end, limit, backwards) => {
            let slot = slot_of(state, &key);
            let tables = state.lend_tables(&[slot]);
            let range = TableRange { start: &start, end: &end, backwards };
            let found = tables.lock().expect("nobody panicked").range(table, 0, range, limit).expect("a group");
            state.take_tables(&tables, true);
            let is_within = |entry: &Vec<u8>| *entry >= start && (end.is_empty() || *entry < end);
            let of_table = model
                .entries
                .iter()
                .filter(|((of, number, entry), _)| (of, *number) == (&key, table) && is_within(entry));
            let mut expected: Vec<_> =
                of_table.map(|((_, _, entry), value)| (entry.as_slice(), value.as_slice())).collect();
            if backwards {
                expected.reverse();
            }
            expected.truncate(limit as usize);
            let found: Vec<_> = found.0.iter().flatten().zip(found.1.iter().flatten()).collect();
            assert_eq!(found, expected);
        }
        Op::Block(..) => unreachable!("blocks are made by the test"),
    }
}

/// All that the state has, found without its tables of contents.
fn contents(state: &mut Keyed) -> Model {
    let mut model = Model::default();
    let mut keys = BTreeMap::new();
    for slot in 0..state.slots.end() {
        if !state.slots.is_taken(slot) {
            continue;
        }
        let key: Key = state.key(slot).map(<[u8]>::to_vec);
        keys.insert(slot, key.clone());
        if let Some(value) = state.slots.value(slot) {
            model.values.insert(key.clone(), value.to_vec());
        }
        for timer in state.timers.of(&state.slots, slot).into_iter().flat_map(key_timers::KeyTimers::iter) {
            model.timers.insert((key.clone(), timer.domain, timer.id), timer.time);
        }
    }
    for (at, value) in state.tables.range((Bound::Unbounded, Bound::Unbounded)) {
        let (slot, table, entry) = tables::parts(at);
        if let Some(value) = value {
            model.entries.insert((keys[&slot].clone(), table, entry.to_vec()), value.to_vec());
        }
    }
    state.disk.scan(Stretch { from: &[], to: &[u8::MAX], backwards: false }, &mut |name, value| {
        if name[0] == disk::VALUES {
            let key: Key = disk::key_of(name).map(<[u8]>::to_vec);
            if !keys.values().any(|known| *known == key) {
                model.values.insert(key, value.to_vec());
            }
        } else {
            let (key, table, entry) = disk::entry_of(name).expect("one of our names");
            let slot = state.slots.find(state.slots.hash(key), key).expect("a key with entries has a slot");
            if !state.tables.has(&tables::place(slot, table, entry)) {
                model.entries.insert((key.map(<[u8]>::to_vec), table, entry.to_vec()), value.to_vec());
            }
        }
        ControlFlow::Continue(())
    });
    model
}

fn due_by(state: &mut Keyed, domain: Domain, until: i64) -> Vec<(i64, Key)> {
    let popped = state.pop_due(domain, until, usize::MAX);
    popped.iter().for_each(|&(_, slot)| state.update(slot));
    popped.into_iter().map(|(time, slot)| (time, state.key(slot).map(<[u8]>::to_vec))).collect()
}

fn expected_due(model: &Model, domain: Domain, until: i64) -> Vec<(i64, Key)> {
    let mut first: BTreeMap<&Key, i64> = BTreeMap::new();
    for ((key, of, _), &time) in &model.timers {
        if *of == domain {
            let first = first.entry(key).or_insert(time);
            *first = time.min(*first);
        }
    }
    let mut due: Vec<_> =
        first.into_iter().filter(|(_, time)| *time <= until).map(|(key, time)| (time, key.clone())).collect();
    due.sort();
    due
}

/// Reads blocks back, and brings so many bytes to disk after each.
fn read(blocks: &[Vec<u8>], spill: usize) -> Keyed {
    let mut state = on_disk();
    for block in blocks {
        let mut reader = Reader::new(block).expect("our version");
        state.read_block(&mut reader).expect("our own block");
        assert!(reader.is_at_end());
        state.spill(spill);
    }
    state
}

fn on_disk() -> Keyed {
    Keyed::new(Some(Arc::new(MemoryDisk::default())))
}

proptest! {
    #[test]
    fn blocks_of_one_round_rebuild_the_state(ops in proptest::collection::vec(op(), 0..120), until in -12_i64..12) {
        let (mut state, mut model) = (on_disk(), Model::default());
        // Blocks since the round before the last began: those of the last whole round are enough.
        let (mut before, mut blocks): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        for op in ops.into_iter().chain([Op::Block(0, 0)]) {
            let Op::Block(rewrite, spill) = op else {
                apply(&mut state, &mut model, op);
                prop_assert_eq!(&contents(&mut state), &model);
                continue;
            };
            let whole = rewrite == usize::MAX;
            let mut writer = if whole { Writer::whole() } else { Writer::default() };
            let round = if whole {
                // Wherever a round stands: nothing before it is needed.
                state.write_whole(&mut writer);
                (before, blocks) = (Vec::new(), Vec::new());
                true
            } else {
                state.write_block(&mut writer, rewrite)
            };
            blocks.push(writer.finish());
            prop_assert!(!state.is_changed());
            state.spill(spill);
            let mut rebuilt = read(&[before.clone(), blocks.clone()].concat(), spill);
            prop_assert_eq!(&contents(&mut state), &model);
            prop_assert_eq!(&contents(&mut rebuilt), &model);
            prop_assert_eq!(rebuilt.len(), state.len());
            let entries = model.values.len() + model.timers.len() + model.entries.len();
            prop_assert_eq!(state.summary().entries, entries as u64);
            prop_assert_eq!(rebuilt.summary(), state.summary());
            rebuilt.read_block(&mut Reader::new(&blocks[blocks.len() - 1]).expect("our version")).expect("again");
            prop_assert_eq!(&contents(&mut rebuilt), &model, "a block applied twice changes nothing");
            for state in [&mut state, &mut rebuilt] {
                for domain in [Domain::Event, Domain::Processing] {
                    let expected = expected_due(&model, domain, i64::MAX);
                    prop_assert_eq!(state.timers.first(domain), expected.first().map(|(time, _)| *time));
                    prop_assert_eq!(due_by(state, domain, until), expected_due(&model, domain, until));
                    prop_assert_eq!(due_by(state, domain, i64::MAX), expected);
                }
            }
            if round {
                before = std::mem::take(&mut blocks);
            }
        }
    }

    #[test]
    fn migrated_values_replace_the_old_ones_or_nothing_does(
        ops in proptest::collection::vec(op(), 0..60), fail in any::<bool>(),
    ) {
        let (mut state, mut model) = (Keyed::new(None), Model::default());
        for op in ops {
            if !matches!(op, Op::Block(..)) {
                apply(&mut state, &mut model, op);
            }
        }
        let result = state.migrate(|values| {
            if fail { Err("no") } else { Ok(values.iter().map(|v| v.filter(|v| v.len() > 3).map(|v| [v, b"!"].concat())).collect()) }
        });
        if fail && !model.values.is_empty() {
            prop_assert_eq!(result, Err("no"));
        } else {
            prop_assert_eq!(result, Ok(()));
            model.values.retain(|_, value| value.len() > 3);
            model.values.values_mut().for_each(|value| value.push(b'!'));
        }
        prop_assert_eq!(contents(&mut state), model);
    }
}

#[test]
fn keys_that_have_nothing_take_no_room() {
    let mut state = Keyed::new(None);
    for round in 0..100_u32 {
        for number in 0..1000_u32 {
            let key: Key = Some((round * 1000 + number).to_le_bytes().repeat(10));
            let slot = slot_of(&mut state, &key);
            if number % 2 == 0 {
                state.store(&[slot], &[Some([7; 100])].into_iter().collect());
                state.set_timer(slot, Timer { domain: Domain::Event, time: i64::from(round), id: 1 });
                state.update(slot);
                state.store(&[slot], &[None::<&[u8]>].into_iter().collect());
                state.remove_timer(slot, Domain::Event, 1);
                state.update(slot);
            }
        }
        state.write_block(&mut Writer::default(), 0);
        assert_eq!(state.len(), 0);
    }
    assert!(state.bytes() < 4 << 20, "{} bytes for nothing", state.bytes());
}

#[test]
fn the_watermark_is_held_below_what_is_due() {
    let mut state = Keyed::new(None);
    let slot = slot_of(&mut state, &None);
    state.set_timer(slot, Timer { domain: Domain::Event, time: 10, id: 0 });
    state.update(slot);
    assert_eq!(state.output_watermark(Watermark::At(5)), Watermark::At(5));
    assert_eq!(state.output_watermark(Watermark::At(50)), Watermark::At(9));
    assert!(state.is_due(Now { watermark: Watermark::At(10), clock: 0 }));
    assert!(!state.is_due(Now { watermark: Watermark::At(9), clock: i64::MAX }));
    state.set_timer(slot, Timer { domain: Domain::Event, time: i64::MIN, id: 0 });
    state.update(slot);
    assert_eq!(state.output_watermark(Watermark::At(50)), Watermark::None);
}

#[test]
fn a_block_that_makes_no_sense_is_an_error() {
    let mut writer = Writer::default();
    writer.column(Column::default().view());
    writer.column(Column::default().view());
    writer.u32(1);
    writer.u32(0);
    let block = writer.finish();
    let error = Keyed::new(None).read_block(&mut Reader::new(&block).expect("our version"));
    assert!(error.expect_err("there is no key").to_string().contains("key 0 of 0"));
}

/// A state of so many keys, each with a value and an entry of a table, of which nothing changed since the last block.
fn of_many(keys: u32, disk: &MemoryDisk) -> (Keyed, Model) {
    let (mut state, mut model) = (Keyed::new(Some(Arc::new(disk.clone()))), Model::default());
    for number in 0..keys {
        let key: Key = Some(number.to_le_bytes().to_vec());
        apply(&mut state, &mut model, Op::Value(key.clone(), Some(vec![1; 100])));
        if number % 4 == 0 {
            apply(&mut state, &mut model, Op::Entry(key, 0, vec![2; 10], Some(vec![3; 100])));
        }
    }
    state.write_block(&mut Writer::default(), 0);
    (state, model)
}

#[test]
fn what_is_not_used_goes_to_disk_first() {
    let (mut state, model) = of_many(1000, &MemoryDisk::default());
    // From now on it is known what is used.
    state.spill(1);
    for number in (0..1000_u32).filter(|number| number % 4 == 1) {
        slot_of(&mut state, &Some(number.to_le_bytes().to_vec()));
    }
    let all = state.bytes();
    let freed = state.spill(all / 4);
    assert!(freed >= all / 4 && state.bytes() == all - freed, "{freed} of {all}");
    for number in (0..1000_u32).filter(|number| number % 4 == 1) {
        assert!(state.value(Some(&number.to_le_bytes())).is_some(), "{number} was used last");
    }
    assert_eq!((contents(&mut state), state.len()), (model, 1000));
}

#[test]
fn what_comes_back_unchanged_is_not_written_again() {
    let disk = MemoryDisk::default();
    let (mut state, model) = of_many(100, &disk);
    state.spill(usize::MAX);
    let written = disk.bytes();
    for number in 0..100_u32 {
        slot_of(&mut state, &Some(number.to_le_bytes().to_vec()));
    }
    assert_eq!(state.on_disk_only, 0);
    // Neither providing nor writing would work any more.
    disk.fail_after(0);
    state.spill(usize::MAX);
    assert_eq!(state.failure(), None);
    disk.fail_after(usize::MAX);
    assert_eq!((contents(&mut state), disk.bytes()), (model, written));
}

#[test]
fn a_disk_that_fails_is_told_of_and_not_used_again() {
    let disk = MemoryDisk::default();
    let (mut state, _) = of_many(100, &disk);
    disk.fail_after(1);
    state.spill(usize::MAX);
    let failure = state.failure().cloned().expect("it failed");
    assert_eq!(failure.to_string(), "state on disk: a test failed: it is over");
    disk.fail_after(usize::MAX);
    assert_eq!((state.spill(usize::MAX), disk.bytes()), (0, 0));
}

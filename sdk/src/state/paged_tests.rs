//! Tests of parts in pages: they are what they are in one piece, whatever the bounds.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::tests::{change, now, parts, whole};
use super::*;
use crate::testing::{MemoryTables, with_tables};

/// Everything of more than a few bytes is in pages of a few bytes.
const TINY: StateBounds = StateBounds { inline_bytes: 6, page_bytes: 12, resident_bytes: usize::MAX };
/// The same, and pages leave memory between any two callbacks.
const TINIEST: StateBounds = StateBounds { resident_bytes: 0, ..TINY };

/// Calls in which each has some callbacks, of which each does some things and is kept or taken back.
type Calls = Vec<Vec<(Vec<(u8, u8, u8)>, bool)>>;

fn calls() -> impl Strategy<Value = Calls> {
    let callback = (prop::collection::vec((0_u8..34, 0_u8..12, any::<u8>()), 0..8), prop::bool::weighted(0.7));
    prop::collection::vec(prop::collection::vec(callback, 0..4), 1..12)
}

/// What was seen and kept after each callback: the state in one piece, and the ends that the clean-up goes by.
fn run(
    calls: &Calls,
    ttl: Option<Ttl>,
    bounds: StateBounds,
    tables: &Rc<RefCell<MemoryTables>>,
) -> Vec<(Vec<u8>, Times)> {
    let mut seen = Vec::new();
    let mut kept: Option<Vec<u8>> = None;
    let mut time = 0;
    with_state_bounds(bounds, || {
        with_tables(tables.clone(), || {
            for callbacks in calls {
                let mut state = match &kept {
                    None => Kept { state: parts(ttl), clean_up: [None; 2], paged: false },
                    Some(bytes) => decode_kept(parts(ttl), 0, bytes).expect("it was written just now"),
                };
                for (acts, keep) in callbacks {
                    time += 3;
                    state.state.begin(&now(time));
                    acts.iter().for_each(|&act| change(&mut state.state, act));
                    if !keep {
                        state.state.undo();
                    }
                    let times = [state.state.written(Domain::EventTime), state.state.earliest(Domain::EventTime)];
                    seen.push((whole(&mut state.state), times));
                }
                let mut bytes = Vec::new();
                kept = encode_kept(&mut state, 0, &mut bytes).then_some(bytes);
            }
        });
    });
    seen
}

type Times = [Option<i64>; 2];

fn tables() -> Rc<RefCell<MemoryTables>> {
    let tables = Rc::new(RefCell::new(MemoryTables::default()));
    tables.borrow_mut().groups = vec![None];
    tables
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_part_in_pages_is_what_it_is_in_one_piece(calls in calls(), ttl in 0_u64..40, on_read in any::<bool>()) {
        let ttl = (ttl > 0).then(|| Ttl::event_time(ttl)).map(|ttl| if on_read { ttl.refreshed_on_read() } else { ttl });
        let (none, some, more) = (tables(), tables(), tables());
        let expected = run(&calls, ttl, StateBounds { inline_bytes: usize::MAX, ..TINY }, &none);
        prop_assert_eq!(none.borrow().pages(), 0);
        prop_assert_eq!(&run(&calls, ttl, TINY, &some), &expected);
        prop_assert_eq!(&run(&calls, ttl, TINIEST, &more), &expected);
    }

    #[test]
    fn nothing_is_left_of_a_state_that_is_empty(calls in calls(), ttl in 0_u64..40) {
        let ttl = (ttl > 0).then(|| Ttl::event_time(ttl));
        let clear = [3, 13, 30, 32].map(|act| (act, 0, 0)).to_vec();
        let calls: Calls = calls.into_iter().chain([vec![(clear, true)]]).collect();
        let tables = tables();
        let seen = run(&calls, ttl, TINIEST, &tables);
        prop_assert_eq!(&seen.last().expect("there is a last callback").0, &whole(&mut parts(ttl)));
        prop_assert_eq!(tables.borrow().pages(), 0, "pages that nobody will read");
    }
}

/// A state of which the list has been filled and written, and its bytes.
fn written(count: u32, tables: &Rc<RefCell<MemoryTables>>) -> Vec<u8> {
    with_tables(tables.clone(), || {
        let mut state = Kept { state: Ordered::<u32, u32>::new(), clean_up: [None; 2], paged: false };
        state.state.begin(&now(0));
        (0..count).for_each(|number| state.state.insert(number, number));
        let mut bytes = Vec::new();
        assert!(encode_kept(&mut state, 0, &mut bytes));
        bytes
    })
}

fn again<R>(
    bytes: &mut Vec<u8>,
    tables: &Rc<RefCell<MemoryTables>>,
    act: impl FnOnce(&mut Ordered<u32, u32>) -> R,
) -> R {
    with_tables(tables.clone(), || {
        let mut state = decode_kept(Ordered::<u32, u32>::new(), 0, bytes).expect("it was written just now");
        state.state.begin(&now(0));
        let result = act(&mut state.state);
        bytes.clear();
        encode_kept(&mut state, 0, bytes);
        result
    })
}

#[test]
fn only_pages_that_are_touched_are_read_and_written() {
    let tables = tables();
    let mut bytes = written(100_000, &tables);
    assert!(bytes.len() < 8 << 10, "{} bytes ride in the column", bytes.len());
    let pages = tables.borrow().pages();
    assert!((150..400).contains(&pages), "{pages} pages");
    tables.borrow_mut().count = (0, 0);
    again(&mut bytes, &tables, |ordered| {
        ordered.insert(100_000, 1);
        assert_eq!(ordered.range(50_000..50_010).count(), 10);
        assert_eq!(ordered.first(), Some((&0, &0)));
    });
    let (read, put) = tables.borrow().count;
    assert!(read <= 4 && put <= 2, "{read} pages read, {put} written");
    tables.borrow_mut().count = (0, 0);
    again(&mut bytes, &tables, |ordered| ordered.remove(1_000..90_000));
    let (read, _) = tables.borrow().count;
    assert!(read <= 4, "{read} pages read to remove whole ones");
    assert!(tables.borrow().pages() < pages / 5, "what is gone is gone");
}

#[test]
fn a_part_comes_back_when_it_is_small_again() {
    let tables = tables();
    let mut bytes = written(3_000, &tables);
    assert!(tables.borrow().pages() > 0);
    // Between the bounds it stays where it is, so a key that goes to and fro does not move each time.
    again(&mut bytes, &tables, |ordered| ordered.keep_last(1_000));
    assert!(tables.borrow().pages() > 0);
    again(&mut bytes, &tables, |ordered| ordered.keep_last(100));
    assert_eq!(tables.borrow().pages(), 0);
    let kept = again(&mut bytes, &tables, |ordered| ordered.iter().map(|(&key, _)| key).collect::<Vec<_>>());
    assert_eq!(kept, (2_900..3_000).collect::<Vec<_>>());
}

#[test]
fn an_entry_and_a_value_may_be_larger_than_what_the_host_takes_at_once() {
    let tables = tables();
    let large = "x".repeat(3 << 20);
    with_tables(tables.clone(), || {
        type Large = (Value<String>, Map<u8, String>);
        let read = |bytes: &[u8]| decode_kept(Large::default(), 0, bytes).expect("it was written just now");
        let mut state = Kept { state: Large::default(), clean_up: [None; 2], paged: false };
        state.state.0.set(large.clone());
        state.state.1.insert(1, large.clone());
        let mut bytes = Vec::new();
        encode_kept(&mut state, 0, &mut bytes);
        assert!(bytes.len() < 64);
        let mut back = read(&bytes);
        assert_eq!((back.state.0.get(), back.state.1.get(&1)), (Some(&large), Some(&large)));
        back.state.0.set("small".to_owned());
        back.state.1.clear();
        bytes.clear();
        encode_kept(&mut back, 0, &mut bytes);
        assert_eq!(tables.borrow().pages(), 0);
        assert_eq!(read(&bytes).state.0.get().map(String::as_str), Some("small"));
    });
    assert!(tables.borrow().largest <= 1 << 20, "a chunk of {} bytes", tables.borrow().largest);
}

#[test]
#[should_panic(expected = "page 0 of part 1 of the key's state has 0 bytes")]
fn a_page_that_the_host_does_not_have_fails_the_call() {
    let mut bytes = written(10_000, &tables());
    again(&mut bytes, &tables(), |ordered| ordered.first().is_none());
    again(&mut bytes, &tables(), |ordered| ordered.get(&0).count());
}

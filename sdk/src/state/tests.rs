//! Tests of the parts by themselves: as bytes, and when changes are taken back.

use proptest::prelude::*;

use super::*;

pub(super) type Parts = (Value<u8>, List<u8>, Map<u8, u8>, Ordered<u8, u8>);

pub(super) fn parts(ttl: Option<Ttl>) -> Parts {
    let parts = Parts::default();
    match ttl {
        Some(ttl) => (parts.0.ttl(ttl), parts.1.ttl(ttl), parts.2.ttl(ttl), parts.3.ttl(ttl)),
        None => parts,
    }
}

pub(super) fn now(time: i64) -> Now {
    Now { event_time: Some(time), watermark: Some(time), processing_time: time }
}

/// A state in one piece.
pub(super) fn whole(parts: &mut Parts) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_whole(&mut Kept { state: std::mem::take(parts), clean_up: [None; 2], paged: false }, &mut bytes);
    bytes
}

fn bytes(parts: &Parts) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_whole(&mut Kept { state: parts.clone(), clean_up: [Some(-5), None], paged: false }, &mut bytes);
    bytes
}

/// Does one of the things that can be done to a part.
pub(super) fn change((value, list, map, ordered): &mut Parts, (act, key, new): (u8, u8, u8)) {
    let place = usize::from(key);
    match act {
        0 => value.set(new),
        1 => *value.or_default() = new,
        2 => drop(value.take()),
        3 => value.clear(),
        4 => drop(value.get_mut().map(|value| *value = new)),
        5 => drop(value.get()),
        6 | 7 => list.push(new),
        8 => drop(list.pop_first()),
        9 => drop(list.pop_last()),
        10 => drop(list.get_mut(place).map(|value| *value = new)),
        11 => list.retain(|&value| value >= new),
        12 => list.keep_last(place),
        13 => list.clear(),
        14 | 15 => map.insert(key, new),
        16 => *map.or_default(key) = new,
        17 => drop(map.remove(&key)),
        18 => drop(map.take(&key)),
        19 => drop(map.get_mut(&key).map(|value| *value = new)),
        20 => drop(map.range(..=key).count()),
        21 => map.retain(|_, &value| value >= new),
        22 | 23 => ordered.insert(key, new),
        24 => ordered.remove(key..),
        25 => ordered.remove(key..key + 1),
        26 => drop(ordered.pop_first()),
        27 => drop(ordered.pop_last()),
        28 => drop(ordered.get_mut(&key).map(|value| *value = new)),
        29 => drop(ordered.get(&key).count()),
        30 => map.clear(),
        31 => map.remove_range(..key),
        32 => ordered.remove(..),
        _ => ordered.keep_last(place),
    }
}

fn changes() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec((0_u8..32, 0_u8..6, any::<u8>()), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_024) })]

    #[test]
    fn what_is_taken_back_has_not_been(first in changes(), later in changes(), ttl in 0_u64..20) {
        let ttl = (ttl > 0).then(|| Ttl::event_time(ttl).refreshed_on_read());
        let mut state = parts(ttl);
        state.begin(&now(0));
        first.into_iter().for_each(|act| change(&mut state, act));
        state.begin(&now(7));
        let before = bytes(&state);
        later.into_iter().for_each(|act| change(&mut state, act));
        state.undo();
        prop_assert_eq!(bytes(&state), before);
        prop_assert_eq!(state.written(Domain::EventTime), None);
        // The ends are known again, too: nothing stays that should go.
        state.begin(&now(1_000));
        prop_assert!(ttl.is_none() || state.is_empty());
    }

    #[test]
    fn state_comes_back_and_cut_off_state_does_not(acts in changes(), ttl in 0_u64..20, cut in any::<prop::sample::Index>()) {
        let ttl = (ttl > 0).then(|| Ttl::event_time(ttl));
        let mut state = parts(ttl);
        state.begin(&now(0));
        acts.into_iter().for_each(|act| change(&mut state, act));
        let all = bytes(&state);
        let back = decode_kept(parts(ttl), 0, &all).expect("it was written just now");
        prop_assert_eq!((bytes(&back.state), back.clean_up), (all.clone(), [Some(-5), None]));
        prop_assert!(decode_kept(parts(ttl), 0, &all[..cut.index(all.len())]).is_err());
        // Whether there are times to live can change: what was kept stays readable.
        let without = decode_kept(parts(None), 0, &all).expect("ends are passed over");
        prop_assert_eq!(without.state.1.iter().collect::<Vec<_>>(), state.1.iter().collect::<Vec<_>>());
        decode_kept(parts(Some(Ttl::processing_time(1))), 0, &bytes(&without.state)).expect("ends come later");
    }

    #[test]
    fn bytes_of_others_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..40), format in any::<bool>()) {
        if let Some(first) = bytes.first_mut() && format {
            *first = 0x10 | *first & 3;
        }
        let _ = decode_kept(parts(None), 0, &bytes);
    }
}

#[test]
fn state_is_a_few_bytes() {
    let mut state = parts(None);
    state.begin(&now(0));
    state.0.set(7);
    state.2.insert(1, 2);
    let mut bytes = Vec::new();
    encode_whole(&mut Kept { state, clean_up: [None; 2], paged: false }, &mut bytes);
    assert_eq!(bytes, [0x10, 1, 7, 0, 1, 1, 1, 2, 0]);
}

#[test]
fn values_of_one_key_stay_in_the_order_in_which_they_came() {
    let mut ordered = Ordered::new();
    for (key, value) in [(2, 'a'), (1, 'b'), (2, 'c'), (3, 'd'), (1, 'e')] {
        ordered.insert(key, value);
    }
    assert_eq!(ordered.iter().map(|(_, value)| value).collect::<String>(), "beacd");
    assert_eq!(ordered.get(&2).collect::<String>(), "ac");
    assert_eq!(ordered.range(2..).map(|(_, value)| value).collect::<String>(), "acd");
    assert_eq!((ordered.first(), ordered.last()), (Some((&1, &'b')), Some((&3, &'d'))));
    assert_eq!(ordered.range((std::ops::Bound::Excluded(2), std::ops::Bound::Included(2))).count(), 0);
}

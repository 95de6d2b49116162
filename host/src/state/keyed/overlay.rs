//! The tables of the groups of a call: what the call writes lies over what is kept, and is merged or forgotten with it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::disk::entries_of;
use super::slots::SlotId;
use super::tables::{EntryKey, Tables, bounds, parts, place};
use crate::plugin::{self, TableRange};
use crate::record::{Column, ColumnRef};

/// Entries that are looked for on disk at once: reads of a range want few or many, and an entry that was deleted in
/// memory since is looked for in vain.
const DISK_ENTRIES: std::ops::RangeInclusive<usize> = 16..=4096;

/// Tables lent to one call.
#[derive(Debug, Default)]
pub struct CallTables {
    kept: Tables,
    slots: Vec<SlotId>,
    /// The keys of slots that have entries on disk.
    keys: HashMap<SlotId, Option<Box<[u8]>>>,
    /// What the call wrote; none for what it deleted.
    written: BTreeMap<EntryKey, Option<Box<[u8]>>>,
}

impl CallTables {
    /// `key` says the key of a slot.
    pub(super) fn new<'k>(kept: Tables, slots: Vec<SlotId>, key: impl Fn(SlotId) -> Option<&'k [u8]>) -> Self {
        let on_disk = slots.iter().filter(|slot| kept.is_on_disk(**slot));
        let keys = on_disk.map(|&slot| (slot, key(slot).map(Box::from))).collect();
        Self { kept, slots, keys, ..Self::default() }
    }

    /// Gives the tables back, with what the call wrote if it is to be kept.
    pub(super) fn end(&mut self, keep: bool) -> Tables {
        let mut kept = std::mem::take(&mut self.kept);
        for (place, value) in std::mem::take(&mut self.written) {
            if keep {
                kept.note(place.clone());
                kept.set(place, value);
            }
        }
        kept
    }

    fn slot(&self, group: u32) -> Result<SlotId, String> {
        let slot = self.slots.get(group as usize).copied();
        slot.ok_or_else(|| format!("group {group}: the call has {} groups, numbered from 0", self.slots.len()))
    }

    /// The key of a slot that has entries on disk.
    fn key(keys: &HashMap<SlotId, Option<Box<[u8]>>>, slot: SlotId) -> Option<&[u8]> {
        keys.get(&slot).and_then(Option::as_deref)
    }

    /// Brings what is kept at places, but on disk, into memory.
    fn fetch(&mut self, places: &[EntryKey]) {
        let Self { kept, keys, .. } = self;
        if !keys.is_empty() {
            let keys = &*keys;
            kept.fetch(places.iter(), |slot| Self::key(keys, slot));
        }
    }

    /// The places of keys.
    fn places(&self, table: u32, groups: &[u32], keys: ColumnRef<'_>) -> Result<Vec<EntryKey>, String> {
        let rows = groups.iter().zip(keys.iter());
        rows.map(|(&group, key)| Ok(place(self.slot(group)?, table, key.unwrap_or_default()))).collect()
    }

    fn read(&self, place: &[u8]) -> Option<&[u8]> {
        match self.written.get(place) {
            Some(written) => written.as_deref(),
            None => self.kept.get(place),
        }
    }

    /// Calls `each` with the entries of a range, in order, but with no more than `limit`.
    fn walk(
        &self,
        (slot, table): (SlotId, u32),
        range: TableRange<'_>,
        limit: usize,
        mut each: impl FnMut(&[u8], &[u8]),
    ) {
        let Some((mut start, mut end)) = bounds(slot, table, range) else { return };
        let names = self.kept.is_on_disk(slot).then(|| entries_of(Self::key(&self.keys, slot)));
        let mut left = limit;
        while left > 0 {
            let most = left.clamp(*DISK_ENTRIES.start(), *DISK_ENTRIES.end());
            let disk = names.as_ref().map_or_else(Vec::new, |names| {
                self.kept.first_on_disk(names, (&start, end.as_deref()), range.backwards, most)
            });
            // Beyond the last of them the disk has not been looked at.
            let last = disk.last().filter(|_| disk.len() == most).map(|(place, _)| place.clone());
            let seen = match &last {
                Some(last) if range.backwards => (&**last, end.as_deref()),
                Some(last) => (&*start, Some(&*[last, &[0][..]].concat())),
                None => (&*start, end.as_deref()),
            };
            for (place, value) in self.merged(&disk, seen, range.backwards).take(left) {
                each(place, value);
                left -= 1;
            }
            match last {
                Some(last) if range.backwards => end = Some(last),
                Some(last) => start = [&last, &[0][..]].concat().into(),
                None => return,
            }
        }
    }

    /// Entries between two places, in order: on disk, in memory over it, written over both.
    fn merged<'a>(
        &'a self,
        disk: &'a [(EntryKey, Box<[u8]>)],
        (start, end): (&'a [u8], Option<&'a [u8]>),
        backwards: bool,
    ) -> Box<dyn Iterator<Item = (&'a [u8], &'a [u8])> + 'a> {
        let bounds = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let written = self.written.range::<[u8], _>(bounds).map(|(place, value)| (&**place, value.as_deref()));
        let kept = self.kept.range(bounds);
        let disk = disk.iter().map(|(place, value)| (&**place, Some(&**value)));
        let is_there = |(place, value): (&'a [u8], Option<&'a [u8]>)| Some((place, value?));
        if backwards {
            let before = |left: &[u8], right: &[u8]| left > right;
            Box::new(merge(merge(disk, kept.rev(), before), written.rev(), before).filter_map(is_there))
        } else {
            let before = |left: &[u8], right: &[u8]| left < right;
            Box::new(merge(merge(disk, kept, before), written, before).filter_map(is_there))
        }
    }
}

/// Merges entries in order; those above count where both have one.
fn merge<'a>(
    below: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    above: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    before: impl Fn(&[u8], &[u8]) -> bool,
) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
    let (mut below, mut above) = (below.peekable(), above.peekable());
    std::iter::from_fn(move || match (below.peek(), above.peek()) {
        (Some(_), None) => below.next(),
        (Some((left, _)), Some((right, _))) if before(left, right) => below.next(),
        (Some((left, _)), Some((right, _))) if left == right => {
            below.next();
            above.next()
        }
        _ => above.next(),
    })
}

impl plugin::Tables for CallTables {
    fn get(&mut self, table: u32, groups: &[u32], keys: ColumnRef<'_>) -> Result<Column, String> {
        let places = self.places(table, groups, keys)?;
        self.fetch(&places);
        let mut values = Column::default();
        places.iter().for_each(|place| values.push(self.read(place)));
        Ok(values)
    }

    fn put(&mut self, table: u32, groups: &[u32], keys: ColumnRef<'_>, values: ColumnRef<'_>) -> Result<(), String> {
        let places = self.places(table, groups, keys)?;
        self.fetch(&places);
        for (place, value) in places.into_iter().zip(values.iter()) {
            self.written.insert(place, value.map(Box::from));
        }
        Ok(())
    }

    fn range(&mut self, table: u32, group: u32, range: TableRange<'_>, limit: u32) -> Result<(Column, Column), String> {
        let (mut keys, mut values) = (Column::default(), Column::default());
        self.walk((self.slot(group)?, table), range, limit as usize, |place, value| {
            keys.push(Some(parts(place).2));
            values.push(Some(value));
        });
        Ok((keys, values))
    }

    fn delete_range(&mut self, table: u32, group: u32, range: TableRange<'_>) -> Result<u64, String> {
        let mut places: Vec<EntryKey> = Vec::new();
        self.walk((self.slot(group)?, table), range, usize::MAX, |place, _| places.push(place.into()));
        self.fetch(&places);
        let count = places.len() as u64;
        for place in places {
            self.written.insert(place, None);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tables::Size;
    use super::*;
    use crate::plugin::Tables as _;

    fn no_key(_: SlotId) -> Option<&'static [u8]> {
        None
    }

    fn column(rows: &[&[u8]]) -> Column {
        rows.iter().map(|row| Some(*row)).collect()
    }

    #[test]
    fn a_call_that_failed_leaves_nothing() {
        let mut call = CallTables::new(Tables::default(), vec![3], no_key);
        call.put(0, &[0], column(&[b"a"]).view(), column(&[b"1"]).view()).expect("within limits");
        assert_eq!(call.end(false).bytes(), 0);
    }

    #[test]
    fn a_group_that_the_call_does_not_have_is_named() {
        let mut call = CallTables::new(Tables::default(), vec![3, 4], no_key);
        let error = call.get(0, &[2], column(&[b"z"]).view());
        assert_eq!(error, Err("group 2: the call has 2 groups, numbered from 0".to_owned()));
    }

    #[derive(Debug, Clone)]
    enum Op {
        Put(u32, u32, Vec<u8>, Option<Vec<u8>>),
        DeleteRange(u32, u32, Vec<u8>, Vec<u8>),
        Range(u32, u32, Vec<u8>, Vec<u8>, u32, bool),
        End(bool),
    }

    fn op() -> impl Strategy<Value = Op> {
        let key = || proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255)], 0..3);
        prop_oneof![
            6 => (0_u32..2, 0_u32..2, key(), proptest::option::weighted(0.7, key())).prop_map(|(g, t, k, v)| Op::Put(g, t, k, v)),
            1 => (0_u32..2, 0_u32..2, key(), key()).prop_map(|(g, t, s, e)| Op::DeleteRange(g, t, s, e)),
            3 => (0_u32..2, 0_u32..2, key(), key(), 0_u32..5, any::<bool>())
                .prop_map(|(g, t, s, e, l, b)| Op::Range(g, t, s, e, l, b)),
            1 => any::<bool>().prop_map(Op::End),
        ]
    }

    fn within(key: &[u8], start: &[u8], end: &[u8]) -> bool {
        key >= start && (end.is_empty() || key < end)
    }

    proptest! {
        #[test]
        fn it_is_an_ordered_map_of_each_group_and_table(ops in proptest::collection::vec(op(), 0..80)) {
            let slots = vec![u32::MAX, 7];
            let mut call = CallTables::new(Tables::default(), slots.clone(), no_key);
            let mut model: BTreeMap<(u32, u32, Vec<u8>), Vec<u8>> = BTreeMap::new();
            let mut committed = model.clone();
            for op in ops {
                match op {
                    Op::Put(group, table, key, value) => {
                        let keys: Column = [Some(&key)].into_iter().collect();
                        let values: Column = [value.as_ref()].into_iter().collect();
                        call.put(table, &[group], keys.view(), values.view()).expect("within limits");
                        match value {
                            Some(value) => model.insert((group, table, key), value),
                            None => model.remove(&(group, table, key)),
                        };
                    }
                    Op::DeleteRange(group, table, start, end) => {
                        let range = TableRange { start: &start, end: &end, backwards: false };
                        let count = call.delete_range(table, group, range).expect("a group");
                        let before = model.len();
                        model.retain(|(g, t, key), _| (*g, *t) != (group, table) || !within(key, &start, &end));
                        prop_assert_eq!(count as usize, before - model.len());
                    }
                    Op::Range(group, table, start, end, limit, backwards) => {
                        let range = TableRange { start: &start, end: &end, backwards };
                        let (keys, values) = call.range(table, group, range, limit).expect("a group");
                        let mut expected: Vec<_> = model.iter()
                            .filter(|((g, t, key), _)| (*g, *t) == (group, table) && within(key, &start, &end))
                            .map(|((_, _, key), value)| (key.as_slice(), value.as_slice())).collect();
                        if backwards {
                            expected.reverse();
                        }
                        expected.truncate(limit as usize);
                        let actual: Vec<_> = keys.iter().flatten().zip(values.iter().flatten()).collect();
                        prop_assert_eq!(actual, expected);
                    }
                    Op::End(keep) => {
                        let kept = call.end(keep);
                        if keep { committed = model.clone() } else { model = committed.clone() }
                        for (group, &slot) in (0..).zip(&slots) {
                            let of_group = model.iter().filter(|((g, ..), _)| *g == group);
                            let size = of_group.fold(Size::default(), |size, ((_, _, key), value)| Size {
                                entries: size.entries + 1,
                                bytes: size.bytes + (key.len() + value.len()) as u64,
                            });
                            prop_assert_eq!(kept.size(slot), size);
                        }
                        call = CallTables::new(kept, slots.clone(), no_key);
                    }
                }
            }
        }
    }
}

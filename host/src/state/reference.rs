//! A reference table: the newest value of each key of a topic.

use super::groups::{Groups, KeyHasher, SlotId};
use super::{BlockError, Now, Reader, Store, Summary, Writer};
use crate::record::{Column, ColumnRef};
use crate::time::Watermark;

/// [`Reference::removed_min`] where nobody says otherwise.
const REMOVED_MIN: usize = 1024;

/// Values by key.
#[derive(Debug)]
pub struct Reference {
    groups: Groups,
    hasher: KeyHasher,
    /// Slots that changed since the last block.
    changed: Vec<SlotId>,
    /// Numbers blocks, so that a slot knows whether it changed since the last one.
    block: u32,
    /// Where the sweep goes on.
    cursor: SlotId,
    /// Slots of removed keys that are kept before tidying up is worth it.
    removed_min: usize,
}

impl Default for Reference {
    fn default() -> Self {
        Self {
            groups: Groups::default(),
            hasher: KeyHasher::default(),
            changed: Vec::new(),
            block: 0,
            cursor: 0,
            removed_min: REMOVED_MIN,
        }
    }
}

impl Reference {
    /// Sets values; null removes a key.
    pub fn put(&mut self, keys: ColumnRef<'_>, values: ColumnRef<'_>) {
        for (key, value) in keys.iter().zip(values.iter()) {
            let slot = self.groups.slot(self.hasher.hash(key), key);
            self.groups.set_accumulator(slot, value);
            if self.groups.mark_changed(slot, self.block + 1) {
                self.changed.push(slot);
            }
        }
    }

    /// The value of each key; null where there is none.
    pub fn get(&self, keys: ColumnRef<'_>) -> Column {
        let value = |key: Option<&[u8]>| {
            let slot = self.groups.find(self.hasher.hash(key), key)?;
            self.groups.accumulator(slot)
        };
        let mut found = Column::default();
        keys.iter().for_each(|key| found.push(value(key)));
        found
    }

    /// Writes these slots, and ends the block.
    fn write_slots(&mut self, writer: &mut Writer, slots: Vec<SlotId>) {
        let (mut keys, mut values) = (Column::default(), Column::default());
        for slot in slots {
            keys.push(self.groups.key(slot));
            values.push(self.groups.accumulator(slot));
        }
        writer.column(keys.view());
        writer.column(values.view());
        self.tidy();
    }

    /// Drops the slots of removed keys, once these are the majority. Changes must have been written.
    fn tidy(&mut self) {
        if self.groups.slots() <= self.removed_min.max(2 * self.groups.len()) {
            return;
        }
        let mut tidied = Groups::default();
        for slot in self.groups.present_slots() {
            let key = self.groups.key(slot);
            let new = tidied.slot(self.hasher.hash(key), key);
            tidied.set_accumulator(new, self.groups.accumulator(slot));
        }
        // A sweep that had begun goes round again from the start: longer than needed, and never too short.
        (self.groups, self.cursor) = (tidied, 0);
    }
}

impl Store for Reference {
    fn is_due(&self, _: Now) -> bool {
        false
    }

    fn next_clock(&self) -> Option<i64> {
        None
    }

    fn output_watermark(&self, input: Watermark) -> Watermark {
        input
    }

    fn len(&self) -> usize {
        self.groups.len()
    }

    fn bytes(&self) -> usize {
        self.groups.bytes()
    }

    fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    fn write_block(&mut self, writer: &mut Writer, rewrite: usize) -> bool {
        let mut slots = std::mem::take(&mut self.changed);
        self.block += 1;
        let (mut rewritten, end) = (0, self.groups.slots() as SlotId);
        while rewritten < rewrite && self.cursor < end {
            let slot = self.cursor;
            self.cursor += 1;
            let Some(value) = self.groups.accumulator(slot) else { continue };
            let bytes = value.len() + self.groups.key(slot).map_or(0, <[u8]>::len);
            if self.groups.mark_changed(slot, self.block) {
                rewritten += bytes;
                slots.push(slot);
            }
        }
        let round_ended = rewrite > 0 && self.cursor == end;
        if round_ended {
            self.cursor = 0;
        }
        self.write_slots(writer, slots);
        round_ended
    }

    fn write_whole(&mut self, writer: &mut Writer) {
        self.changed.clear();
        self.block += 1;
        self.cursor = 0;
        let all = self.groups.present_slots().collect();
        self.write_slots(writer, all);
    }

    fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for slot in self.groups.present_slots() {
            summary.add(&[], &[self.groups.key(slot), self.groups.accumulator(slot)]);
        }
        summary
    }

    fn read_block(&mut self, reader: &mut Reader<'_>) -> Result<(), BlockError> {
        let (keys, values) = (reader.column()?, reader.column()?);
        if keys.len() != values.len() {
            return Err(reader.error(format!("{} keys with {} values", keys.len(), values.len())));
        }
        for (key, value) in keys.iter().zip(values.iter()) {
            let slot = self.groups.slot(self.hasher.hash(key), key);
            self.groups.set_accumulator(slot, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Change = (u8, Option<u8>);

    fn put(table: &mut Reference, changes: &[Change]) {
        let keys: Column = changes.iter().map(|(key, _)| Some([*key])).collect();
        let values: Column = changes.iter().map(|(_, value)| value.map(|value| vec![value; 20])).collect();
        table.put(keys.view(), values.view());
    }

    fn content(table: &Reference) -> BTreeMap<u8, u8> {
        let keys: Column = (0..=u8::MAX).map(|key| Some([key])).collect();
        let values = table.get(keys.view());
        (0..=u8::MAX).zip(values.iter()).filter_map(|(key, value)| Some((key, value?[0]))).collect()
    }

    fn block(table: &mut Reference, rewrite: usize) -> (Vec<u8>, bool) {
        let mut writer = Writer::default();
        let ended = table.write_block(&mut writer, rewrite);
        (writer.finish(), ended)
    }

    fn read(blocks: &[Vec<u8>]) -> Reference {
        let mut table = Reference::default();
        for block in blocks {
            table.read_block(&mut Reader::new(block).expect("our version")).expect("our block");
        }
        table
    }

    proptest! {
        #[test]
        fn blocks_since_a_round_began_or_a_whole_one_are_the_whole_table(
            rounds in proptest::collection::vec(
                (proptest::collection::vec((0_u8..40, proptest::option::of(any::<u8>())), 0..30),
                 prop_oneof![4 => 0_usize..200, 1 => Just(usize::MAX)]), 1..40)
        ) {
            // It tidies up often, and so in the middle of rounds.
            let (mut table, mut model) = (Reference { removed_min: 4, ..Reference::default() }, BTreeMap::new());
            let (mut kept, mut began): (Vec<Vec<u8>>, Option<usize>) = (Vec::new(), None);
            for (changes, rewrite) in rounds {
                put(&mut table, &changes);
                for (key, value) in changes {
                    match value {
                        Some(value) => model.insert(key, value),
                        None => model.remove(&key),
                    };
                }
                prop_assert_eq!(content(&table), model.clone());
                if rewrite == usize::MAX {
                    // Wherever a round stands: it is over, and nothing before the block is needed.
                    let mut writer = Writer::whole();
                    table.write_whole(&mut writer);
                    (kept, began) = (vec![writer.finish()], None);
                    prop_assert!(!table.is_changed());
                    prop_assert_eq!(content(&read(&kept)), model.clone());
                    prop_assert_eq!(read(&kept).summary(), table.summary());
                    prop_assert_eq!(table.summary().entries, model.len() as u64);
                    continue;
                }
                if rewrite > 0 {
                    began.get_or_insert(kept.len());
                }
                let (block, ended) = block(&mut table, rewrite);
                kept.push(block);
                if ended {
                    kept.drain(..began.take().expect("a round that ends has begun"));
                }
                prop_assert_eq!(content(&read(&kept)), model.clone());
            }
        }
    }

    #[test]
    fn removed_keys_take_no_room_for_long() {
        let mut table = Reference::default();
        for round in 0..10_000_u32 {
            let key: Column = [Some(round.to_le_bytes())].into_iter().collect();
            table.put(key.view(), [Some("v")].into_iter().collect::<Column>().view());
            table.put(key.view(), [None::<&str>].into_iter().collect::<Column>().view());
            block(&mut table, 0);
        }
        assert!(table.is_empty() && table.bytes() < 200_000, "{}", table.bytes());
    }
}

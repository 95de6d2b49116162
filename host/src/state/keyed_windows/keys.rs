//! The keys that have keyed windows, each with a number as long as it has any.

use hashbrown::HashTable;

use crate::state::groups::{KeyHasher, spread};

/// A key's number.
pub type KeyId = u32;

/// Keys by number, and numbers by key.
#[derive(Debug, Default)]
pub struct Keys {
    hasher: KeyHasher,
    table: HashTable<KeyId>,
    entries: Vec<Entry>,
    free: Vec<KeyId>,
    /// Bytes of all keys.
    bytes: usize,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    hash: u32,
    /// How many keyed windows the key has.
    keyed_windows: u32,
    /// The keyed window that was used last, where most rows of the key go.
    near: Option<u32>,
    /// The keyed window that stands for the key's next window, where windows are made of slices.
    head: Option<u32>,
    key: Option<Box<[u8]>>,
}

impl Keys {
    /// The hash by which a key is found.
    pub fn hash(&self, key: Option<&[u8]>) -> u32 {
        self.hasher.hash(key)
    }

    /// The number of a key, if it has one.
    pub fn find(&self, hash: u32, key: Option<&[u8]>) -> Option<KeyId> {
        let same = |&id: &KeyId| {
            let entry = &self.entries[id as usize];
            entry.hash == hash && entry.key.as_deref() == key
        };
        self.table.find(spread(hash), same).copied()
    }

    /// The number of a key, made if it has none. A key that gets no keyed window must be [`released`](Self::release).
    pub fn number(&mut self, hash: u32, key: Option<&[u8]>) -> KeyId {
        if let Some(id) = self.find(hash, key) {
            return id;
        }
        let entry = Entry { hash, key: key.map(Box::from), ..Entry::default() };
        self.bytes += key.map_or(0, <[u8]>::len);
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as KeyId - 1
            }
        };
        let entries = &self.entries;
        self.table.insert_unique(spread(hash), id, |&id| spread(entries[id as usize].hash));
        id
    }

    /// The key of a number.
    pub fn key(&self, id: KeyId) -> Option<&[u8]> {
        self.entries[id as usize].key.as_deref()
    }

    /// The keyed window that was used last.
    pub fn near(&self, id: KeyId) -> Option<u32> {
        self.entries[id as usize].near
    }

    /// Notes the keyed window that is used.
    pub fn set_near(&mut self, id: KeyId, keyed_window: u32) {
        self.entries[id as usize].near = Some(keyed_window);
    }

    /// The keyed window that stands for the next window.
    pub fn head(&self, id: KeyId) -> Option<u32> {
        self.entries[id as usize].head
    }

    /// Notes the keyed window that stands for the next window, or that there is none.
    pub fn set_head(&mut self, id: KeyId, keyed_window: Option<u32>) {
        self.entries[id as usize].head = keyed_window;
    }

    /// Counts a keyed window more.
    pub fn retain(&mut self, id: KeyId) {
        self.entries[id as usize].keyed_windows += 1;
    }

    /// Counts a keyed window less; a key without keyed windows has no number any more.
    pub fn release(&mut self, id: KeyId) {
        let entry = &mut self.entries[id as usize];
        entry.keyed_windows -= 1;
        if entry.keyed_windows > 0 {
            return;
        }
        let entry = std::mem::take(entry);
        self.bytes -= entry.key.as_ref().map_or(0, |key| key.len());
        if let Ok(found) = self.table.find_entry(spread(entry.hash), |&other| other == id) {
            found.remove();
        }
        self.free.push(id);
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.entries.len() * (size_of::<Entry>() + size_of::<KeyId>() + 1) + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_number_while_it_has_panes() {
        let mut keys = Keys::default();
        let number = |keys: &mut Keys, key: Option<&[u8]>| {
            let id = keys.number(keys.hash(key), key);
            keys.retain(id);
            id
        };
        let (null, empty, long) =
            (number(&mut keys, None), number(&mut keys, Some(b"")), number(&mut keys, Some(&[7; 99])));
        assert_eq!([null, empty, long], [0, 1, 2]);
        assert_eq!(number(&mut keys, Some(b"")), empty);
        keys.release(empty);
        assert_eq!(keys.find(keys.hash(Some(b"")), Some(b"")), Some(empty), "it has another keyed_window");
        keys.release(empty);
        assert_eq!(keys.find(keys.hash(Some(b"")), Some(b"")), None);
        assert_eq!(number(&mut keys, Some(b"new")), empty, "numbers are used again");
        assert_eq!((keys.key(null), keys.key(empty), keys.key(long)), (None, Some(&b"new"[..]), Some(&[7; 99][..])));
    }
}

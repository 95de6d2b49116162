//! The keys that have keyed windows, each with a number as long as it has any.

use crate::state::slots::{KeyHasher, SlotId, SlotTable};

/// A key's number.
pub type KeyId = SlotId;

/// No keyed window.
const NONE: u32 = u32::MAX;

/// Keys by number, and numbers by key.
#[derive(Debug, Default)]
pub struct Keys {
    hasher: KeyHasher,
    slots: SlotTable<Entry, 44>,
}

/// What a slot has beside its key.
#[derive(Debug, Clone)]
#[repr(C)]
struct Entry {
    /// How many keyed windows the key has.
    keyed_windows: u32,
    /// The keyed window that was used last, where most rows of the key go.
    near: u32,
    /// The keyed window that stands for the key's next window, where windows are made of slices.
    head: u32,
}

impl Default for Entry {
    fn default() -> Self {
        Self { keyed_windows: 0, near: NONE, head: NONE }
    }
}

fn some(keyed_window: u32) -> Option<u32> {
    (keyed_window != NONE).then_some(keyed_window)
}

impl Keys {
    /// The hash by which a key is found.
    pub fn hash(&self, key: Option<&[u8]>) -> u32 {
        self.hasher.hash(key)
    }

    /// The number of a key, if it has one.
    pub fn find(&self, hash: u32, key: Option<&[u8]>) -> Option<KeyId> {
        self.slots.find(hash, key)
    }

    /// The number of a key, made if it has none. A key that gets no keyed window must be [`released`](Self::release).
    pub fn number(&mut self, hash: u32, key: Option<&[u8]>) -> KeyId {
        self.slots.slot(hash, key)
    }

    /// The key of a number.
    pub fn key(&self, id: KeyId) -> Option<&[u8]> {
        self.slots.key(id)
    }

    /// The keyed window that was used last.
    pub fn near(&self, id: KeyId) -> Option<u32> {
        some(self.slots.extra(id).near)
    }

    /// Notes the keyed window that is used.
    pub fn set_near(&mut self, id: KeyId, keyed_window: u32) {
        self.slots.extra_mut(id).near = keyed_window;
    }

    /// The keyed window that stands for the next window.
    pub fn head(&self, id: KeyId) -> Option<u32> {
        some(self.slots.extra(id).head)
    }

    /// Notes the keyed window that stands for the next window, or that there is none.
    pub fn set_head(&mut self, id: KeyId, keyed_window: Option<u32>) {
        self.slots.extra_mut(id).head = keyed_window.unwrap_or(NONE);
    }

    /// Counts a keyed window more.
    pub fn retain(&mut self, id: KeyId) {
        self.slots.extra_mut(id).keyed_windows += 1;
    }

    /// Counts a keyed window less; a key without keyed windows has no number any more.
    pub fn release(&mut self, id: KeyId) {
        let entry = self.slots.extra_mut(id);
        entry.keyed_windows -= 1;
        if entry.keyed_windows == 0 {
            self.slots.free(id);
        }
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.slots.bytes()
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

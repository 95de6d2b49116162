//! One value.

use std::cell::OnceCell;

use super::State;
use super::bounds::bounds;
use super::codec::{ENDS, ENTRIES, PAGES, Reader, Writer, read_signed, read_varint, signed, varint};
use super::life::{End, Life, Now, Ttl, UNSET};
use super::store::{PageSpace, Puts};
use crate::accumulator::Accumulator;
use crate::process::Domain;

/// The number of the page of a value that is not in the column.
const PAGE: u32 = 0;

/// A value, and the end of its life.
#[derive(Debug, Clone)]
struct Entry<T> {
    end: End,
    value: OnceCell<T>,
    /// Where it is, if it has not been changed since it was read from there.
    page: Option<ValuePage<T>>,
}

/// A value that outgrew its bound.
#[derive(Debug, Clone)]
struct ValuePage<T> {
    space: PageSpace,
    bytes: usize,
    read: fn(PageSpace, usize) -> T,
}

impl<T> Entry<T> {
    fn new(end: i64, value: T) -> Self {
        Self { end: End::at(end), value: OnceCell::from(value), page: None }
    }

    /// The value. It is there, or there is a page to read it from.
    #[inline]
    fn value(&self) -> Option<&T> {
        match (self.value.get(), &self.page) {
            (None, Some(page)) => Some(self.value.get_or_init(|| (page.read)(page.space, page.bytes))),
            (value, _) => value,
        }
    }

    /// The value, to be changed.
    #[inline]
    fn value_mut(&mut self) -> Option<&mut T> {
        self.value()?;
        self.page = None;
        self.value.get_mut()
    }
}

/// One value, or none.
#[derive(Debug, Clone)]
pub struct Value<T> {
    life: Life,
    entry: Option<Entry<T>>,
    /// What it was before it was first changed in this callback.
    before: Option<Option<Entry<T>>>,
    /// The bytes of the page that the host has of it; 0 for none.
    stored: usize,
}

impl<T> Default for Value<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Value<T> {
    /// No value.
    pub const fn new() -> Self {
        Self { life: Life::new(None), entry: None, before: None, stored: 0 }
    }

    /// Limits how long the value lives.
    pub fn ttl(self, ttl: Ttl) -> Self {
        Self { life: Life::new(Some(ttl)), ..self }
    }

    /// The value.
    pub fn get(&self) -> Option<&T> {
        let entry = self.entry.as_ref()?;
        entry.end.read(&self.life);
        entry.value()
    }

    /// Whether there is a value. That is not reading it.
    pub fn is_set(&self) -> bool {
        self.entry.is_some()
    }

    /// Sets the value.
    pub fn set(&mut self, value: T) {
        let end = self.life.renewed(self.entry.as_ref().map_or(UNSET, |entry| entry.end.get()));
        let old = self.entry.replace(Entry::new(end, value));
        self.before.get_or_insert(old);
    }

    /// Takes the value away.
    pub fn take(&mut self) -> Option<T>
    where
        T: Clone,
    {
        let old = self.entry.take()?;
        if self.before.is_some() {
            old.value()?;
            return old.value.into_inner();
        }
        let value = old.value().cloned();
        self.before = Some(Some(old));
        value
    }

    /// Removes the value.
    pub fn clear(&mut self) {
        let old = self.entry.take();
        self.before.get_or_insert(old);
    }

    /// The value, to be changed.
    pub fn get_mut(&mut self) -> Option<&mut T>
    where
        T: Clone,
    {
        self.remember();
        let entry = self.entry.as_mut()?;
        entry.end.set(self.life.renewed(entry.end.get()));
        entry.value_mut()
    }

    /// The value, to be changed; if there is none, the default.
    pub fn or_default(&mut self) -> &mut T
    where
        T: Clone + Default,
    {
        self.remember();
        let entry = self.entry.get_or_insert_with(|| Entry::new(UNSET, T::default()));
        entry.end.set(self.life.renewed(entry.end.get()));
        entry.value_mut().expect("a value is there, or was made just now")
    }

    fn remember(&mut self)
    where
        T: Clone,
    {
        if self.before.is_none() {
            self.before = Some(self.entry.clone());
        }
    }
}

impl<T: Accumulator> Value<T> {
    /// Takes away what the host has of it.
    fn delete(&mut self, space: Option<PageSpace>) {
        if let Some(space) = space.filter(|_| self.stored != 0) {
            let mut puts = Puts::new(space);
            puts.delete(PAGE, std::mem::take(&mut self.stored));
            puts.end();
        }
    }

    /// Hands the host what is at the end of `from`, if it is too much for the column, and takes it out. Answers its bytes.
    fn give(&mut self, space: PageSpace, start: usize, from: &mut Vec<u8>) -> usize {
        let bytes = from.len() - start;
        let mut puts = Puts::new(space);
        puts.write(PAGE, from.get(start..).unwrap_or_default(), self.stored);
        puts.end();
        self.stored = bytes;
        from.truncate(start);
        bytes
    }
}

/// Reads a value from its page.
///
/// # Panics
/// If it is none: no row is to blame, so the call fails.
fn read_page<T: Accumulator>(space: PageSpace, bytes: usize) -> T {
    let page = space.read(&[(PAGE, bytes)]).pop().unwrap_or_default();
    let mut from = page.as_slice();
    match T::decode(&mut from) {
        Some(value) if from.is_empty() => value,
        _ => {
            let (part, wanted) = (space.part, std::any::type_name::<T>());
            panic!("the {bytes} bytes of part {part} of the key's state are no `{wanted}`: another version wrote them")
        }
    }
}

impl<T: Accumulator + std::fmt::Debug> State for Value<T> {
    fn is_empty(&self) -> bool {
        self.entry.is_none()
    }

    fn encode(&mut self, writer: &mut Writer<'_>) {
        let space = writer.part();
        let Some(entry) = &self.entry else {
            writer.into.push(0);
            return self.delete(space);
        };
        let end = entry.end.get();
        let ends = self.life.ttl.is_some() && end != UNSET;
        let flags = if ends { ENDS } else { 0 };
        let first = writer.into.len();
        writer.into.push(ENTRIES | flags);
        if ends {
            signed(end, writer.into);
        }
        let bytes = match (&entry.page, space) {
            (Some(page), Some(_)) => page.bytes,
            _ => {
                let start = writer.into.len();
                entry.value().into_iter().for_each(|value| value.encode(writer.into));
                match space {
                    Some(space) if writer.into.len() - start > bounds().inline_bytes => {
                        self.give(space, start, writer.into)
                    }
                    _ => return self.delete(space),
                }
            }
        };
        if let Some(space) = space {
            writer.into.get_mut(first).into_iter().for_each(|flag| *flag = PAGES | flags);
            varint(bytes as u64, writer.into);
            if let Some(entry) = &mut self.entry {
                entry.page = Some(ValuePage { space, bytes, read: read_page });
            }
        }
    }

    fn decode(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let space = reader.part();
        let from = &mut reader.from;
        let flags = u8::decode(from)?;
        self.life.none_left();
        if flags == 0 {
            return Some(());
        }
        let end = if flags & ENDS != 0 { read_signed(from)? } else { UNSET };
        match flags & !ENDS {
            ENTRIES => self.entry = Some(Entry::new(end, T::decode(from)?)),
            PAGES => {
                let bytes = usize::try_from(read_varint(from)?).ok().filter(|&bytes| bytes > 0)?;
                let page = Some(ValuePage { space, bytes, read: read_page });
                self.entry = Some(Entry { end: End::at(end), value: OnceCell::new(), page });
                self.stored = bytes;
                reader.paged = true;
            }
            _ => return None,
        }
        self.life.found(end);
        Some(())
    }

    fn begin(&mut self, now: &Now) {
        self.before = None;
        if self.life.begin(now) {
            let mut stays = true;
            if let Some(entry) = &self.entry {
                self.life.judge(|judge| stays = judge(&entry.end));
            }
            if !stays {
                self.entry = None;
            }
        }
    }

    fn undo(&mut self) {
        if let Some(before) = self.before.take() {
            self.entry = before;
        }
        self.life.undo();
        if let Some(entry) = &self.entry {
            entry.end.undo(&self.life);
            self.life.found(entry.end.get());
        }
    }

    fn lives(&self, domain: Domain) -> bool {
        self.life.counts_in(domain)
    }

    fn written(&self, domain: Domain) -> Option<i64> {
        self.life.written(domain)
    }

    fn earliest(&self, domain: Domain) -> Option<i64> {
        let entry = self.entry.as_ref()?;
        Some(entry.end.get())
            .filter(|&end| end != UNSET && self.life.counts_in(domain))
            .map(|end| self.life.clean_up_at(end))
    }
}

//! One value.

use super::State;
use super::codec::{ENDS, ENTRIES, read_signed, signed};
use super::life::{End, Life, Now, Ttl, UNSET};
use crate::accumulator::Accumulator;
use crate::process::Domain;

/// One value, or none.
#[derive(Debug, Clone)]
pub struct Value<T> {
    life: Life,
    entry: Option<(End, T)>,
    /// What it was before it was first changed in this callback.
    before: Option<Option<(End, T)>>,
}

impl<T> Default for Value<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Value<T> {
    /// No value.
    pub const fn new() -> Self {
        Self { life: Life::new(None), entry: None, before: None }
    }

    /// Limits how long the value lives.
    pub fn ttl(self, ttl: Ttl) -> Self {
        Self { life: Life::new(Some(ttl)), ..self }
    }

    /// The value.
    pub fn get(&self) -> Option<&T> {
        let (end, value) = self.entry.as_ref()?;
        end.read(&self.life);
        Some(value)
    }

    /// Whether there is a value. That is not reading it.
    pub fn is_set(&self) -> bool {
        self.entry.is_some()
    }

    /// Sets the value.
    pub fn set(&mut self, value: T) {
        let end = self.life.renewed(self.entry.as_ref().map_or(UNSET, |(end, _)| end.get()));
        let old = self.entry.replace((End::at(end), value));
        self.before.get_or_insert(old);
    }

    /// Takes the value away.
    pub fn take(&mut self) -> Option<T>
    where
        T: Clone,
    {
        let old = self.entry.take();
        if self.before.is_some() {
            return old.map(|(_, value)| value);
        }
        let value = old.as_ref().map(|(_, value)| value.clone());
        self.before = Some(old);
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
        if self.before.is_none() {
            self.before = Some(self.entry.clone());
        }
        let (end, value) = self.entry.as_mut()?;
        end.set(self.life.renewed(end.get()));
        Some(value)
    }

    /// The value, to be changed; if there is none, the default.
    pub fn or_default(&mut self) -> &mut T
    where
        T: Clone + Default,
    {
        if self.before.is_none() {
            self.before = Some(self.entry.clone());
        }
        let (end, value) = self.entry.get_or_insert_with(|| (End::at(UNSET), T::default()));
        end.set(self.life.renewed(end.get()));
        value
    }
}

impl<T: Accumulator + std::fmt::Debug> State for Value<T> {
    fn is_empty(&self) -> bool {
        self.entry.is_none()
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let Some((end, value)) = &self.entry else { return into.push(0) };
        let ends = self.life.ttl.is_some() && end.get() != UNSET;
        into.push(ENTRIES | if ends { ENDS } else { 0 });
        if ends {
            signed(end.get(), into);
        }
        value.encode(into);
    }

    fn decode(&mut self, from: &mut &[u8]) -> Option<()> {
        let flags = u8::decode(from)?;
        self.life.none_left();
        if flags & ENTRIES == 0 {
            return (flags == 0).then_some(());
        }
        if flags & !(ENTRIES | ENDS) != 0 {
            return None;
        }
        let end = if flags & ENDS != 0 { read_signed(from)? } else { UNSET };
        self.life.found(end);
        self.entry = Some((End::at(end), T::decode(from)?));
        Some(())
    }

    fn begin(&mut self, now: &Now) {
        self.before = None;
        if self.life.begin(now) {
            let mut stays = true;
            if let Some((end, _)) = &self.entry {
                self.life.judge(|judge| stays = judge(end));
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
        if let Some((end, _)) = &self.entry {
            end.undo(&self.life);
            self.life.found(end.get());
        }
    }

    fn written(&self, domain: Domain) -> Option<i64> {
        self.life.written(domain)
    }

    fn earliest(&self, domain: Domain) -> Option<i64> {
        let (end, _) = self.entry.as_ref()?;
        Some(end.get()).filter(|&end| end != UNSET && self.life.counts_in(domain))
    }
}

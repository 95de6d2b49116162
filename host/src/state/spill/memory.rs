//! A disk in memory for tests, which can be made to fail.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use crate::record::ColumnRef;
use crate::state::{Disks, Each, Spill, SpillError, Stretch};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Entries, and how many operations are left before it fails.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<(Entries, Option<usize>)>>);

impl MemoryDisk {
    pub(crate) fn fail_after(&self, operations: usize) {
        self.0.lock().expect("nobody panicked").1 = Some(operations);
    }

    fn with<T>(&self, work: impl FnOnce(&mut Entries) -> T) -> Result<T, SpillError> {
        let mut locked = self.0.lock().expect("nobody panicked");
        match &mut locked.1 {
            Some(0) => Err(SpillError { doing: "a test", reason: "it is over".to_owned(), full: true }),
            left => {
                *left = left.map(|left| left - 1);
                Ok(work(&mut locked.0))
            }
        }
    }
}

/// A disk of its own for each step that wants one.
#[derive(Debug)]
pub(crate) struct MemoryDisks;

impl Disks for MemoryDisks {
    fn provide(&self) -> Result<Box<dyn Spill>, SpillError> {
        Ok(Box::new(MemoryDisk::default()))
    }
}

impl Disks for MemoryDisk {
    fn provide(&self) -> Result<Box<dyn Spill>, SpillError> {
        self.with(|entries| assert!(entries.is_empty(), "a step has one disk"))?;
        Ok(Box::new(self.clone()))
    }
}

impl Spill for MemoryDisk {
    fn get(&self, keys: ColumnRef<'_>, found: &mut dyn FnMut(usize, &[u8])) -> Result<(), SpillError> {
        self.with(|entries| {
            let keys: Vec<&[u8]> = keys.iter().map(|key| key.expect("names are not null")).collect();
            assert!(keys.is_sorted_by(|one, next| one < next), "names are in order and differ");
            for (place, key) in keys.into_iter().enumerate() {
                if let Some(value) = entries.get(key) {
                    found(place, value);
                }
            }
        })
    }

    fn write(&self, keys: ColumnRef<'_>, values: ColumnRef<'_>) -> Result<(), SpillError> {
        self.with(|entries| {
            for (key, value) in keys.iter().zip(values.iter()) {
                let key = key.expect("names are not null").to_vec();
                match value {
                    Some(value) => entries.insert(key, value.to_vec()),
                    None => entries.remove(&key),
                };
            }
        })
    }

    fn scan(&self, range: Stretch<'_>, each: Each<'_>) -> Result<(), SpillError> {
        self.with(|entries| {
            let mut within: Vec<_> = entries.range(range.from.to_vec()..range.to.to_vec()).collect();
            if range.backwards {
                within.reverse();
            }
            let _ = within.into_iter().try_for_each(|(key, value)| match each(key, value) {
                ControlFlow::Continue(()) => Some(()),
                ControlFlow::Break(()) => None,
            });
        })
    }

    fn bytes(&self) -> u64 {
        self.with(|entries| entries.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() as u64)
            .unwrap_or_default()
    }
}

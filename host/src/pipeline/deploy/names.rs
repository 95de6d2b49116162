//! Reservations of pipeline names.
//!
//! A name is reserved before anything is made under it, whether a pipeline has it yet or not. So of two that would make
//! it, change it or delete it at once, one waits for the other and then sees what that one left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::ids::{PipelineName, TenantId};

type Key = (TenantId, PipelineName);
type Locks = BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>;

/// The names that are being changed.
#[derive(Debug, Default)]
pub(super) struct Names(Arc<Mutex<Locks>>);

/// A name that nobody else changes while this is there.
#[derive(Debug)]
pub(super) struct Reserved {
    names: Arc<Mutex<Locks>>,
    key: Key,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Names {
    /// Waits until nobody else changes what runs under this name, in the order in which they came.
    pub(super) async fn reserve(&self, tenant: &TenantId, name: &PipelineName) -> Reserved {
        let key = (tenant.clone(), name.clone());
        let turn = Arc::clone(lock(&self.0).entry(key.clone()).or_default());
        let turn = Some(turn.lock_owned().await);
        Reserved { names: Arc::clone(&self.0), key, turn }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        drop(self.turn.take());
        let mut names = lock(&self.names);
        // Who waits holds it too, and takes it under the lock of the map: nobody can come between.
        if names.get(&self.key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            names.remove(&self.key);
        }
    }
}

/// A panic elsewhere leaves the map whole.
fn lock(names: &Mutex<Locks>) -> MutexGuard<'_, Locks> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::default_tenant;

    #[tokio::test]
    async fn one_at_a_time_has_a_name_and_nothing_is_left_of_it() {
        let (names, tenant) = (Names::default(), default_tenant());
        let (name, another) = ("p".parse().expect("a name"), "q".parse().expect("a name"));
        let first = names.reserve(&tenant, &name).await;
        let mut second = Box::pin(names.reserve(&tenant, &name));
        let other = names.reserve(&tenant, &another).await;
        assert!(futures_util::poll!(&mut second).is_pending(), "two have the same name");
        drop((first, other));
        drop(second.await);
        assert!(lock(&names.0).is_empty());
    }
}

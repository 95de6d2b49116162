//! Hash maps whose order depends on their content and nothing else.
//!
//! `std::collections::HashMap` begins each map with a random seed on a developer's machine, and with a seed that depends
//! on the call in a component. A plugin that lets the order of such a map show, in the order of its rows, in a sum of
//! floats, in the entry that is dropped first, answers differently in a test, on the server, and when a micro-batch is
//! processed again. These have one seed everywhere. Who chooses the keys can choose them so that they collide: a call's
//! fuel bounds what that costs, and it costs the plugin's own tenant.

use std::collections;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// A hash map that iterates in the same order in every run. Made by `HashMap::default()` or by collecting.
///
/// ```
/// use millstream_sdk::prelude::*;
///
/// let mut counts: HashMap<&str, u64> = HashMap::default();
/// *counts.entry("a").or_default() += 1;
/// assert_eq!(counts["a"], 1);
/// ```
pub type HashMap<K, V> = collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A hash set that iterates in the same order in every run. Made by `HashSet::default()` or by collecting.
///
/// ```
/// use millstream_sdk::prelude::*;
///
/// let seen: HashSet<u64> = [3, 1, 2].into_iter().collect();
/// assert!(seen.contains(&3));
/// ```
pub type HashSet<T> = collections::HashSet<T, BuildHasherDefault<DefaultHasher>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_maps_iterate_alike() {
        let map = || (0..1000_u64).map(|n| (n * 7919, n)).collect::<HashMap<_, _>>();
        assert_eq!(map().into_iter().collect::<Vec<_>>(), map().into_iter().collect::<Vec<_>>());
        let set = || (0..1000_u64).map(|n| n * 7919).collect::<HashSet<_>>();
        assert_eq!(set().into_iter().collect::<Vec<_>>(), set().into_iter().collect::<Vec<_>>());
    }
}

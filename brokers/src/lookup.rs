//! A map in which things are looked up, and that nobody can walk through: so its order, which is that of a hash, surprises
//! nobody. Where the order matters there are ordered maps.
#![expect(clippy::disallowed_types, reason = "nothing outside can see its order")]

use std::collections::HashMap;
use std::hash::Hash;

use rustc_hash::FxBuildHasher;

/// What is known of each key. The hash is one of few instructions: keys are order numbers, ours and the broker's, and names
/// of instruments, which nobody chooses to collide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup<K: Eq + Hash, V>(HashMap<K, V, FxBuildHasher>);

impl<K: Eq + Hash, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Self(Default::default())
    }
}

impl<K: Eq + Hash, V> Lookup<K, V> {
    /// What is known of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    /// Whether anything is.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// From now on that is known of it. What was known before is returned.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Nothing is known of it any more. What was known before is returned.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    /// Keeps what `keep` chooses, which is asked in any order.
    pub fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.0.retain(|key, value| keep(key, value));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

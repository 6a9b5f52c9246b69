//! A map in which things are looked up, and that nobody can walk through: so its order, which is that of a hash, surprises
//! nobody. Where the order matters there are ordered maps.
#![expect(clippy::disallowed_types, reason = "nothing outside can see its order")]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// What is known of each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lookup<K: Eq + Hash, V>(HashMap<K, V, BuildHasherDefault<Folded>>);

impl<K: Eq + Hash, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Self(Default::default())
    }
}

impl<K: Eq + Hash, V> Lookup<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// What was known before is returned.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    /// Keeps what `keep` chooses, which is asked in any order.
    pub(crate) fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.0.retain(|key, value| keep(key, value));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A hash of few instructions, the same on every machine. Keys are order numbers, ours and the broker's: nobody chooses
/// them to collide.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Folded(u64);

impl Folded {
    const fn add(&mut self, word: u64) {
        // Both halves of the product, so that every bit of the key reaches every bit of the hash.
        let product = (self.0.rotate_left(23) ^ word) as u128 * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.add(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }

    fn write_u128(&mut self, number: u128) {
        self.add(number as u64);
        self.add((number >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nirantar_brokers::ClientOrderId;

    use super::*;

    #[test]
    fn neighbours_do_not_collide() {
        let hash = |number| {
            let mut hasher = Folded::default();
            ClientOrderId::numbered(7, number).hash(&mut hasher);
            hasher.finish()
        };
        let (low, high): (BTreeSet<u64>, BTreeSet<u64>) =
            (0..100_000).map(hash).map(|hash| (hash & 0xffff, hash >> 48)).unzip();
        // Of 65,536 places, 100,000 throws leave one in e^1.53 empty: a fifth.
        assert!(low.len() > 50_000 && high.len() > 50_000, "{} and {}", low.len(), high.len());
    }
}

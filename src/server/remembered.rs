//! What was seen last, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// Two generations: what was seen since the younger one was empty, and what was seen before. What is in neither is
/// forgotten, and what comes back becomes young again.
#[derive(Debug)]
pub(super) struct Remembered<K, V> {
    younger: HashMap<K, V>,
    older: HashMap<K, V>,
    /// How many there are at most.
    room: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> Remembered<K, V> {
    pub(super) fn with_room(room: usize) -> Self {
        Self { younger: HashMap::new(), older: HashMap::new(), room }
    }

    pub(super) fn recall(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.younger.get(key) {
            return Some(value.clone());
        }
        let value = self.older.remove(key)?;
        self.remember(key.clone(), value.clone());
        Some(value)
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.younger.remove(key);
        self.older.remove(key);
    }

    pub(super) fn remember(&mut self, key: K, value: V) {
        if self.younger.len() >= self.room / 2 {
            self.older = mem::take(&mut self.younger);
        }
        self.younger.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_keeps_what_comes_back() {
        const ROOM: usize = 1_000;
        let mut remembered = Remembered::with_room(ROOM);
        remembered.remember(0, "the first");
        for number in 1..3 * ROOM {
            remembered.remember(number, "another");
            assert_eq!(remembered.recall(&0), Some("the first"));
            assert!(remembered.younger.len() + remembered.older.len() <= ROOM);
        }
        assert_eq!(remembered.recall(&1), None);
        remembered.forget(&0);
        assert_eq!(remembered.recall(&0), None);
    }
}

//! A bound on the bytes of requests and answers that are held at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of each body is not counted: as much as every connection has a buffer for. Most requests are smaller.
pub(crate) const FREE: usize = 16 * 1024;

/// The bytes that may be held.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    limit: usize,
    bytes: Arc<Semaphore>,
}

/// Bytes that are held, until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Memory,
    /// How long the body is.
    length: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, bytes: Arc::new(Semaphore::new(limit)) }
    }

    /// A body of which nothing is there yet.
    pub(crate) fn nothing(&self) -> Held {
        Held { memory: self.clone(), length: 0, permit: None }
    }

    /// The bytes that are counted now.
    pub(crate) fn held(&self) -> usize {
        self.limit.saturating_sub(self.bytes.available_permits())
    }
}

impl Held {
    /// Another body, of which nothing is there yet.
    pub(crate) fn another(&self) -> Self {
        self.memory.nothing()
    }

    /// Holds `more` bytes of the body; says whether there is room for them.
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let length = self.length.saturating_add(more);
        let counted = length.saturating_sub(FREE) - self.length.saturating_sub(FREE);
        let Ok(counted) = u32::try_from(counted) else { return false };
        if counted > 0 {
            let Ok(permit) = Arc::clone(&self.memory.bytes).try_acquire_many_owned(counted) else { return false };
            match &mut self.permit {
                Some(held) => held.merge(permit),
                none => *none = Some(permit),
            }
        }
        self.length = length;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_comes_back() {
        let memory = Memory::new(100);
        let (mut one, mut other) = (memory.nothing(), memory.nothing());
        assert!(one.grow(FREE) && other.grow(FREE));
        assert_eq!(memory.held(), 0);
        assert!(one.grow(60) && other.grow(40));
        assert_eq!(memory.held(), 100);
        assert!(!other.grow(1));
        drop(one);
        assert_eq!(memory.held(), 40);
        assert!(other.grow(60));
        drop(other);
        assert_eq!(memory.held(), 0);
    }
}

//! A storage that forgets everything with the process: for tests, and for games that want no file.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Access, Keep, Opened, Persistence, Replay, Storage, StorageError};
use crate::client::clock::random_bits;
use crate::client::record::Record;
use crate::protocol::SecretKey;

/// A storage in memory. Clones share it, so that a second client can open what a first one left.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    shared: Arc<Mutex<Contents>>,
}

#[derive(Debug, Default)]
struct Contents {
    key: Option<SecretKey>,
    next_key: Option<SecretKey>,
    records: Vec<Record>,
}

impl MemoryStorage {
    /// A storage that already has a device key.
    pub fn with_key(key: SecretKey) -> Self {
        let contents = Contents { key: Some(key), ..Contents::default() };
        Self { shared: Arc::new(Mutex::new(contents)) }
    }

    /// The records in it.
    pub fn records(&self) -> Vec<Record> {
        self.contents(|contents| contents.records.clone())
    }

    fn contents<T>(&self, use_them: impl FnOnce(&mut Contents) -> T) -> T {
        // A panic elsewhere cannot leave a vector half pushed, so a poisoned lock still guards good contents.
        use_them(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Storage for MemoryStorage {
    fn open(&mut self, replay: &mut Replay<'_>) -> Result<Opened, StorageError> {
        let seed = new_seed()?;
        let (key, records) = self.contents(|contents| {
            let key = contents.key.get_or_insert_with(|| SecretKey::from_seed(&seed)).clone();
            (key, contents.records.clone())
        });
        records.into_iter().for_each(|record| replay(&key, record));
        Ok(Opened { key, access: Access::ReadWrite, is_damaged: false, troubles: Vec::new() })
    }

    fn append(&mut self, records: &[Record]) -> Result<(), StorageError> {
        self.contents(|contents| contents.records.extend_from_slice(records));
        Ok(())
    }

    fn compact(&mut self, keep: &mut Keep<'_>, closing: &[Record]) -> Result<(), StorageError> {
        let kept: Vec<_> = self.records().into_iter().filter_map(keep).chain(closing.iter().cloned()).collect();
        self.contents(|contents| contents.records = kept);
        Ok(())
    }

    fn next_key(&mut self) -> Result<Option<SecretKey>, StorageError> {
        Ok(self.contents(|contents| contents.next_key.clone()))
    }

    fn make_next_key(&mut self) -> Result<SecretKey, StorageError> {
        let seed = new_seed()?;
        Ok(self.contents(|contents| contents.next_key.get_or_insert_with(|| SecretKey::from_seed(&seed)).clone()))
    }

    fn take_next_key(&mut self) -> Result<(), StorageError> {
        self.contents(|contents| contents.key = contents.next_key.take().or(contents.key.take()));
        Ok(())
    }

    fn persistence(&self) -> Persistence {
        Persistence::InMemory
    }
}

/// 32 random bytes for a new device key.
pub(super) fn new_seed() -> Result<[u8; 32], StorageError> {
    let (Some(first), Some(second)) = (random_bits(), random_bits()) else {
        return Err(StorageError::NoRandomness);
    };
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&first);
    seed[16..].copy_from_slice(&second);
    Ok(seed)
}

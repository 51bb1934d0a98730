//! The devices that were looked up, so that each is looked up once: in a database of several servers that is a round trip.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, PoisonError};

use super::ledger::LedgerError;
use crate::protocol::{AccountId, KeyId, PublicKey};

/// How many devices are remembered at most: some megabytes.
const ROOM: usize = 32_768;

/// What never changes about a device, once it is enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownDevice {
    pub(crate) account: AccountId,
    pub(crate) key: PublicKey,
}

/// The devices that were seen last.
#[derive(Debug, Default)]
pub(crate) struct KnownDevices(Mutex<Generations>);

/// Those that were seen since the younger half was empty, and those of before: what is in neither is forgotten.
#[derive(Debug, Default)]
struct Generations {
    younger: HashMap<KeyId, KnownDevice>,
    older: HashMap<KeyId, KnownDevice>,
}

impl KnownDevices {
    /// The device called `id`, from memory or by `look_up`. One that is not enrolled is looked up each time.
    pub(crate) fn find(
        &self,
        id: KeyId,
        look_up: impl FnOnce() -> Result<Option<KnownDevice>, LedgerError>,
    ) -> Result<Option<KnownDevice>, LedgerError> {
        if let Some(known) = self.generations(|generations| generations.recall(id)) {
            return Ok(Some(known));
        }
        // Not under the lock: others need not wait for the books.
        let found = look_up()?;
        if let Some(device) = &found {
            self.generations(|generations| generations.remember(id, device.clone()));
        }
        Ok(found)
    }

    fn generations<T>(&self, act: impl FnOnce(&mut Generations) -> T) -> T {
        // A panic elsewhere leaves nothing half done in a map.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generations {
    fn recall(&mut self, id: KeyId) -> Option<KnownDevice> {
        if let Some(known) = self.younger.get(&id) {
            return Some(known.clone());
        }
        let known = self.older.remove(&id)?;
        self.remember(id, known.clone());
        Some(known)
    }

    fn remember(&mut self, id: KeyId, device: KnownDevice) {
        if self.younger.len() >= ROOM / 2 {
            self.older = mem::take(&mut self.younger);
        }
        self.younger.insert(id, device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{SecretKey, Sha256};

    fn device(seed: u8) -> KnownDevice {
        let key = SecretKey::from_seed(&[seed; 32]).public();
        KnownDevice { account: key.id().guest_account(), key }
    }

    #[test]
    fn device_is_looked_up_once_and_stranger_each_time() {
        let (devices, id) = (KnownDevices::default(), device(1).key.id());
        assert_eq!(devices.find(id, || Ok(None)).expect("reads"), None);
        assert_eq!(devices.find(id, || Ok(Some(device(1)))).expect("reads"), Some(device(1)));
        let again = devices.find(id, || Err(LedgerError::NoBooks));
        assert_eq!(again.expect("it is remembered"), Some(device(1)));
    }

    #[test]
    fn memory_is_bounded_and_keeps_who_comes_back() {
        let (devices, one) = (KnownDevices::default(), device(1));
        let id = |number: usize| KeyId(Sha256::of(number.to_be_bytes()));
        for number in 0..3 * ROOM {
            devices.find(id(number), || Ok(Some(one.clone()))).expect("reads");
            devices.find(id(0), || Err(LedgerError::NoBooks)).expect("it is remembered");
        }
        devices.generations(|generations| assert!(generations.younger.len() + generations.older.len() <= ROOM));
        assert!(devices.find(id(1), || Err(LedgerError::NoBooks)).is_err());
    }
}

//! The devices that were looked up, so that each is looked up once: in a database of several servers that is a round trip.

use std::sync::{Mutex, PoisonError};

use super::ledger::LedgerError;
use super::remembered::Remembered;
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
#[derive(Debug)]
pub(crate) struct KnownDevices(Mutex<Remembered<KeyId, KnownDevice>>);

impl Default for KnownDevices {
    fn default() -> Self {
        Self(Mutex::new(Remembered::with_room(ROOM)))
    }
}

impl KnownDevices {
    /// The device called `id`, from memory or by `look_up`. One that is not enrolled is looked up each time.
    pub(crate) fn find(
        &self,
        id: KeyId,
        look_up: impl FnOnce() -> Result<Option<KnownDevice>, LedgerError>,
    ) -> Result<Option<KnownDevice>, LedgerError> {
        if let Some(known) = self.remembered(|devices| devices.recall(&id)) {
            return Ok(Some(known));
        }
        // Not under the lock: others need not wait for the books.
        let found = look_up()?;
        if let Some(device) = &found {
            self.remembered(|devices| devices.remember(id, device.clone()));
        }
        Ok(found)
    }

    /// Forgets a device, which is looked up the next time.
    pub(crate) fn forget(&self, id: &KeyId) {
        self.remembered(|devices| devices.forget(id));
    }

    fn remembered<T>(&self, act: impl FnOnce(&mut Remembered<KeyId, KnownDevice>) -> T) -> T {
        // A panic elsewhere leaves nothing half done in a map.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::SecretKey;

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
        devices.forget(&id);
        assert_eq!(devices.find(id, || Ok(None)).expect("reads"), None);
    }
}

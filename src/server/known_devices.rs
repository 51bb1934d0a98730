//! The devices that were looked up, so that each is looked up once: in a database of several servers that is a round trip.
//!
//! Looking up is the work of one thread, which asks for all that are waited for at once. Whoever waits holds no other
//! thread meanwhile, so that a database that is slow, or many strangers, keep nobody waiting who is known.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::ledger::{Device, Ledger, LedgerError};
use super::problem::Refusal;
use super::remembered::Remembered;
use crate::protocol::{AccountId, KeyId, PublicKey};

/// How many devices are remembered at most: some megabytes.
const ROOM: usize = 32_768;
/// How many may wait to be looked up.
const WAITING: usize = 1_024;
/// How many are looked up at once.
const AT_ONCE: usize = 256;

/// What seldom changes about a device, once it is enrolled: whoever acts on it finds out from the books whether it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownDevice {
    pub(crate) account: AccountId,
    pub(crate) key: PublicKey,
    /// Whether it was revoked, which lasts for ever.
    pub(crate) revoked: bool,
}

/// The devices that were seen last, and the way to all others.
#[derive(Debug)]
pub(crate) struct KnownDevices {
    remembered: Mutex<Remembered<KeyId, KnownDevice>>,
    /// Taken when they are dropped, which ends the thread.
    asked: Option<mpsc::Sender<Asked>>,
    thread: Option<JoinHandle<()>>,
}

/// A device that somebody waits for.
#[derive(Debug)]
struct Asked {
    id: KeyId,
    answer: oneshot::Sender<Result<Option<KnownDevice>, Refusal>>,
}

impl KnownDevices {
    /// Starts the thread that looks them up in `books`.
    pub(crate) fn start(mut books: Box<dyn Ledger>) -> io::Result<Self> {
        let (asked, mut waiting) = mpsc::channel::<Asked>(WAITING);
        let thread = std::thread::Builder::new().name("iap-look-up".to_owned());
        let thread = thread.spawn(move || {
            while let Some(first) = waiting.blocking_recv() {
                let others = std::iter::from_fn(|| waiting.try_recv().ok());
                look_up(&mut *books, std::iter::once(first).chain(others).take(AT_ONCE).collect());
            }
        })?;
        let remembered = Mutex::new(Remembered::with_room(ROOM));
        Ok(Self { remembered, asked: Some(asked), thread: Some(thread) })
    }

    /// The device called `id`, from memory or from the books. One that is not enrolled is looked up each time.
    ///
    /// # Errors
    /// As [`KnownDevices::look_up`].
    pub(crate) async fn find(&self, id: KeyId) -> Result<Option<KnownDevice>, Refusal> {
        match self.remembered(|devices| devices.recall(&id)) {
            Some(known) => Ok(Some(known)),
            None => self.look_up(id).await,
        }
    }

    /// The device called `id` as it is in the books now.
    ///
    /// # Errors
    /// The books could not be read, or too many wait for them.
    pub(crate) async fn look_up(&self, id: KeyId) -> Result<Option<KnownDevice>, Refusal> {
        let (answer, found) = oneshot::channel();
        let asked = self.asked.as_ref().ok_or_else(Refusal::unavailable)?;
        asked.try_send(Asked { id, answer }).map_err(|_| Refusal::unavailable())?;
        // Nothing is answered only if the thread has panicked.
        let found = found.await.unwrap_or_else(|_| Err(Refusal::internal()))?;
        self.remembered(|devices| match &found {
            Some(device) => devices.remember(id, device.clone()),
            None => devices.forget(&id),
        });
        Ok(found)
    }

    /// Forgets a device, which is looked up the next time.
    pub(crate) fn forget(&self, id: &KeyId) {
        self.remembered(|devices| devices.forget(id));
    }

    fn remembered<T>(&self, act: impl FnOnce(&mut Remembered<KeyId, KnownDevice>) -> T) -> T {
        // A panic elsewhere leaves nothing half done in a map.
        act(&mut self.remembered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for KnownDevices {
    /// The books are closed when this returns.
    fn drop(&mut self) {
        drop(self.asked.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that looks up devices panicked");
        }
    }
}

fn look_up(books: &mut dyn Ledger, mut asked: Vec<Asked>) {
    asked.retain(|asked| !asked.answer.is_closed());
    let ids: Vec<KeyId> = asked.iter().map(|asked| asked.id).collect();
    match books.devices(&ids) {
        Ok(found) => {
            for (asked, device) in asked.into_iter().zip(found) {
                let known = device.map(|Device { account, key, revoked, .. }| KnownDevice { account, key, revoked });
                // Whoever asked may have gone.
                let _ = asked.answer.send(Ok(known));
            }
        }
        // What is wrong with one of them is no trouble of the others.
        Err(error) if asked.len() > 1 && !matches!(error, LedgerError::Unavailable(_)) => {
            asked.into_iter().for_each(|one| look_up(books, vec![one]));
        }
        Err(error) => {
            tracing::error!("`{}` devices could not be looked up: `{error}`", asked.len());
            for asked in asked {
                let _ = asked.answer.send(Err(Refusal::of_ledger(&error)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::{GameId, SecretKey};
    use crate::server::ledger::ModelLedger;

    fn books(devices: &[PublicKey]) -> Box<dyn Ledger> {
        let mut books = ModelLedger::new(GameId::new("arcade").expect("a name"));
        books.enrol(devices, None, 0).expect("enrols");
        Box::new(books)
    }

    #[tokio::test]
    async fn device_is_found_in_the_books_until_it_is_forgotten() {
        let [known, stranger] = [1, 2].map(|seed| SecretKey::from_seed(&[seed; 32]).public());
        let mut devices = KnownDevices::start(books(&[known])).expect("starts");
        let found = devices.find(known.id()).await.expect("reads");
        assert_eq!(found, Some(KnownDevice { account: known.id().guest_account(), key: known, revoked: false }));
        assert_eq!(devices.find(stranger.id()).await.expect("reads"), None);
        // Without a way to the books, only memory is left.
        devices.asked = None;
        assert_eq!(devices.find(known.id()).await.expect("it is remembered"), found);
        assert_eq!(devices.find(stranger.id()).await, Err(Refusal::unavailable()));
        devices.forget(&known.id());
        assert_eq!(devices.find(known.id()).await, Err(Refusal::unavailable()));
    }

    #[tokio::test]
    async fn many_that_are_asked_for_at_once_are_all_found() {
        let keys: Vec<PublicKey> = (0..=99).map(|seed| SecretKey::from_seed(&[seed; 32]).public()).collect();
        let devices = Arc::new(KnownDevices::start(books(&keys[..50])).expect("starts"));
        let ask = |key: &PublicKey| {
            let (devices, id) = (Arc::clone(&devices), key.id());
            tokio::spawn(async move { devices.find(id).await })
        };
        let asked: Vec<_> = keys.iter().map(ask).collect();
        for (number, found) in asked.into_iter().enumerate() {
            assert_eq!(found.await.expect("ends").expect("reads").is_some(), number < 50);
        }
    }
}

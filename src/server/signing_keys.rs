//! What a server signs with now, and what it shows for it: read from the data folder, and again when that changes.
//!
//! A new folder has one key, in `server.key`, which games pin and which signs everything. Once keys were rotated, that
//! one is the root: it signs lists of keys alone and need not be in the folder, and `signing.key` signs the rest, as
//! the list in `keys.jwt` allows. `docs/keys.md` tells all of it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use super::clock::Clock;
use super::error::ServerError;
use super::folder::DataFolder;
use super::key_file;
use crate::protocol::{
    GameId, Jwk, JwkSet, KeyId, KeyList, ListedKey, PublicKey, SecretKey, ServerKeys, Token, UnixSeconds, envelope,
};

/// How often it is looked whether the keys were changed.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long before its end a key is worth a warning.
const WARN_BEFORE: i64 = 14 * 86_400;
/// How long it is before the same is told of devices again, in seconds.
const TELL_AGAIN: i64 = 600;
/// How often the files are read again if they change while they are read.
const TRIES: u32 = 5;
/// How long the others of a change may take to be written.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// What a server signs with.
#[derive(Clone, Debug)]
pub struct SigningKeys {
    root: PublicKey,
    roots: Vec<PublicKey>,
    key: Arc<SecretKey>,
    span: Range<i64>,
    trusted: ServerKeys,
}

impl SigningKeys {
    /// What is in the folder of `game`'s store.
    ///
    /// # Errors
    /// A file is missing or damaged, or they do not belong together.
    pub fn read(folder: &DataFolder, game: &GameId) -> Result<Self, ServerError> {
        let list_file = folder.key_list_file();
        let mut list = key_file::text(&list_file)?;
        for _ in 1..TRIES {
            let keys = Self::with_list(folder, game, list.as_deref());
            // A key that is newer than the list that was read before it is not wrong.
            let again = key_file::text(&list_file)?;
            if again == list {
                return keys;
            }
            list = again;
            thread::sleep(BETWEEN_TRIES);
        }
        Self::with_list(folder, game, list.as_deref())
    }

    fn with_list(folder: &DataFolder, game: &GameId, list: Option<&str>) -> Result<Self, ServerError> {
        let list_file = folder.key_list_file();
        let Some(list) = list else {
            if folder.signing_key_file().exists() {
                let problem = "it is missing beside `signing.key`; copy `roots.pub`, `keys.jwt` and `signing.key` anew \
                               in this order. If there is no copy, `iap-server keys rotate` makes another list";
                return Err(key_file::damaged(&list_file, problem));
            }
            let key = folder.key()?;
            let root = key.public();
            let mut roots = vec![root];
            roots.extend(folder.roots()?.into_iter().filter(|other| *other != root));
            let trusted = ServerKeys::pinned(roots.iter().copied());
            return Ok(Self { root, roots, key: Arc::new(key), span: i64::MIN..i64::MAX, trusted });
        };
        let roots = folder.roots()?;
        let none = || key_file::damaged(&list_file, "`roots.pub` beside it names no root that could have signed it");
        let first = roots.first().copied().ok_or_else(none)?;
        let mut trusted = ServerKeys::pinned(roots.iter().copied());
        let token = Token::from_text(list.trim_end());
        trusted.learn(&token, game).map_err(|error| key_file::damaged(&list_file, error))?;
        let list: KeyList = envelope::claims_of_stored(&token).map_err(|error| key_file::damaged(&list_file, error))?;
        let found = Found::in_folder(folder, &list.keys)?.ok_or_else(|| {
            let path = folder.signing_key_file();
            let problem = match path.exists() {
                true => "the list of keys in `keys.jwt` does not allow it to sign; copy both anew",
                false => "it is missing; copy it from where keys were rotated, or run `iap-server keys rotate`",
            };
            key_file::damaged(&path, problem)
        })?;
        // A root that was revoked is nothing to pin, unless there is no other.
        let root = roots.iter().copied().find(|root| trusted.revoked_at(root.id()).is_none()).unwrap_or(first);
        Ok(Self { root, roots, key: Arc::new(found.key), span: found.span, trusted })
    }

    /// The first of the keys that games pin, of those that are not revoked.
    pub fn root(&self) -> PublicKey {
        self.root
    }

    /// The keys that games pin, the first one first, revoked or not.
    pub fn roots(&self) -> &[PublicKey] {
        &self.roots
    }

    /// The id of the key that signs.
    pub fn key_id(&self) -> KeyId {
        self.key.id()
    }

    /// The key that signs.
    pub(crate) fn key(&self) -> &Arc<SecretKey> {
        &self.key
    }

    /// From when on until when it may.
    pub(crate) fn span(&self) -> &Range<i64> {
        &self.span
    }

    /// Every key whose receipts may still count, and for which time.
    pub fn trusted(&self) -> &ServerKeys {
        &self.trusted
    }

    /// The list, if `number` is older.
    pub(crate) fn list_after(&self, number: u64) -> Option<&Token> {
        if self.trusted.number() > number { self.trusted.list() } else { None }
    }

    /// When the key that signs comes to its end, if it does.
    pub fn until(&self) -> Option<i64> {
        (self.span.end != i64::MAX).then_some(self.span.end)
    }

    /// Every key that signs receipts or did, for whoever verifies them.
    pub fn key_set(&self) -> JwkSet {
        JwkSet { keys: self.trusted.all().into_iter().map(Jwk::from).collect() }
    }
}

#[cfg(all(test, feature = "client"))]
impl SigningKeys {
    /// Keys that are in no folder: `key`, for its time, as the list says, if there is one, that `root` has signed.
    pub(crate) fn simulated(
        root: PublicKey,
        (key, span): (SecretKey, Range<UnixSeconds>),
        list: Option<&Token>,
        game: &GameId,
    ) -> Self {
        let mut trusted = ServerKeys::pinned([root]);
        if let Some(list) = list {
            trusted.learn(list, game).expect("a list that the root has signed");
        }
        Self { root, roots: vec![root], key: Arc::new(key), span, trusted }
    }
}

/// The key to sign with, of those that are in the folder.
pub(super) struct Found {
    /// The key.
    pub(super) key: SecretKey,
    /// The file that it is in.
    pub(super) file: PathBuf,
    span: Range<UnixSeconds>,
}

impl Found {
    /// The newest key that the list allows to sign. A crash, or copying file by file, leaves a list that is newer than
    /// the key in `signing.key`; the first key counts for a while after the first rotation.
    ///
    /// # Errors
    /// A file cannot be read, or is no key.
    pub(super) fn in_folder(folder: &DataFolder, list: &[ListedKey]) -> Result<Option<Self>, ServerError> {
        let mut files = vec![folder.next_signing_key_file(), folder.signing_key_file()];
        if !folder.signing_key_file().exists() {
            files.push(folder.key_file());
        }
        for file in files {
            let key = match key_file::secret(&file) {
                Err(ServerError::KeyMissing(_)) => continue,
                key => key?,
            };
            let x = key.public().to_string();
            if let Some(listed) = list.iter().find(|listed| listed.x == x && listed.revoked_at.is_none()) {
                return Ok(Some(Self { key, file, span: listed.from..listed.until }));
            }
        }
        Ok(None)
    }
}

/// The keys of a running server, which notices when they change.
#[derive(Debug)]
pub(crate) struct CurrentKeys {
    folder: DataFolder,
    game: GameId,
    clock: Arc<dyn Clock>,
    keys: RwLock<Arc<SigningKeys>>,
    /// When it was told that devices know more.
    told_at: AtomicI64,
}

impl CurrentKeys {
    pub(crate) fn new(folder: DataFolder, game: GameId, clock: Arc<dyn Clock>, keys: SigningKeys) -> Self {
        Self { folder, game, clock, keys: RwLock::new(Arc::new(keys)), told_at: AtomicI64::new(i64::MIN) }
    }

    /// The first root that is not revoked: the key for games to pin.
    pub(crate) fn root(&self) -> PublicKey {
        self.get().root()
    }

    /// What to sign with now.
    pub(crate) fn get(&self) -> Arc<SigningKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Signs with these keys from now on.
    #[cfg(all(test, feature = "client"))]
    pub(crate) fn set(&self, keys: SigningKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Tells the operator, but not often, that a device knows the list `known`, if that is newer than the server's: it
    /// believes nothing that is signed here. Says whether it was told.
    pub(crate) fn notice_newer(&self, known: u64) -> bool {
        let number = self.get().trusted.number();
        let (now, told_at) = (self.clock.now(), self.told_at.load(Ordering::Relaxed));
        if known <= number || now.saturating_sub(told_at) < TELL_AGAIN {
            return false;
        }
        let mine = self.told_at.compare_exchange(told_at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            tracing::error!(
                "a device has the list of keys `{known}` and this server only `{number}`, so that games may believe \
                 nothing that it signs: copy the newest `roots.pub`, `keys.jwt` and `signing.key` here, or run \
                 `iap-server keys rotate`"
            );
        }
        mine
    }

    /// Reads the folder again from time to time, for as long as the server runs.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut told = None;
        let mut warned = None;
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let this = Arc::clone(&self);
            let trouble = tokio::task::spawn_blocking(move || this.look_again()).await;
            let trouble = trouble.unwrap_or_else(|error| Some(error.to_string()));
            if trouble != told {
                if let Some(trouble) = &trouble {
                    tracing::error!("the changed keys are not used: {trouble}");
                }
                told = trouble;
            }
            let (keys, now) = (self.get(), self.clock.now());
            if let Some(until) = keys.until().filter(|until| now >= until.saturating_sub(WARN_BEFORE))
                && warned != Some(now / 86_400)
            {
                warned = Some(now / 86_400);
                tracing::warn!("the signing key ends at {until}: run `iap-server keys rotate` before");
            }
        }
    }

    /// Reads the folder, and says what is wrong with it, if anything is.
    fn look_again(&self) -> Option<String> {
        match SigningKeys::read(&self.folder, &self.game) {
            Ok(keys) => {
                let before = self.get();
                if keys.key_id() != before.key_id() || keys.trusted != before.trusted {
                    let (id, number) = (keys.key_id(), keys.trusted.number());
                    *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                    tracing::info!("signing with the key `{id}` of the list `{number}`");
                }
                None
            }
            Err(error) => Some(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct SetClock(AtomicI64);

    impl Clock for SetClock {
        fn now(&self) -> UnixSeconds {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn device_that_knows_a_newer_list_is_told_to_the_operator_but_not_often() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let folder = DataFolder::create(place.path()).expect("makes it");
        let (_, secret) = key_file::random_secret().expect("a key");
        key_file::write(&folder.key_file(), &secret).expect("writes");
        let game: GameId = "arcade".parse().expect("a name");
        let (clock, keys) = (Arc::new(SetClock::default()), SigningKeys::read(&folder, &game).expect("reads"));
        let keys = CurrentKeys::new(folder, game, Arc::<SetClock>::clone(&clock), keys);
        assert!(!keys.notice_newer(0), "it is as old as the server's");
        assert!(keys.notice_newer(1));
        clock.0.store(TELL_AGAIN - 1, Ordering::Relaxed);
        assert!(!keys.notice_newer(2));
        clock.0.store(TELL_AGAIN, Ordering::Relaxed);
        assert!(keys.notice_newer(1));
    }
}

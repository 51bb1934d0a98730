//! What a server signs with now, and what it shows for it: read from the data folder, and again when that changes.
//!
//! A new folder has one key, in `server.key`, which games pin and which signs everything. Once keys were rotated, that
//! one is the root: it signs lists of keys alone and need not be in the folder, and `signing.key` signs the rest, as
//! the list in `keys.jwt` allows. `docs/keys.md` tells all of it.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::clock::Clock;
use super::error::ServerError;
use super::folder::DataFolder;
use super::key_file;
use crate::protocol::{GameId, Jwk, JwkSet, KeyId, KeyList, PublicKey, SecretKey, ServerKeys, Token, envelope};

/// How often it is looked whether the keys were changed.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long before its end a key is worth a warning.
const WARN_BEFORE: i64 = 14 * 86_400;

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
        let Some(list) = key_file::text(&list_file)? else {
            let key = folder.key()?;
            let root = key.public();
            let mut roots = vec![root];
            roots.extend(folder.roots()?.into_iter().filter(|other| *other != root));
            let trusted = ServerKeys::pinned(roots.iter().copied());
            return Ok(Self { root, roots, key: Arc::new(key), span: i64::MIN..i64::MAX, trusted });
        };
        let roots = folder.roots()?;
        let none = || key_file::damaged(&list_file, "`roots.pub` beside it names no root that could have signed it");
        let root = roots.first().copied().ok_or_else(none)?;
        let mut trusted = ServerKeys::pinned(roots.iter().copied());
        let token = Token::from_text(list.trim_end());
        trusted.learn(&token, game).map_err(|error| key_file::damaged(&list_file, error))?;
        let key = key_file::secret(&folder.signing_key_file()).map_err(|error| match error {
            ServerError::KeyMissing(path) => {
                key_file::damaged(&path, "it is missing; run `iap-server keys rotate` for a new one")
            }
            error => error,
        })?;
        let list: KeyList = envelope::claims_of_stored(&token).map_err(|error| key_file::damaged(&list_file, error))?;
        let x = key.public().to_string();
        let listed = list.keys.iter().find(|listed| listed.x == x && listed.revoked_at.is_none());
        let Some(listed) = listed else {
            let path = folder.signing_key_file();
            return Err(key_file::damaged(&path, "the list of keys in `keys.jwt` does not allow it to sign"));
        };
        Ok(Self { root, roots, key: Arc::new(key), span: listed.from..listed.until, trusted })
    }

    /// The first of the keys that games pin.
    pub fn root(&self) -> PublicKey {
        self.root
    }

    /// The keys that games pin, the first one first.
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

/// The keys of a running server, which notices when they change.
#[derive(Debug)]
pub(crate) struct CurrentKeys {
    folder: DataFolder,
    game: GameId,
    clock: Arc<dyn Clock>,
    root: PublicKey,
    keys: RwLock<Arc<SigningKeys>>,
}

impl CurrentKeys {
    pub(crate) fn new(folder: DataFolder, game: GameId, clock: Arc<dyn Clock>, keys: SigningKeys) -> Self {
        Self { folder, game, clock, root: keys.root(), keys: RwLock::new(Arc::new(keys)) }
    }

    /// The first root: the key for games to pin.
    pub(crate) fn root(&self) -> PublicKey {
        self.root
    }

    /// What to sign with now.
    pub(crate) fn get(&self) -> Arc<SigningKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
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

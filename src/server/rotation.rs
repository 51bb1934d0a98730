//! Changing the keys that a server signs with: a new one, one that must not count any more, a second root.
//!
//! The list is written before the key that it allows, and the key before anything is signed with it: a crash between
//! leaves a list with a key that nobody has, and the server signs on with the one before.

use std::path::Path;

use super::error::ServerError;
use super::folder::DataFolder;
use super::key_file;
use super::signing_keys::SigningKeys;
use crate::protocol::server_keys::MAX_KEYS;
use crate::protocol::{
    GameId, KeyId, KeyList, ListedKey, PublicKey, SecretKey, ServerKeys, Token, UnixSeconds, envelope,
};

/// How long a new key signs, in days, unless it is said otherwise.
pub const DAYS: u32 = 90;
/// How long the key before it goes on to count, in days, unless it is said otherwise.
pub const OVERLAP_DAYS: u32 = 7;

const DAY: UnixSeconds = 86_400;

/// What a rotation or a revocation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The number of the new list.
    pub number: u64,
    /// The key that signs from now on.
    pub signing: KeyId,
    /// Until when.
    pub until: UnixSeconds,
}

/// How long the new key signs, and the one before it goes on to count.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The present.
    pub now: UnixSeconds,
    /// How many days the new key signs, from 1.
    pub days: u32,
    /// How many days what the one before it signs goes on to count.
    pub overlap_days: u32,
}

impl Times {
    fn until(self) -> UnixSeconds {
        self.now.saturating_add(UnixSeconds::from(self.days).saturating_mul(DAY))
    }

    fn overlap(self) -> UnixSeconds {
        self.now.saturating_add(UnixSeconds::from(self.overlap_days).saturating_mul(DAY))
    }
}

/// Makes a new signing key, and a list that allows it, signed by the root in the file `root`, or in `server.key`.
///
/// # Errors
/// The root is missing, or not one of the store's; a file cannot be read or written.
pub fn rotate(folder: &DataFolder, game: &GameId, root: Option<&Path>, times: Times) -> Result<Rotated, ServerError> {
    let _lock = folder.lock_keys()?;
    let mut list = Draft::open(folder, game, root)?;
    list.renew(folder, times)?;
    list.publish(folder, times)
}

/// Lets nothing count that the key called `revoked` signed from `at` on, and makes a new signing key if it is the one
/// that signs now.
///
/// # Errors
/// As [`rotate`], or there is no such key, or it is the root that would sign the list.
pub fn revoke(
    folder: &DataFolder,
    game: &GameId,
    root: Option<&Path>,
    (revoked, at): (KeyId, UnixSeconds),
    times: Times,
) -> Result<Rotated, ServerError> {
    let _lock = folder.lock_keys()?;
    let mut list = Draft::open(folder, game, root)?;
    list.revoke(revoked, at)?;
    if list.number == 0 || list.signing.is_none_or(|signing| signing.id() == revoked) {
        list.renew(folder, times)?;
    }
    list.publish(folder, times)
}

/// Makes a second root in the file `path`, which must not be there. Games that pin both go on if one of them is lost.
///
/// # Errors
/// The file is there or cannot be written, or the folder has no root yet.
pub fn second_root(folder: &DataFolder, game: &GameId, path: &Path) -> Result<PublicKey, ServerError> {
    let _lock = folder.lock_keys()?;
    let keys = SigningKeys::read(folder, game)?;
    if path.exists() {
        return Err(key_file::damaged(path, "it is there already; name a file that is not"));
    }
    let failed = |source| ServerError::Folder { path: path.to_owned(), source };
    let (key, secret) = key_file::random_secret().map_err(failed)?;
    key_file::write(path, &secret).map_err(failed)?;
    let key = key.public();
    let mut roots = keys.roots().to_vec();
    roots.push(key);
    folder.write_roots(&roots)?;
    Ok(key)
}

/// The next list, while it is made.
struct Draft {
    root: SecretKey,
    roots: Vec<PublicKey>,
    game: GameId,
    /// The number of the list before it; 0 if there is none.
    number: u64,
    keys: Vec<ListedKey>,
    /// The key that signs; none if it is lost.
    signing: Option<PublicKey>,
    /// Its file's text, if it is new.
    new_secret: Option<String>,
}

impl Draft {
    fn open(folder: &DataFolder, game: &GameId, root: Option<&Path>) -> Result<Self, ServerError> {
        let root_file = root.map_or_else(|| folder.key_file(), Path::to_owned);
        let root = key_file::secret(&root_file)?;
        let list_file = folder.key_list_file();
        let mut roots = folder.roots()?;
        let (number, keys, signing) = match key_file::text(&list_file)? {
            None => {
                // The first root, which signs everything so far, may be the one that is lost.
                let signing = match (folder.key(), roots.first()) {
                    (Err(ServerError::KeyMissing(_)), Some(first)) => *first,
                    (key, _) => key?.public(),
                };
                roots.retain(|root| *root != signing);
                roots.insert(0, signing);
                // What it signed until now goes on to count.
                (0, vec![ListedKey::new(signing, 0, UnixSeconds::MAX)], Some(signing))
            }
            Some(text) => {
                let token = Token::from_text(text.trim_end());
                let damaged = |problem: String| key_file::damaged(&list_file, problem);
                let mut trusted = ServerKeys::pinned(roots.iter().copied());
                trusted.learn(&token, game).map_err(|error| damaged(error.to_string()))?;
                let list: KeyList = envelope::claims_of_stored(&token).map_err(|error| damaged(error.to_string()))?;
                let signing = match key_file::secret(&folder.signing_key_file()) {
                    Err(ServerError::KeyMissing(_)) => None,
                    key => Some(key?.public()),
                };
                (list.number, list.keys, signing)
            }
        };
        if !roots.contains(&root.public()) {
            return Err(key_file::damaged(&root_file, "it is not a root of this store; pass the root with --root"));
        }
        Ok(Self { root, roots, game: game.clone(), number, keys, signing, new_secret: None })
    }

    /// Lets the key that signs end soon, and adds a new one.
    fn renew(&mut self, folder: &DataFolder, times: Times) -> Result<(), ServerError> {
        let before = self.signing.map(|signing| signing.to_string());
        for listed in self.keys.iter_mut().filter(|listed| Some(&listed.x) == before.as_ref()) {
            listed.until = listed.until.min(times.overlap());
        }
        let (key, text) = key_file::random_secret().map_err(|error| folder.unusable(error))?;
        self.signing = Some(key.public());
        self.keys.push(ListedKey::new(key.public(), times.now, times.until()));
        self.new_secret = Some(text);
        if self.keys.len() > MAX_KEYS { Err(ServerError::TooManyKeys) } else { Ok(()) }
    }

    fn revoke(&mut self, kid: KeyId, at: UnixSeconds) -> Result<(), ServerError> {
        if kid == self.root.id() {
            return Err(ServerError::RootRevokesItself);
        }
        let is_it = |listed: &&mut ListedKey| listed.key().ok().flatten().is_some_and(|key| key.id() == kid);
        match (self.keys.iter_mut().find(is_it), self.roots.iter().find(|root| root.id() == kid)) {
            (Some(listed), _) => listed.revoked_at = Some(listed.revoked_at.map_or(at, |before| before.min(at))),
            (None, Some(root)) => {
                let listed = ListedKey::new(*root, 0, at);
                self.keys.push(ListedKey { revoked_at: Some(at), ..listed });
            }
            (None, None) => return Err(ServerError::NoSuchKey(kid)),
        }
        Ok(())
    }

    /// Signs the list and puts it, and then the key that is new, into the folder.
    fn publish(self, folder: &DataFolder, times: Times) -> Result<Rotated, ServerError> {
        let failed = |error| folder.unusable(error);
        let number = self.number.saturating_add(1);
        let signing = self.signing.ok_or_else(|| ServerError::KeyMissing(folder.signing_key_file()))?;
        let until = self.keys.iter().find(|listed| listed.x == signing.to_string());
        let until = until.map_or(times.now, |listed| listed.until);
        let list = KeyList { root: self.root.id(), game: self.game, issued_at: times.now, number, keys: self.keys };
        let list = list.sign(&self.root).map_err(|error| key_file::damaged(&folder.key_list_file(), error))?;
        folder.write_roots(&self.roots)?;
        key_file::write(&folder.key_list_file(), &format!("{list}\n")).map_err(failed)?;
        if let Some(secret) = self.new_secret {
            key_file::write(&folder.signing_key_file(), &secret).map_err(failed)?;
        }
        Ok(Rotated { number, signing: signing.id(), until })
    }
}

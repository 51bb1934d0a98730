//! Changing the keys that a server signs with: a new one, one that must not count any more, a second root.
//!
//! The new key is written as `signing.next`, then the list that allows it; then it becomes `signing.key`. Whatever a
//! crash leaves of that, one of the keys in the folder is one that the list allows, and the server signs with it.

use std::path::Path;

use super::error::ServerError;
use super::folder::DataFolder;
use super::key_file;
use super::signing_keys::{Found, SigningKeys};
use crate::protocol::server_keys::MAX_KEYS;
use crate::protocol::{
    GameId, KeyId, KeyList, ListedKey, PublicKey, SecretKey, ServerKeys, Token, UnixSeconds, envelope,
};

/// How long a new key signs, in days, unless it is said otherwise.
pub const DAYS: u32 = 90;
/// How long the key before it goes on to count, in days, unless it is said otherwise.
pub const OVERLAP_DAYS: u32 = 7;

const DAY: UnixSeconds = 86_400;
/// How far the clock of whoever judges may be behind the one that a key is made by.
const LEEWAY: UnixSeconds = 300;
/// How long running servers may need to take a new key.
pub(crate) const TAKEN_WITHIN: UnixSeconds = 60;

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
    /// How many days what the one before it signs goes on to count; a minute at least.
    pub overlap_days: u32,
}

impl Times {
    fn from(self) -> UnixSeconds {
        self.now.saturating_sub(LEEWAY)
    }

    fn until(self) -> UnixSeconds {
        self.now.saturating_add(UnixSeconds::from(self.days).saturating_mul(DAY))
    }

    fn overlap(self) -> UnixSeconds {
        let overlap = UnixSeconds::from(self.overlap_days).saturating_mul(DAY).max(TAKEN_WITHIN);
        self.now.saturating_add(overlap)
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
/// that signs now. Where the list is full, the keys that ended first are dropped from it.
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
    while list.keys.len() > MAX_KEYS && list.drop_first_ended(times.now) {}
    list.publish(folder, times)
}

/// Drops the keys from the list that ended before `before`. What they signed can then be verified by nobody: a device
/// that has yet to read a receipt of theirs refuses the answers that hold it. Says how many there were, too.
///
/// # Errors
/// As [`rotate`], or there are none.
pub fn prune(
    folder: &DataFolder,
    game: &GameId,
    root: Option<&Path>,
    before: UnixSeconds,
    times: Times,
) -> Result<(usize, Rotated), ServerError> {
    let _lock = folder.lock_keys()?;
    let mut list = Draft::open(folder, game, root)?;
    let count = list.keys.len();
    while list.drop_first_ended(before.min(times.now)) {}
    match count - list.keys.len() {
        0 => Err(ServerError::NoKeyEnded),
        dropped => Ok((dropped, list.publish(folder, times)?)),
    }
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
                // What it signed until now goes on to count, and so does what another key did whose list is lost.
                let mut keys = vec![ListedKey::new(signing, 0, UnixSeconds::MAX)];
                match key_file::secret(&folder.signing_key_file()) {
                    Err(ServerError::KeyMissing(_)) => {}
                    key => keys.push(ListedKey::new(key?.public(), 0, UnixSeconds::MAX)),
                }
                (0, keys, Some(signing))
            }
            Some(text) => {
                let token = Token::from_text(text.trim_end());
                let damaged = |problem: String| key_file::damaged(&list_file, problem);
                let mut trusted = ServerKeys::pinned(roots.iter().copied());
                trusted.learn(&token, game).map_err(|error| damaged(error.to_string()))?;
                let list: KeyList = envelope::claims_of_stored(&token).map_err(|error| damaged(error.to_string()))?;
                if trusted.revoked_at(root.id()).is_some() {
                    return Err(key_file::damaged(&root_file, "it is revoked; pass the other root with --root"));
                }
                let found = Found::in_folder(folder, &list.keys)?;
                // A rotation that a crash ended is brought to its end, before another key takes that name.
                if let Some(found) = found.as_ref().filter(|found| found.file == folder.next_signing_key_file()) {
                    let renamed = key_file::rename(&found.file, &folder.signing_key_file());
                    renamed.map_err(|error| folder.unusable(error))?;
                }
                (list.number, list.keys, found.map(|found| found.key.public()))
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
        let ends = |listed: &&mut ListedKey| Some(&listed.x) == before.as_ref() || listed.until == UnixSeconds::MAX;
        for listed in self.keys.iter_mut().filter(ends) {
            listed.until = listed.until.min(times.overlap());
        }
        let (key, text) = key_file::random_secret().map_err(|error| folder.unusable(error))?;
        self.signing = Some(key.public());
        self.keys.push(ListedKey::new(key.public(), times.from(), times.until()));
        self.new_secret = Some(text);
        Ok(())
    }

    /// Drops the key that ended first, if one ended before `before`. A root that is revoked must stay: a list
    /// without it would let it sign lists again.
    fn drop_first_ended(&mut self, before: UnixSeconds) -> bool {
        let signing = self.signing.map(|signing| signing.to_string());
        let roots: Vec<_> = self.roots.iter().map(ToString::to_string).collect();
        let stays = |listed: &ListedKey| {
            Some(&listed.x) == signing.as_ref() || listed.revoked_at.is_some() && roots.contains(&listed.x)
        };
        let end = |listed: &ListedKey| listed.revoked_at.map_or(listed.until, |at| at.min(listed.until));
        let ended = self.keys.iter().enumerate().filter(|(_, listed)| end(listed) < before && !stays(listed));
        let first = ended.min_by_key(|(_, listed)| end(listed)).map(|(index, _)| index);
        first.map(|first| self.keys.remove(first)).is_some()
    }

    fn revoke(&mut self, kid: KeyId, at: UnixSeconds) -> Result<(), ServerError> {
        if kid == self.root.id() {
            return Err(ServerError::RootRevokesItself);
        }
        let is_it = |listed: &&mut ListedKey| listed.key().ok().flatten().is_some_and(|key| key.id() == kid);
        match (self.keys.iter_mut().find(is_it), self.roots.iter().find(|root| root.id() == kid)) {
            (Some(listed), _) => listed.revoked_at = Some(listed.revoked_at.map_or(at, |before| before.min(at))),
            // It signed no receipts, so none of its counts, whichever time a thief writes into it.
            (None, Some(root)) => {
                self.keys.push(ListedKey { revoked_at: Some(0), ..ListedKey::new(*root, 0, 0) });
            }
            (None, None) => return Err(ServerError::NoSuchKey(kid)),
        }
        Ok(())
    }

    /// Signs the list and puts it into the folder, between the two names that the key has that is new.
    fn publish(self, folder: &DataFolder, times: Times) -> Result<Rotated, ServerError> {
        let failed = |error| folder.unusable(error);
        if self.keys.len() > MAX_KEYS {
            return Err(ServerError::TooManyKeys);
        }
        // Of lists that were made without knowing of each other, the later one must count: where a folder of before a
        // rotation was restored, or none at all.
        let number = self.number.saturating_add(1).max(u64::try_from(times.now).unwrap_or(0));
        let signing = self.signing.ok_or_else(|| ServerError::KeyMissing(folder.signing_key_file()))?;
        let until = self.keys.iter().find(|listed| listed.x == signing.to_string());
        let until = until.map_or(times.now, |listed| listed.until);
        let list = KeyList { root: self.root.id(), game: self.game, issued_at: times.now, number, keys: self.keys };
        let list = list.sign(&self.root).map_err(|error| key_file::damaged(&folder.key_list_file(), error))?;
        let next = folder.next_signing_key_file();
        if let Some(secret) = &self.new_secret {
            key_file::write(&next, secret).map_err(failed)?;
        }
        folder.write_roots(&self.roots)?;
        key_file::write(&folder.key_list_file(), &format!("{list}\n")).map_err(failed)?;
        if self.new_secret.is_some() {
            key_file::rename(&next, &folder.signing_key_file()).map_err(failed)?;
        }
        Ok(Rotated { number, signing: signing.id(), until })
    }
}

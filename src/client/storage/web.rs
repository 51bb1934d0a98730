//! A storage in a browser's database: the same journal as in a file, byte for byte, an append to a row.
//!
//! The rows one after the other are a journal of `docs/journal.md`, and are read as one. What a transaction writes is
//! there as a whole or not at all, so nothing is ever torn, and nothing needs to be renamed. All of the journal is kept in
//! memory besides: where the browser has failed once, or has thrown away what it kept while the game runs, everything is
//! written anew with the next append, and nothing that was acknowledged is lost.
//!
//! One page at a time writes: it holds a lock of the browser's (Web Locks). Others open read-only, and one of them takes
//! over when that page is closed, or crashes. Who has the lock leaves a mark of its own in the database, and looks for it
//! in each transaction: a page that was put away with its lock, and comes back when another has written, writes nothing
//! over that; it waits for the lock behind the other.

mod browser;
#[cfg(target_family = "wasm")]
mod indexed_db;
#[cfg(target_family = "wasm")]
mod lock;
#[cfg(target_family = "wasm")]
mod persistence;

use base64ct::{Base64UrlUnpadded, Encoding};
pub use browser::{Browser, BrowserError, Change, Kept, Locking, Place, Unwritten};
#[cfg(target_family = "wasm")]
pub use indexed_db::IndexedDb;

use super::memory::new_seed;
use super::{Access, Doing, Keep, Opened, Persistence, Replay, Storage, StorageError, keep_after_damage, no_journal};
use crate::client::clock::random_bits;
use crate::client::journal::{self, Found, FrameWriter, HEADER, VERSION};
use crate::client::record::Record;
use crate::client::seeded::{Bug, seeded};
use crate::protocol::SecretKey;
use crate::protocol::digest::base64url_32;

/// How the database is called to a person.
const SHOWN: &str = "in this browser";
/// What is said where another page has the lock.
const OPEN_ELSEWHERE: &str = "this game is open in another tab or window of this browser; close it there to buy here";
/// How many damaged parts are kept.
const MOST_ASIDE: usize = 16;

/// A storage in a browser.
#[derive(Debug)]
pub struct WebStorage<B: Browser> {
    browser: B,
    access: Option<Access>,
    /// Whether another page has the lock.
    is_open_elsewhere: bool,
    contents: Contents,
    /// How much of the journal is known to be in the database, in bytes and in rows.
    written: (usize, u32),
    /// Whether everything is to be written anew.
    is_anew: bool,
    /// Whether something may be in the database that should not: a write has failed, and none has succeeded since.
    is_unsure: bool,
    /// The mark that this page has left.
    mark: Vec<u8>,
    /// What is to be put aside with the next write.
    aside: Vec<(Place, Vec<u8>)>,
    asides: usize,
    /// What there was before the calls whose outcome is not durable yet.
    before: Option<Before>,
    /// Whether another page has taken over since it was opened.
    is_overtaken: bool,
}

/// A journal and the device's keys.
#[derive(Clone, Debug, Default)]
struct Contents {
    key: Option<Vec<u8>>,
    next_key: Option<Vec<u8>>,
    journal: Vec<u8>,
    frames: FrameWriter,
}

/// How to go back to what there was.
#[derive(Debug)]
enum Before {
    /// The journal was this long.
    Shorter(usize, FrameWriter),
    /// Everything was otherwise.
    Other(Box<Contents>),
}

impl<B: Browser> WebStorage<B> {
    /// A storage in this browser.
    pub fn new(browser: B) -> Self {
        Self {
            browser,
            access: None,
            is_open_elsewhere: false,
            contents: Contents::default(),
            written: (0, 0),
            is_anew: false,
            is_unsure: false,
            mark: Vec::new(),
            aside: Vec::new(),
            asides: 0,
            before: None,
            is_overtaken: false,
        }
    }

    async fn load(&mut self) -> Result<(), StorageError> {
        self.access = None;
        let locking = self.browser.lock().await;
        let locking = if seeded(Bug::WriteBesideAnother) { Locking::Held } else { locking };
        self.is_open_elsewhere = locking == Locking::Elsewhere;
        let access = match locking {
            Locking::Held => {
                self.mark = random_bits().ok_or(StorageError::NoRandomness)?.to_vec();
                if seeded(Bug::SkipMark) {
                    self.mark.clear();
                }
                match self.browser.claim(&self.mark).await {
                    Ok(()) => Access::ReadWrite,
                    Err(error) => Access::ReadOnly(not_written(error.trouble).to_string()),
                }
            }
            Locking::Elsewhere => Access::ReadOnly(OPEN_ELSEWHERE.to_owned()),
            Locking::Impossible(why) => {
                Access::ReadOnly(format!("pages cannot be locked here ({why}); open the game over HTTPS to buy"))
            }
        };
        let kept = self.browser.read().await.map_err(|error| StorageError::Browser {
            action: "reading",
            trouble: error.trouble.trim_end_matches('.').to_owned(),
            advice: "allow this page to keep data in this browser, and load it again",
        })?;
        let mut contents = Contents::default();
        (self.written, self.asides, self.before) = ((0, 0), 0, None);
        (self.is_anew, self.is_unsure, self.is_overtaken) = (false, false, false);
        self.aside.clear();
        for (place, bytes) in kept {
            match place {
                Place::Key => contents.key = Some(bytes),
                Place::NextKey => contents.next_key = Some(bytes),
                Place::Journal(row) => {
                    // Where a row is missing, the number of the next append shows it.
                    contents.journal.extend_from_slice(&bytes);
                    self.written = (contents.journal.len(), row.saturating_add(1));
                }
                Place::Damaged(_) => self.asides += 1,
                Place::Mark => {}
            }
        }
        self.contents = contents;
        self.access = Some(access);
        Ok(())
    }

    /// Writes what the last calls left to be written.
    async fn write(&mut self) -> Result<(), StorageError> {
        let (length, rows) = self.written;
        let first_new = if self.is_anew { 0 } else { length };
        let row = if self.is_anew { 0 } else { rows.saturating_sub(u32::from(seeded(Bug::SameRow))) };
        let mut puts = self.aside.clone();
        if self.is_anew && !seeded(Bug::AnewWithoutKeys) {
            let keys = [(Place::Key, &self.contents.key), (Place::NextKey, &self.contents.next_key)];
            puts.extend(keys.into_iter().filter_map(|(place, key)| Some((place, key.clone()?))));
        }
        puts.push((Place::Journal(row), self.contents.journal[first_new..].to_vec()));
        let change = Change { mark: self.mark.clone(), anew: self.is_anew, puts };
        let Err(error) = self.browser.write(change).await else {
            self.written = (self.contents.journal.len(), row.saturating_add(1));
            self.before = None;
            (self.is_anew, self.is_unsure) = (false, false);
            self.aside.clear();
            return Ok(());
        };
        match self.before.take().filter(|_| !seeded(Bug::KeepRefused)) {
            Some(Before::Shorter(length, frames)) => {
                self.contents.journal.truncate(length);
                self.contents.frames = frames;
            }
            Some(Before::Other(contents)) => self.contents = *contents,
            None => {}
        }
        match error.left {
            Unwritten::AsItWas => {}
            Unwritten::Unknown => {
                // Whatever the database holds now, the next write puts what should be there in its place.
                self.is_anew |= !seeded(Bug::AppendAfterUnknown);
                self.is_unsure = !seeded(Bug::UnknownIsFailure);
            }
            Unwritten::Overtaken => {
                self.browser.give_up_lock();
                self.is_overtaken = !seeded(Bug::StayOvertaken);
                self.access = Some(Access::ReadOnly(OPEN_ELSEWHERE.to_owned()));
            }
        }
        let refused = match self.is_overtaken {
            true => StorageError::ReadOnly(OPEN_ELSEWHERE.to_owned()),
            false => not_written(error.trouble),
        };
        Err(if self.is_unsure { StorageError::Uncertain(Box::new(refused)) } else { refused })
    }

    /// The contents, for a change that more than appends.
    fn change(&mut self) -> Result<&mut Contents, StorageError> {
        self.check_writable()?;
        match &self.before {
            Some(Before::Other(_)) => {}
            Some(Before::Shorter(length, frames)) => {
                let mut before = self.contents.clone();
                before.journal.truncate(*length);
                before.frames = *frames;
                self.before = Some(Before::Other(Box::new(before)));
            }
            None => self.before = Some(Before::Other(Box::new(self.contents.clone()))),
        }
        self.is_anew = true;
        Ok(&mut self.contents)
    }

    fn check_writable(&self) -> Result<(), StorageError> {
        match &self.access {
            Some(Access::ReadWrite) => Ok(()),
            Some(Access::ReadOnly(why)) => Err(StorageError::ReadOnly(why.clone())),
            None => Err(StorageError::ReadOnly("it is not open".to_owned())),
        }
    }

    fn read_key(text: Option<&Vec<u8>>) -> Result<Option<SecretKey>, StorageError> {
        let Some(text) = text else { return Ok(None) };
        let seed = std::str::from_utf8(text).ok().and_then(base64url_32);
        let key = seed.map(|seed| SecretKey::from_seed(&seed));
        key.map(Some).ok_or_else(|| StorageError::KeyDamaged { path: SHOWN.to_owned() })
    }

    /// Makes the journal one that can be appended to.
    fn mend(&mut self, found: &Found, troubles: &mut Vec<String>) -> Result<(), StorageError> {
        self.contents.frames = FrameWriter::after(found.last_append);
        if found.version == 0 {
            let contents = self.change()?;
            contents.journal = journal::header().to_vec();
            contents.frames = FrameWriter::default();
            return Ok(());
        }
        let end = usize::try_from(found.end).unwrap_or(usize::MAX).min(self.contents.journal.len());
        let bad = &self.contents.journal[end..];
        if !bad.is_empty() && self.asides < MOST_ASIDE {
            // At most as many as are counted.
            let number = u32::try_from(self.asides).unwrap_or(u32::MAX);
            self.aside.push((Place::Damaged(number), bad.to_vec()));
            self.asides += 1;
            troubles.push(format!("the bytes from there on are kept as part {number} of what is damaged {SHOWN}"));
        }
        if found.damage.is_some() || found.version != VERSION || found.is_unfinished {
            let is_damaged = found.damage.is_some();
            return self.rewrite(&mut |record| if is_damaged { keep_after_damage(record) } else { Some(record) }, &[]);
        }
        if end < self.contents.journal.len() {
            self.change()?.journal.truncate(end);
        }
        Ok(())
    }

    fn rewrite(&mut self, keep: &mut Keep<'_>, closing: &[Record]) -> Result<(), StorageError> {
        let (mut journal, mut frames) = (journal::header().to_vec(), FrameWriter::default());
        let found = journal::read_bytes(&self.contents.journal, &mut |record| {
            if let Some(record) = keep(record) {
                frames.append(&[record], &mut journal);
            }
        });
        found.map_err(|source| StorageError::Format { path: SHOWN.to_owned(), source })?;
        if !closing.is_empty() {
            frames.append(closing, &mut journal);
        }
        let contents = self.change()?;
        (contents.journal, contents.frames) = (journal, frames);
        Ok(())
    }

    /// Why there is no device's key, and none can be made now.
    fn no_key_yet(&self, access: &Access) -> StorageError {
        let (trouble, advice) = match access {
            Access::ReadOnly(why) if !self.is_open_elsewhere => (why.clone(), "nothing can be bought here until then"),
            _ => ("another page has just begun to keep something here".to_owned(), "wait a moment"),
        };
        StorageError::Browser { action: "writing", trouble, advice }
    }
}

impl<B: Browser> Storage for WebStorage<B> {
    fn prepare(&mut self) -> Option<Doing<'_>> {
        Some(Box::pin(self.load()))
    }

    fn settle(&mut self) -> Option<Doing<'_>> {
        let appended = matches!(self.before, Some(Before::Shorter(..)));
        let is_written = self.before.is_none() || (appended && seeded(Bug::QueuedBeforeWritten));
        (!is_written).then(|| -> Doing<'_> { Box::pin(self.write()) })
    }

    fn open(&mut self, replay: &mut Replay<'_>) -> Result<Opened, StorageError> {
        let Some(access) = self.access.clone() else {
            return Err(StorageError::ReadOnly("it was not read before it was opened".to_owned()));
        };
        let may_write = access.may_write();
        let had_key = self.contents.key.is_some();
        let key = match Self::read_key(self.contents.key.as_ref())? {
            Some(key) => key,
            None if self.contents.journal.len() > HEADER => {
                return Err(StorageError::KeyMissing { path: SHOWN.to_owned() });
            }
            None if !may_write => return Err(self.no_key_yet(&access)),
            None => {
                let seed = new_seed()?;
                self.change()?.key = Some(line(&seed));
                SecretKey::from_seed(&seed)
            }
        };
        let found = journal::read_bytes(&self.contents.journal, &mut |record| replay(&key, record));
        let found = found.map_err(|source| StorageError::Format { path: SHOWN.to_owned(), source })?;
        let mut troubles = Vec::new();
        if may_write {
            troubles.extend(found.trouble());
            troubles.extend((had_key && found.version == 0).then(no_journal));
            self.mend(&found, &mut troubles)?;
        }
        Ok(Opened { key, access, is_damaged: may_write && found.damage.is_some(), troubles })
    }

    fn append(&mut self, records: &[Record]) -> Result<(), StorageError> {
        self.check_writable()?;
        if records.iter().any(|record| matches!(record, Record::Order(_))) {
            self.browser.ask_to_keep();
        }
        let Contents { journal, frames, .. } = &mut self.contents;
        self.before.get_or_insert(Before::Shorter(journal.len(), *frames));
        frames.append(records, journal);
        Ok(())
    }

    fn compact(&mut self, keep: &mut Keep<'_>, closing: &[Record]) -> Result<(), StorageError> {
        self.rewrite(keep, closing)
    }

    fn next_key(&mut self) -> Result<Option<SecretKey>, StorageError> {
        // One that is damaged is as good as none: what it was for is lost.
        Ok(Self::read_key(self.contents.next_key.as_ref()).unwrap_or_default())
    }

    fn make_next_key(&mut self) -> Result<SecretKey, StorageError> {
        if let Some(key) = self.next_key()? {
            return Ok(key);
        }
        let seed = new_seed()?;
        self.change()?.next_key = Some(line(&seed));
        Ok(SecretKey::from_seed(&seed))
    }

    fn take_next_key(&mut self) -> Result<(), StorageError> {
        if self.next_key()?.is_some() {
            let contents = self.change()?;
            contents.key = contents.next_key.take();
        }
        Ok(())
    }

    fn is_worth_reopening(&mut self) -> bool {
        // It came, or it is there and nothing could be written.
        self.browser.has_lock_come()
    }

    fn is_overtaken(&self) -> bool {
        self.is_overtaken
    }

    fn persistence(&self) -> Persistence {
        if self.browser.is_persistent() { Persistence::Persistent } else { Persistence::BestEffort }
    }
}

fn line(seed: &[u8; 32]) -> Vec<u8> {
    Base64UrlUnpadded::encode_string(seed).into_bytes()
}

fn not_written(trouble: String) -> StorageError {
    let trouble = trouble.trim_end_matches('.').to_owned();
    let advice =
        "see that there is room on this device and that this page may keep data in this browser, and try again";
    StorageError::Browser { action: "writing", trouble, advice }
}

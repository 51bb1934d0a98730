//! What the storage wants of a browser.

use std::fmt::Debug;

use crate::client::MaybeSend;

/// A browser's database and lock, as narrow as the storage needs them.
pub trait Browser: Debug + MaybeSend + 'static {
    /// Takes the lock of this save, if it is not held already.
    fn lock(&mut self) -> impl Future<Output = Locking>;

    /// Whether the lock, which another page held, has come to this one.
    fn has_lock_come(&self) -> bool;

    /// Lets go of the lock, which another page has too, and waits for it behind that one.
    fn give_up_lock(&mut self);

    /// Leaves this mark in the place of the last page's: from here on only this page writes.
    fn claim(&mut self, mark: &[u8]) -> impl Future<Output = Result<(), BrowserError>>;

    /// Asks the browser not to throw away what is kept: from now on there is something to lose. Nobody waits for it.
    fn ask_to_keep(&mut self);

    /// Whether the browser has promised that, as far as it has answered.
    fn is_persistent(&self) -> bool;

    /// Everything that is kept.
    fn read(&mut self) -> impl Future<Output = Result<Kept, BrowserError>>;

    /// Writes all of a change or nothing of it, and is done when it is durable. Nothing is written where another mark is than
    /// the change's; and where there is none, since everything was thrown away, only a change that is anew.
    fn write(&mut self, change: Change) -> impl Future<Output = Result<(), BrowserError>>;
}

/// What came of taking the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locking {
    /// It is held by this page.
    Held,
    /// Another page holds it; it comes to this one when that lets go of it.
    Elsewhere,
    /// There are no locks here; in words, why.
    Impossible(String),
}

/// Where something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The device's key, as a line of base64url.
    Key,
    /// The key that is to take its place.
    NextKey,
    /// A row of the journal.
    Journal(u32),
    /// What was set aside after damage.
    Damaged(u32),
    /// The mark of the page that writes.
    Mark,
}

/// What is kept, in order.
pub type Kept = Vec<(Place, Vec<u8>)>;

/// What is to be written in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The mark that this page has left.
    pub mark: Vec<u8>,
    /// Whether the keys and all rows of the journal that are there go first.
    pub anew: bool,
    /// What is put where, in place of what is there.
    pub puts: Kept,
}

/// Why a browser did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserError {
    /// What it said.
    pub trouble: String,
    /// What came of the change.
    pub left: Unwritten,
}

/// What a write that failed has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// What was there before: there is no room.
    AsItWas,
    /// That, or all of the change; or everything was thrown away.
    Unknown,
    /// What another page writes, which has taken over.
    Overtaken,
}

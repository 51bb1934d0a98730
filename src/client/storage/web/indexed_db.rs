//! IndexedDB, by three object stores of one database: `keys`, `journal` and `damaged`.
//!
//! Every transaction that writes asks for strict durability: the browser says that it is complete when it has been
//! written to the disk, and not when the operating system has heard of it (Indexed Database API 3.0, "durability hint").

use std::time::Duration;

use indexed_db_futures::database::Database;
use indexed_db_futures::error::{DomException, Error, OpenDbError, UnexpectedDataError};
use indexed_db_futures::internals::SystemRepr;
use indexed_db_futures::prelude::*;
use indexed_db_futures::transaction::{Transaction, TransactionDurability, TransactionMode, TransactionOptions};
use js_sys::{Function, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

use super::lock::Locks;
use super::persistence::Promised;
use super::{Browser, BrowserError, Change, Kept, Locking, Place, Unwritten};
use crate::client::sleep::sleep;
use crate::protocol::GameId;

const KEYS: &str = "keys";
const JOURNAL: &str = "journal";
const DAMAGED: &str = "damaged";
/// The version of the stores.
const VERSION: u8 = 1;
/// Where the mark of the page that writes is.
const MARK: &str = "writer";
/// What a browser says, and what is told, where there is no room.
const QUOTA_EXCEEDED: &str = "QuotaExceededError";
const FULL: &str = "there is no room left for this page";
/// How long the browser may take for one thing, so that nothing waits for ever for one that has lost its way.
const LIMIT: Duration = Duration::from_secs(10);

/// The database and the lock of one save.
#[derive(Debug)]
pub struct IndexedDb {
    name: String,
    database: Option<Database>,
    locks: Locks,
    promised: Promised,
}

impl IndexedDb {
    /// The database of this name, which is made when it is opened. Only pages of the same origin have it.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), database: None, locks: Locks::new(name), promised: Promised::default() }
    }

    /// The database of this game.
    pub fn for_game(game: &GameId) -> Self {
        Self::new(&format!("bevy_iap/{}", game.as_str()))
    }

    async fn open(&mut self) -> Result<&Database, BrowserError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => Database::open(self.name.as_str())
                .with_version(VERSION)
                .with_on_upgrade_needed(|_, database| {
                    for store in [KEYS, JOURNAL, DAMAGED] {
                        database.create_object_store(store).build()?;
                    }
                    Ok(())
                })
                .await
                .map_err(|error| not_opened(&error))
                .inspect(let_go_of_when_asked)?,
        };
        Ok(self.database.insert(database))
    }

    async fn try_read(database: &Database) -> Result<Kept, Error> {
        let transaction = database.transaction([KEYS, JOURNAL, DAMAGED]).build()?;
        let mut kept = Kept::new();
        let keys = transaction.object_store(KEYS)?;
        for (name, place) in [("key", Place::Key), ("next", Place::NextKey)] {
            let value: Option<JsValue> = keys.get(name).await?;
            kept.extend(value.map(|value| (place, Uint8Array::new(&value).to_vec())));
        }
        for (name, place) in [(JOURNAL, Place::Journal as fn(u32) -> Place), (DAMAGED, Place::Damaged)] {
            let store = transaction.object_store(name)?;
            let numbers: Vec<u32> = store.get_all_keys::<u32>().await?.collect::<Result<_, _>>()?;
            let values: Vec<JsValue> = store.get_all::<JsValue>().await?.collect::<Result<_, _>>()?;
            let rows = numbers.into_iter().zip(values);
            kept.extend(rows.map(|(number, value)| (place(number), Uint8Array::new(&value).to_vec())));
        }
        Ok(kept)
    }

    async fn try_write(database: &Database, change: Change) -> Result<(), BrowserError> {
        let (transaction, raw) = begin(database)?;
        let (keys, journal) = (transaction.object_store(KEYS)?, transaction.object_store(JOURNAL)?);
        let damaged = transaction.object_store(DAMAGED)?;
        let mark: Option<JsValue> = keys.get(MARK).await?;
        match mark.map(|mark| Uint8Array::new(&mark).to_vec()) {
            Some(mark) if mark == change.mark => {}
            None if change.anew => {}
            Some(_) => return Err(error("another page has taken over", Unwritten::Overtaken)),
            None => return Err(error("the browser has thrown away what it kept", Unwritten::Unknown)),
        }
        if change.anew {
            keys.clear()?.await?;
            journal.clear()?.await?;
            let mark = JsValue::from(Uint8Array::from(change.mark.as_slice()));
            keys.put(mark).with_key(MARK).without_key_type().await?;
        }
        for (place, bytes) in change.puts {
            let value = JsValue::from(Uint8Array::from(bytes.as_slice()));
            match place {
                Place::Key => keys.put(value).with_key("key").without_key_type().await?,
                Place::NextKey => keys.put(value).with_key("next").without_key_type().await?,
                Place::Mark => keys.put(value).with_key(MARK).without_key_type().await?,
                Place::Journal(row) => journal.put(value).with_key(row).without_key_type().await?,
                Place::Damaged(number) => damaged.put(value).with_key(number).without_key_type().await?,
            }
        }
        transaction.commit().await.map_err(|error| not_committed(error, &raw))
    }

    async fn try_claim(database: &Database, mark: &[u8]) -> Result<(), BrowserError> {
        let (transaction, raw) = begin(database)?;
        let value = JsValue::from(Uint8Array::from(mark));
        let keys = transaction.object_store(KEYS)?;
        keys.put(value).with_key(MARK).without_key_type().await?;
        transaction.commit().await.map_err(|error| not_committed(error, &raw))
    }

    /// Opens another connection next time: this one may be one that the browser has closed, as it does when it throws
    /// away what it kept.
    fn let_go<T>(&mut self, done: Result<T, BrowserError>) -> Result<T, BrowserError> {
        if done.is_err()
            && let Some(database) = self.database.take()
        {
            database.close();
        }
        done
    }
}

impl Browser for IndexedDb {
    async fn lock(&mut self) -> Locking {
        self.locks.take().await
    }

    fn has_lock_come(&self) -> bool {
        self.locks.has_come()
    }

    fn give_up_lock(&mut self) {
        self.locks.give_up();
    }

    fn ask_to_keep(&mut self) {
        self.promised.ask();
    }

    fn is_persistent(&self) -> bool {
        self.promised.is_given()
    }

    async fn claim(&mut self, mark: &[u8]) -> Result<(), BrowserError> {
        let claimed = within(async { Self::try_claim(self.open().await?, mark).await }).await;
        self.let_go(claimed)
    }

    async fn read(&mut self) -> Result<Kept, BrowserError> {
        let read = within(async {
            self.promised.look().await;
            Ok(Self::try_read(self.open().await?).await?)
        })
        .await;
        self.let_go(read)
    }

    async fn write(&mut self, change: Change) -> Result<(), BrowserError> {
        let written = within(async { Self::try_write(self.open().await?, change).await }).await;
        self.let_go(written)
    }
}

/// A transaction that writes, and what the browser calls it.
fn begin(database: &Database) -> Result<(Transaction<'_>, JsValue), BrowserError> {
    let mut options = TransactionOptions::new();
    options.set_durability(TransactionDurability::Strict);
    let transaction = database
        .transaction([KEYS, JOURNAL, DAMAGED])
        .with_mode(TransactionMode::Readwrite)
        .with_options(options)
        .build()?;
    let raw = JsValue::from(transaction.as_sys().clone());
    Ok((transaction, raw))
}

/// Has the connection closed when another page wants to change the database, as a later version of this library may:
/// that would wait for this page to end.
fn let_go_of_when_asked(database: &Database) {
    let raw = JsValue::from(database.as_sys().clone());
    let close = Reflect::get(&raw, &"close".into()).ok().and_then(|close| close.dyn_into::<Function>().ok());
    if let Some(close) = close {
        // An object of the browser's takes its handlers.
        let _ = Reflect::set(&raw, &"onversionchange".into(), &close.bind0(&raw));
    }
}

/// What a future gives, if it does so in time.
async fn within<T>(future: impl Future<Output = Result<T, BrowserError>>) -> Result<T, BrowserError> {
    tokio::select! {
        done = future => done,
        () = sleep(Some(LIMIT)) => Err(error("the browser does not answer", Unwritten::Unknown)),
    }
}

fn error(trouble: &str, left: Unwritten) -> BrowserError {
    BrowserError { trouble: trouble.to_owned(), left }
}

fn not_opened(error: &OpenDbError) -> BrowserError {
    match error {
        OpenDbError::Base(error) => refused(error),
        other => self::error(&other.to_string(), Unwritten::AsItWas),
    }
}

/// Why a transaction came to nothing. Who gives one up in the end says why in the transaction alone.
fn not_committed(error: Error, transaction: &JsValue) -> BrowserError {
    let why = Reflect::get(transaction, &"error".into()).unwrap_or_default();
    let name = Reflect::get(&why, &"name".into()).ok().and_then(|name| name.as_string());
    match name.as_deref() {
        Some(QUOTA_EXCEEDED) => self::error(FULL, Unwritten::AsItWas),
        _ => refused(&error),
    }
}

impl From<Error> for BrowserError {
    fn from(error: Error) -> Self {
        refused(&error)
    }
}

fn refused(error: &Error) -> BrowserError {
    match error {
        Error::DomException(DomException::Other(exception)) if exception.name() == QUOTA_EXCEEDED => {
            self::error(FULL, Unwritten::AsItWas)
        }
        Error::DomException(DomException::Other(exception)) if exception.name() == "VersionError" => {
            self::error("a newer version of the game keeps its purchases here", Unwritten::AsItWas)
        }
        Error::DomException(exception) => self::error(&exception.message(), Unwritten::Unknown),
        Error::MissingData(UnexpectedDataError::TransactionAborted) => {
            self::error("the browser gave the write up", Unwritten::Unknown)
        }
        other => self::error(&other.to_string(), Unwritten::Unknown),
    }
}

//! IndexedDB, by three object stores of one database: `keys`, `journal` and `damaged`.
//!
//! Every transaction that writes asks for strict durability: the browser says that it is complete when it has been
//! written to the disk, and not when the operating system has heard of it (Indexed Database API 3.0, "durability hint").

use indexed_db_futures::database::Database;
use indexed_db_futures::error::{DomException, Error, OpenDbError, UnexpectedDataError};
use indexed_db_futures::prelude::*;
use indexed_db_futures::transaction::{TransactionDurability, TransactionMode, TransactionOptions};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::lock::Locks;
use super::{Browser, BrowserError, Change, Kept, Locking, Place};
use crate::protocol::GameId;

const KEYS: &str = "keys";
const JOURNAL: &str = "journal";
const DAMAGED: &str = "damaged";
/// The version of the stores.
const VERSION: u8 = 1;

/// The database and the lock of one save.
#[derive(Debug)]
pub struct IndexedDb {
    name: String,
    database: Option<Database>,
    locks: Locks,
    /// Whether the browser was asked to keep what is kept.
    has_asked: bool,
}

impl IndexedDb {
    /// The database of this name, which is made when it is opened. Only pages of the same origin have it.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), database: None, locks: Locks::new(name), has_asked: false }
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
                .map_err(|error| not_opened(&error))?,
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

    async fn try_write(database: &Database, change: Change) -> Result<(), Error> {
        let mut options = TransactionOptions::new();
        options.set_durability(TransactionDurability::Strict);
        let transaction = database
            .transaction([KEYS, JOURNAL, DAMAGED])
            .with_mode(TransactionMode::Readwrite)
            .with_options(options)
            .build()?;
        let (keys, journal) = (transaction.object_store(KEYS)?, transaction.object_store(JOURNAL)?);
        let damaged = transaction.object_store(DAMAGED)?;
        if change.anew {
            keys.clear()?.await?;
            journal.clear()?.await?;
        }
        for (place, bytes) in change.puts {
            let value = JsValue::from(Uint8Array::from(bytes.as_slice()));
            match place {
                Place::Key => drop(keys.put(value).with_key("key").without_key_type().await?),
                Place::NextKey => drop(keys.put(value).with_key("next").without_key_type().await?),
                Place::Journal(row) => drop(journal.put(value).with_key(row).without_key_type().await?),
                Place::Damaged(number) => drop(damaged.put(value).with_key(number).without_key_type().await?),
            }
        }
        transaction.commit().await
    }
}

impl Browser for IndexedDb {
    async fn lock(&mut self) -> Locking {
        self.locks.take().await
    }

    fn has_lock_come(&self) -> bool {
        self.locks.has_come()
    }

    fn ask_to_keep(&mut self) {
        if !self.has_asked {
            self.has_asked = true;
            super::lock::ask_to_persist();
        }
    }

    async fn read(&mut self) -> Result<Kept, BrowserError> {
        let read = Self::try_read(self.open().await?).await;
        read.map_err(|error| {
            self.database = None;
            refused(&error)
        })
    }

    async fn write(&mut self, change: Change) -> Result<(), BrowserError> {
        let written = Self::try_write(self.open().await?, change).await;
        written.map_err(|error| {
            // The connection may be one that the browser has closed, as it does when it throws away what it kept.
            self.database = None;
            refused(&error)
        })
    }
}

fn not_opened(error: &OpenDbError) -> BrowserError {
    match error {
        OpenDbError::Base(error) => refused(error),
        other => BrowserError { trouble: other.to_string(), is_undone: true },
    }
}

fn refused(error: &Error) -> BrowserError {
    let full = "there is no room left for this page";
    match error {
        Error::DomException(DomException::Other(exception)) if exception.name() == "QuotaExceededError" => {
            BrowserError { trouble: full.to_owned(), is_undone: true }
        }
        // A browser gives a whole transaction up when it finds no room for it at the end.
        Error::MissingData(UnexpectedDataError::TransactionAborted) => BrowserError {
            trouble: format!("the browser gave the write up: {full}, or its disk failed"),
            is_undone: true,
        },
        Error::DomException(exception) => BrowserError { trouble: exception.message(), is_undone: false },
        other => BrowserError { trouble: other.to_string(), is_undone: false },
    }
}

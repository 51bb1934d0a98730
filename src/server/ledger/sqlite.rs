//! The books in one SQLite file.
//!
//! The file is in WAL mode and every commit is synced, so that what was answered is on the disk. Each change begins by
//! taking the write lock, and decides from what it reads under it: several processes may have the file open, and none
//! of them keeps a balance in memory.

mod backup;
mod operator;
mod postings;
mod reading;
mod rows;
mod schema;
mod settlement;
mod totals;
mod values;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};

use self::postings::{Posting, Postings};
use super::transfer::WELCOME;
use super::{
    AccountKind, AccountSummary, BookReader, Context, Credit, CreditError, Device, Enrolled, Ledger, LedgerError,
    Outcome, Place, RefundError, Standing, TransferId, TransferKind, VerifiedOrder,
};
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, GameId, KeyId, Micros, Money, OrderId, PublicKey, Receipt, UnixSeconds};
use crate::server::signing::Signer;

/// How long a change waits for another process to finish its own.
const BUSY: Duration = Duration::from_secs(10);

/// Room for every statement of this module, so that none is compiled twice.
const STATEMENTS: usize = 64;

/// The books in one SQLite file.
pub struct SqliteLedger {
    connection: Connection,
    game: GameId,
}

impl SqliteLedger {
    /// Opens the books of `game` in the file at `path`, and makes them if there are none.
    ///
    /// # Errors
    /// The file cannot be opened or made, holds another game's books, or books of a newer version.
    pub fn open(path: &Path, game: &GameId) -> Result<Self, LedgerError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        Self::prepared(Connection::open_with_flags(path, flags)?, Some(game))
    }

    /// Opens the books in the file at `path`, whichever game's they are.
    ///
    /// # Errors
    /// There are none, they cannot be opened, or they are of a newer version.
    pub fn open_existing(path: &Path) -> Result<Self, LedgerError> {
        Self::prepared(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?, None)
    }

    fn prepared(mut connection: Connection, game: Option<&GameId>) -> Result<Self, LedgerError> {
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        if mode != "wal" {
            let message = format!("this file system does not support SQLite's WAL mode (it stays in mode {mode})");
            return Err(LedgerError::Storage(message.into()));
        }
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", "on")?;
        let game = schema::prepare(&mut connection, game)?;
        Ok(Self { connection, game })
    }

    /// The game whose books these are.
    pub fn game(&self) -> &GameId {
        &self.game
    }

    /// Begins a change: takes the write lock, so that what is read now is still so when it is written.
    fn begin(&mut self) -> Result<Transaction<'_>, LedgerError> {
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

impl fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteLedger").field("path", &self.connection.path()).field("game", &self.game).finish()
    }
}

impl Ledger for SqliteLedger {
    fn enrol(
        &mut self,
        keys: &[PublicKey],
        welcome: Option<Money>,
        now: UnixSeconds,
    ) -> Result<Vec<Enrolled>, LedgerError> {
        let transaction = self.begin()?;
        let mut postings = Postings::new(&transaction, now);
        let mut enrolled = Vec::with_capacity(keys.len());
        for key in keys {
            enrolled.push(enrol(&transaction, &mut postings, *key, welcome, now)?);
        }
        postings.finish()?;
        transaction.commit()?;
        Ok(enrolled)
    }

    fn device(&mut self, id: KeyId) -> Result<Option<Device>, LedgerError> {
        reading::device(&self.connection, id)
    }

    fn settle(&mut self, batch: &[VerifiedOrder], context: &mut Context<'_>) -> Result<Vec<Outcome>, LedgerError> {
        let transaction = self.begin()?;
        let outcomes = settlement::settle(&transaction, batch, context)?;
        transaction.commit()?;
        Ok(outcomes)
    }

    fn standings(&mut self, asked: &[Place]) -> Result<Vec<Standing>, LedgerError> {
        // One transaction, so that a wallet and a feed are of the same moment.
        let transaction = self.connection.transaction()?;
        asked.iter().map(|place| reading::standing(&transaction, place)).collect()
    }

    fn credit(&mut self, credit: &Credit, now: UnixSeconds) -> Result<Balance, CreditError> {
        let transaction = self.begin()?;
        let balance = operator::credit(&transaction, credit, now)?;
        transaction.commit()?;
        Ok(balance)
    }

    fn refund(&mut self, order: OrderId, signer: &mut Signer, now: UnixSeconds) -> Result<Receipt, RefundError> {
        let transaction = self.begin()?;
        let receipt = operator::refund(&transaction, order, signer, now)?;
        transaction.commit()?;
        Ok(receipt)
    }

    fn show(&mut self, account: &AccountId) -> Result<Option<AccountSummary>, LedgerError> {
        let transaction = self.connection.transaction()?;
        reading::show(&transaction, account)
    }

    fn read(&mut self, reader: &mut dyn BookReader) -> Result<(), LedgerError> {
        let transaction = self.connection.transaction()?;
        rows::read(&transaction, reader)
    }
}

fn enrol(
    transaction: &Transaction<'_>,
    postings: &mut Postings<'_>,
    key: PublicKey,
    welcome: Option<Money>,
    now: UnixSeconds,
) -> Result<Enrolled, LedgerError> {
    let id = key.id();
    let known: Option<String> = transaction
        .prepare_cached("SELECT account FROM devices WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    if let Some(account) = known {
        return Ok(Enrolled { account: account.parse().map_err(LedgerError::damaged)?, new: false });
    }
    let account = id.guest_account();
    transaction
        .prepare_cached("INSERT INTO devices (id, account, public_key, created_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id.to_string(), account.as_str(), key.to_bytes(), now])?;
    if let Some(money) = welcome.filter(|money| money.micros > Micros::ZERO) {
        postings.post(Posting {
            id: TransferId::of_welcome(&account),
            kind: TransferKind::Welcome,
            wallet: &account,
            other: (AccountKind::Funding, WELCOME),
            money,
            order: None,
        })?;
    }
    Ok(Enrolled { account, new: true })
}

//! The books in one SQLite file.
//!
//! The file is in WAL mode and every commit is synced, so that what was answered is on the disk. Each change begins by
//! taking the write lock, and decides from what it reads under it: several processes may have the file open, and none
//! of them keeps a balance in memory.

mod backup;
mod consuming;
mod facts;
mod lots_from_wallets;
mod membership;
mod reading;
mod rows;
mod schema;
mod writing;

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};

use self::facts::Books;
use super::changes::Changes;
use super::plan::{self, Fate, Plan};
use super::{
    AccountChange, AccountRules, AccountSummary, AccountWish, AllowanceRules, AllowanceWish, Answer, BookReader,
    ConsumptionOutcome, Context, Device, Enrolled, Ledger, LedgerError, ManageError, Membership, OperateError,
    Operation, Outcome, Place, Standing, Total, VerifiedConsumption, VerifiedOrder, values,
};
use crate::protocol::{AccountId, GameId, KeyId, Money, PublicKey, Token, UnixSeconds};
use crate::server::signing::{Signer, Threads};

/// How long a change waits for another process to finish its own.
const BUSY: Duration = Duration::from_secs(10);

/// How long to wait before a file that is busy is opened again.
const PAUSE: Duration = Duration::from_millis(5);

/// How much of the file is kept in memory, in KiB.
const CACHE_KIB: i64 = 64 * 1024;

/// How long the log may grow, in pages of 4 KiB, before it is checked in: a page that several batches change is then
/// written once for all of them.
const LOG_PAGES: i64 = 16 * 1024;

/// Room for every statement of this module, so that none is compiled twice.
const STATEMENTS: usize = 96;

/// The books in one SQLite file.
pub struct SqliteLedger {
    connection: Connection,
    game: GameId,
    /// What the file's number was when it was last asked whether another connection has written.
    seen: i64,
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
        let mode: String =
            patiently(|| Ok(connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?))?;
        if mode != "wal" {
            let message = format!("this file system does not support SQLite's WAL mode (it stays in mode {mode})");
            return Err(LedgerError::Storage(message.into()));
        }
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        connection.pragma_update(None, "foreign_keys", "on")?;
        let game = patiently(|| schema::prepare(&mut connection, game))?;
        let seen = data_version(&connection)?;
        Ok(Self { connection, game, seen })
    }

    /// Begins a change: takes the write lock, so that what is read now is still so when it is written.
    fn begin(&mut self) -> Result<Transaction<'_>, LedgerError> {
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

/// A number that changes when another connection has written to the file.
fn data_version(connection: &Connection) -> Result<i64, LedgerError> {
    Ok(connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}

/// Opens books that others open at the same moment. While one of them changes the file's mode or recovers its log, SQLite
/// tells the others at once that it is busy, whatever they are set to wait.
fn patiently<T>(mut open: impl FnMut() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
    let started = Instant::now();
    loop {
        match open() {
            Err(error) if is_busy(&error) && started.elapsed() < BUSY => thread::sleep(PAUSE),
            opened => return opened,
        }
    }
}

fn is_busy(error: &LedgerError) -> bool {
    let LedgerError::Storage(source) = error else { return false };
    let source = source.downcast_ref::<rusqlite::Error>();
    source.and_then(rusqlite::Error::sqlite_error_code) == Some(ErrorCode::DatabaseBusy)
}

impl fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteLedger").field("path", &self.connection.path()).field("game", &self.game).finish()
    }
}

impl Ledger for SqliteLedger {
    fn game(&self) -> &GameId {
        &self.game
    }

    fn enrol(
        &mut self,
        keys: &[PublicKey],
        welcome: Option<Money>,
        now: UnixSeconds,
    ) -> Result<Vec<Enrolled>, LedgerError> {
        let game = self.game.clone();
        let transaction = self.begin()?;
        let mut books = Books(&transaction);
        let mut plan = Plan::new(&mut books, &game, now);
        let mut enrolled = Vec::with_capacity(keys.len());
        for key in keys {
            let device = enrol(&transaction, *key, now)?;
            if let (true, Some(money)) = (device.new, welcome) {
                plan.welcome(&device.account, money)?;
            }
            enrolled.push(device);
        }
        let changes = plan.into_changes();
        writing::write(&transaction, &changes)?;
        transaction.commit()?;
        Ok(enrolled)
    }

    fn device(&mut self, id: KeyId) -> Result<Option<Device>, LedgerError> {
        reading::device(&self.connection, id)
    }

    fn settle(&mut self, batch: &[VerifiedOrder], context: &mut Context<'_>) -> Result<Vec<Outcome>, LedgerError> {
        let game = self.game.clone();
        let transaction = self.begin()?;
        let mut books = Books(&transaction);
        let mut plan = Plan::new(&mut books, &game, context.now);
        let fates = plan.settle(batch, context)?;
        let changes = plan.into_changes();
        let entries = written(transaction, &changes, context.signer)?;
        fates.into_iter().map(|fate: Fate| fate.outcome(&changes.receipts, &entries)).collect()
    }

    fn consume(
        &mut self,
        batch: &[VerifiedConsumption],
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Vec<ConsumptionOutcome>, LedgerError> {
        let transaction = self.begin()?;
        let outcomes = consuming::consume(&transaction, batch, signer, now)?;
        transaction.commit()?;
        Ok(outcomes)
    }

    fn allow(
        &mut self,
        wishes: &[AllowanceWish],
        rules: &AllowanceRules,
        context: &mut Context<'_>,
    ) -> Result<Vec<Option<Token>>, LedgerError> {
        let game = self.game.clone();
        // Mostly nothing changes, and finding that out takes no write lock.
        let transaction = self.connection.transaction()?;
        let mut books = Books(&transaction);
        let quiet = Plan::new(&mut books, &game, context.now).allow_quietly(wishes, rules, context);
        drop(transaction);
        match quiet {
            Ok(Some(told)) => return Ok(told),
            // What is damaged for one of them is told when each is looked at.
            Ok(None) | Err(LedgerError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        let transaction = self.begin()?;
        let mut books = Books(&transaction);
        let mut plan = Plan::new(&mut books, &game, context.now);
        let told = plan.allow(wishes, rules, context)?;
        let changes = plan.into_changes();
        writing::write(&transaction, &changes)?;
        transaction.commit()?;
        Ok(told)
    }

    fn manage(
        &mut self,
        wish: &AccountWish,
        rules: &AccountRules,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Membership, ManageError> {
        let game = self.game.clone();
        let transaction = match wish.change {
            // It changes nothing, so it takes no write lock.
            AccountChange::Show => self.connection.transaction().map_err(LedgerError::from)?,
            _ => self.begin()?,
        };
        let (changes, told) = plan::manage(&mut Books(&transaction), wish, rules, &game, signer, now)?;
        if changes.membership.question.is_some() {
            written(transaction, &changes, signer)?;
        }
        Ok(told?)
    }

    fn standings(&mut self, asked: &[Place]) -> Result<Vec<Standing>, LedgerError> {
        // One transaction, so that a wallet and a feed are of the same moment.
        let transaction = self.connection.transaction()?;
        asked.iter().map(|place| reading::standing(&transaction, place)).collect()
    }

    fn operate(
        &mut self,
        operation: &Operation,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Answer, OperateError> {
        let game = self.game.clone();
        let transaction = self.begin()?;
        let (changes, decision) = plan::operate(&mut Books(&transaction), operation, &game, signer, now)?;
        written(transaction, &changes, signer)?;
        Ok(decision?)
    }

    fn expire(&mut self, now: UnixSeconds) -> Result<u64, LedgerError> {
        // Mostly there are none, and finding that out takes no write lock.
        if !Books(&self.connection).any_due_holds(now)? {
            return Ok(0);
        }
        let game = self.game.clone();
        let transaction = self.begin()?;
        let mut books = Books(&transaction);
        let due = books.due_accounts(now)?;
        let mut plan = Plan::new(&mut books, &game, now);
        let count = plan.sweep(due)?;
        let changes = plan.into_changes();
        writing::write(&transaction, &changes)?;
        transaction.commit()?;
        Ok(count)
    }

    fn is_changed_elsewhere(&mut self) -> Result<bool, LedgerError> {
        let seen = data_version(&self.connection)?;
        Ok(std::mem::replace(&mut self.seen, seen) != seen)
    }

    fn totals(&mut self) -> Result<Vec<Total>, LedgerError> {
        reading::totals(&self.connection)
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

/// Signs a plan's receipts while it writes all but them, and commits. Gives each receipt's place in its feed.
fn written(
    transaction: Transaction<'_>,
    changes: &Changes,
    signer: &Signer,
) -> Result<Vec<super::FeedEntry>, LedgerError> {
    let (tokens, written) =
        signer.sign_while(&changes.receipts, Threads::All, || writing::write(&transaction, changes));
    written?;
    let entries = writing::write_receipts(&transaction, changes, tokens?)?;
    transaction.commit()?;
    Ok(entries)
}

fn enrol(transaction: &Transaction<'_>, key: PublicKey, now: UnixSeconds) -> Result<Enrolled, LedgerError> {
    let id = key.id();
    let known: Option<String> = transaction
        .prepare_cached("SELECT account FROM devices WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    if let Some(account) = known {
        return Ok(Enrolled { account: values::parsed(&account)?, new: false });
    }
    let account = id.guest_account();
    transaction
        .prepare_cached("INSERT INTO devices (id, account, public_key, created_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id.to_string(), account.as_str(), key.to_bytes(), now])?;
    Ok(Enrolled { account, new: true })
}

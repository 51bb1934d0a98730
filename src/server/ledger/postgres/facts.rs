//! The books as the planner asks for them.
//!
//! First the accounts of a batch are locked, by locking their devices; then everything about them is read in a few
//! statements, one after the other on one connection and sent together. Each of them sees what was committed before the
//! lock was granted, and nobody else can change it until this transaction ends.

mod unlocked;

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::future::{join, join3, join4};
use tokio_postgres::Row;

pub(super) use self::unlocked::{account_of, device_account, due_accounts};
use super::super::account::House;
use super::super::fork::Chain;
use super::super::hold::{HoldRecord, HoldStatus};
use super::super::lot::Lot;
use super::super::operation::OperationRecord;
use super::super::plan::Facts;
use super::super::refund::PaidOrder;
use super::super::transfer::Transfer;
use super::super::{
    AccountKind, AccountNumber, AllowanceRecord, FeedEntry, LedgerError, OperationId, TransferId, books, values,
};
use super::parsing::{allowances_of, bytes, digest, holds_of, kind_of, lot_of, text, token, transfer_of};
use super::reading::SNAPSHOT;
use super::session::{Session, statements};
use crate::protocol::{
    AccountId, AllowanceId, CreatorId, Currency, KeyId, Money, OrderId, ProductId, Sha256, UnixSeconds,
};

/// The columns of a lot.
pub(super) const LOT: &str = "id, owner, currency, origin, source, opened_at, refundable_until, opened_with, refunded,
    credits_posted - debits_posted, debits_pending";

/// Holds, and a row for each of their legs.
pub(super) const HOLDS: &str =
    "SELECT holds.id, holds.account, holds.currency, holds.amount, expires_at, status, posted,
        resolved_at, transfers.id, transfers.debit_account, transfers.amount
    FROM holds LEFT JOIN transfers ON transfers.hold_id = holds.id AND transfers.kind = 'hold'";

/// Allowances, and a row for each of the legs of the holds behind them.
const ALLOWANCES: &str =
    "SELECT holds.id, holds.account, holds.currency, holds.amount, holds.expires_at, status, posted,
        resolved_at, transfers.id, transfers.debit_account, transfers.amount, device, number, issued_at,
        allowances.expires_at, per_order, most_orders, catalog, token, spent, orders
    FROM holds JOIN allowances ON allowances.id = holds.id
        LEFT JOIN transfers ON transfers.hold_id = holds.id AND transfers.kind = 'hold'";

statements! {
    // An account is called like the device that has opened it: that one is locked too, wherever it belongs to now, so
    // that an account without devices can be locked as well.
    lock = "SELECT id, account, sequence, chain_head, feed, frozen_at IS NOT NULL, revoked_at IS NOT NULL FROM devices
        WHERE account = ANY($1) OR id = ANY($1) ORDER BY id FOR UPDATE";
    look_at = "SELECT id, account, sequence, chain_head, feed, frozen_at IS NOT NULL, revoked_at IS NOT NULL
        FROM devices WHERE account = ANY($1)";
    device = "SELECT id, account, sequence, chain_head, feed, frozen_at IS NOT NULL, revoked_at IS NOT NULL
        FROM devices WHERE id = $1";
    allowances = format!("{ALLOWANCES} WHERE holds.id = ANY($1) OR account = ANY($2) AND status = 'pending'");
    // A consumption may have the id of an order.
    order_at = "SELECT orders.id FROM receipts JOIN orders ON orders.id = receipts.order_id
        WHERE receipts.account = $1 AND orders.device = $2 AND orders.sequence = $3
            AND NOT EXISTS (SELECT 1 FROM consumptions WHERE consumptions.id = receipts.order_id
                AND consumptions.account = receipts.account AND consumptions.feed = receipts.feed) LIMIT 1";
    device_account = "SELECT account FROM devices WHERE id = $1";
    orders = "SELECT orders.id, sha256, receipts.feed, receipts.token FROM orders LEFT JOIN receipts
        ON receipts.account = orders.account AND receipts.feed = orders.feed WHERE orders.id = ANY($1)";
    owned = "SELECT account, product, MAX(until) FROM orders
        JOIN unnest($1::text[], $2::text[]) AS asked (account, product) USING (account, product)
        WHERE owned AND status = 'granted' GROUP BY account, product";
    open_lots = format!("SELECT {LOT} FROM accounts WHERE kind = 'wallet' AND open AND owner = ANY($1)");
    due_holds = format!("{HOLDS} WHERE account = ANY($1) AND status = 'pending' AND expires_at <= $2");
    due_accounts = "SELECT DISTINCT account FROM holds WHERE status = 'pending' AND expires_at <= $1 AND account > $2
        ORDER BY account LIMIT 1000";
    hold = format!("{HOLDS} WHERE holds.id = $1");
    lot = format!("SELECT {LOT} FROM accounts WHERE id = $1 AND stripe = 0 AND kind = 'wallet'");
    operation = "SELECT action, sha256, done, answer, created_at FROM operations WHERE id = $1";
    paid_order = "SELECT account, status, quantity, refunded_quantity, amount, currency, refunded_amount FROM orders
        WHERE id = $1";
    paying = "SELECT id, kind, debit_account, credit_account, amount, created_at FROM transfers WHERE id = ANY($1)";
    refunding = "SELECT id, kind, debit_account, credit_account, amount, created_at FROM transfers
        WHERE order_id = $1 AND kind = 'refund'";
    // What is payable to a creator is locked by its row of the stripe 0, which is made for that; a creator of whom
    // there is no row yet has nothing to be locked.
    make_payable = "INSERT INTO accounts (id, stripe, kind, owner, currency, debits_posted, credits_posted,
            debits_pending, credits_pending, open)
        SELECT DISTINCT id, 0::bigint, kind, owner, currency, 0::bigint, 0::bigint, 0::bigint, 0::bigint, FALSE
        FROM accounts WHERE id = $1 ON CONFLICT (id, stripe) DO NOTHING";
    lock_payable = "SELECT 1 FROM accounts WHERE id = $1 AND stripe = 0 FOR UPDATE";
    payable = "SELECT SUM(credits_posted - debits_posted)::bigint FROM accounts WHERE id = $1";
    houses = "SELECT DISTINCT id, kind, owner, currency FROM accounts WHERE id = ANY($1) AND kind <> 'wallet'";
    order_account = "SELECT account FROM orders WHERE id = $1";
    lot_account = "SELECT owner FROM accounts WHERE id = $1 AND stripe = 0 AND kind = 'wallet'";
    hold_account = "SELECT account FROM holds WHERE id = $1";
}

/// How many of the transfers that paid for an order are looked for at once: most orders have no more.
const LEGS: usize = 32;

/// What is to be read under the lock.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The accounts, which are locked.
    pub(super) accounts: BTreeSet<AccountId>,
    /// Orders that may be known.
    pub(super) orders: HashSet<OrderId>,
    /// Products that accounts may own.
    pub(super) products: BTreeSet<(AccountId, ProductId)>,
    /// Allowances that orders name.
    pub(super) allowances: BTreeSet<AllowanceId>,
    /// Accounts of which all open allowances are asked for.
    pub(super) allowed: BTreeSet<AccountId>,
}

/// What was read about one account.
#[derive(Debug, Default)]
struct Known {
    feed: u64,
    lots: Vec<Lot>,
    due: Vec<HoldRecord>,
    has_device: bool,
    /// What could not be read back: its orders fail, and nobody else's.
    damage: Option<String>,
}

/// The books as they were read under the lock.
pub(super) struct Books<'a> {
    pub(super) session: &'a Session,
    accounts: HashMap<String, Known>,
    chains: HashMap<KeyId, Chain>,
    allowances: HashMap<AllowanceId, AllowanceRecord>,
    orders: HashMap<OrderId, (Sha256, Option<FeedEntry>)>,
    asked: Asked,
    owned: HashMap<(String, String), Option<UnixSeconds>>,
}

impl<'a> Books<'a> {
    /// The books of a transaction that was begun and asks for nothing.
    pub(super) fn nothing(session: &'a Session) -> Self {
        let (accounts, chains, allowances, orders, owned) = Default::default();
        Self { session, accounts, chains, allowances, orders, owned, asked: Asked::default() }
    }

    /// Begins a transaction and locks the accounts that are asked for; then reads all that is asked for, as of `now`.
    pub(super) fn begin(session: &'a Session, asked: Asked, now: UnixSeconds) -> Result<Self, LedgerError> {
        let accounts: Vec<&str> = asked.accounts.iter().map(AccountId::as_str).collect();
        let orders: Vec<&[u8]> = asked.orders.iter().map(|id| &id.0[..]).collect();
        let (owners, products): (Vec<&str>, Vec<&str>) =
            asked.products.iter().map(|(account, product)| (account.as_str(), product.as_str())).unzip();
        let (client, statements) = (&session.client, &session.facts);
        // They are sent, and done, in the order in which they are first polled, which is from left to right.
        let (locked, known, about) = client.wait(async {
            let (begun, locked, (known, owned), (lots, due)) = join4(
                client.batch_execute("BEGIN"),
                client.query(&statements.lock, &[&accounts]),
                join(
                    client.query(&statements.orders, &[&orders]),
                    client.query(&statements.owned, &[&owners, &products]),
                ),
                join(
                    client.query(&statements.open_lots, &[&accounts]),
                    client.query(&statements.due_holds, &[&accounts, &now]),
                ),
            )
            .await;
            // The first that failed is the reason why all after it did.
            begun?;
            Ok((locked?, (known?, owned?), (lots?, due?)))
        })?;
        let (lots, due) = about;
        let mut books = Self::of_accounts(session, asked, &locked, &lots, due)?;
        // Most batches name none, and then nothing is asked.
        if !books.asked.allowances.is_empty() || !books.asked.allowed.is_empty() {
            let rows = session.client.wait(books.asked_allowances())?;
            books.read_allowances(rows)?;
        }
        let (orders, owned) = known;
        for row in &orders {
            let entry = match row.try_get::<_, Option<i64>>(2)? {
                Some(feed) => Some(FeedEntry { feed: values::count(feed)?, token: token(row, 3)? }),
                None => None,
            };
            books.orders.insert(OrderId(bytes(row, 0)?), (Sha256(bytes(row, 1)?), entry));
        }
        for row in &owned {
            books.owned.insert((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
        }
        Ok(books)
    }

    /// The books as far as they tell, without a lock, whether anything would change of the allowances of the accounts
    /// that are asked for.
    pub(super) fn look_at(session: &'a Session, asked: Asked, now: UnixSeconds) -> Result<Self, LedgerError> {
        let accounts: Vec<&str> = asked.accounts.iter().map(AccountId::as_str).collect();
        let (client, statements) = (&session.client, &session.facts);
        let looking =
            Self { asked: Asked { allowed: asked.allowed.clone(), ..Asked::default() }, ..Self::nothing(session) };
        let (devices, lots, due, allowances) = session.client.wait(async {
            let (begun, (devices, lots), (due, allowances, ended)) = join3(
                client.batch_execute(SNAPSHOT),
                join(
                    client.query(&statements.look_at, &[&accounts]),
                    client.query(&statements.open_lots, &[&accounts]),
                ),
                join3(
                    client.query(&statements.due_holds, &[&accounts, &now]),
                    looking.asked_allowances(),
                    client.batch_execute("COMMIT"),
                ),
            )
            .await;
            begun?;
            let read = (devices?, lots?, due?, allowances?);
            ended?;
            Ok(read)
        })?;
        let mut books = Self::of_accounts(session, asked, &devices, &lots, due)?;
        books.read_allowances(allowances)?;
        Ok(books)
    }

    fn of_accounts(
        session: &'a Session,
        asked: Asked,
        devices: &[Row],
        lots: &[Row],
        due: Vec<Row>,
    ) -> Result<Self, LedgerError> {
        let accounts = asked.accounts.iter().map(|account| (account.to_string(), Known::default())).collect();
        let mut books = Self { accounts, asked, ..Self::nothing(session) };
        let mut chains = HashMap::new();
        books.accounts(devices, 1, |known, row| {
            known.has_device = true;
            known.feed = known.feed.max(values::count(row.try_get(4)?)?);
            chains.insert(text(row, 0)?, chain_of(row)?);
            Ok(())
        })?;
        books.chains = chains;
        books.accounts(lots, 1, |known, row| {
            known.lots.push(lot_of(row)?);
            Ok(())
        })?;
        books.due_holds(due)?;
        Ok(books)
    }

    async fn asked_allowances(&self) -> Result<Vec<Row>, LedgerError> {
        let ids: Vec<&[u8]> = self.asked.allowances.iter().map(|id| &id.0[..]).collect();
        let accounts: Vec<&str> = self.asked.allowed.iter().map(AccountId::as_str).collect();
        let (client, statement) = (&self.session.client, &self.session.facts.allowances);
        Ok(client.query(statement, &[&ids, &accounts]).await?)
    }

    /// Reads allowances, by their holds' accounts: damage fails one of them, and nobody else.
    fn read_allowances(&mut self, rows: Vec<Row>) -> Result<(), LedgerError> {
        let mut own: HashMap<String, Vec<Row>> = HashMap::new();
        for row in rows {
            own.entry(row.try_get(1)?).or_default().push(row);
        }
        for (account, rows) in own {
            match (allowances_of(&rows), self.accounts.get_mut(&account)) {
                (Ok(records), _) => self.allowances.extend(records.into_iter().map(|record| (record.id(), record))),
                (Err(LedgerError::Damaged(what)), Some(known)) => known.damage = Some(what),
                // Another account's, which an order has named: it pays for nothing here.
                (Err(LedgerError::Damaged(_)), None) => {}
                (Err(error), _) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what rows say about the account that one of their columns names.
    fn accounts(
        &mut self,
        rows: &[Row],
        column: usize,
        mut read: impl FnMut(&mut Known, &Row) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        for row in rows {
            let account: &str = row.try_get(column)?;
            let Some(known) = self.accounts.get_mut(account) else { continue };
            match read(known, row) {
                Err(LedgerError::Damaged(what)) => known.damage = Some(what),
                result => result?,
            }
        }
        Ok(())
    }

    fn due_holds(&mut self, rows: Vec<Row>) -> Result<(), LedgerError> {
        let mut own: HashMap<String, Vec<Row>> = HashMap::new();
        for row in rows {
            own.entry(row.try_get(1)?).or_default().push(row);
        }
        for (account, rows) in own {
            let Some(known) = self.accounts.get_mut(&account) else { continue };
            match holds_of(&rows) {
                Err(LedgerError::Damaged(what)) => known.damage = Some(what),
                due => known.due = due?,
            }
        }
        Ok(())
    }

    fn known(&self, account: &AccountId) -> Result<&Known, LedgerError> {
        let known = self.accounts.get(account.as_str()).ok_or_else(|| not_read(account))?;
        known.damage.as_ref().map_or(Ok(known), |what| Err(LedgerError::damaged(what)))
    }

    /// Whether an account has a product by an order that is granted, and if so when the last of it ends, for a pass.
    fn owned(&self, account: &AccountId, product: &ProductId) -> Result<Option<Option<UnixSeconds>>, LedgerError> {
        let asked = (account.clone(), product.clone());
        match self.asked.products.contains(&asked) {
            true => Ok(self.owned.get(&(account.to_string(), product.to_string())).copied()),
            false => Err(not_read(product)),
        }
    }

    fn row(&self, statement: &tokio_postgres::Statement, id: &[u8; 16]) -> Result<Option<Row>, LedgerError> {
        let id = &id[..];
        let client = &self.session.client;
        client.wait(async { Ok(client.query_opt(statement, &[&id]).await?) })
    }

    /// Locks what is payable to a creator.
    pub(super) fn lock_payable(&self, creator: &CreatorId, currency: Currency) -> Result<(), LedgerError> {
        let number = House::payable(creator, currency).number();
        let (client, statements, number) = (&self.session.client, &self.session.facts, &number.0[..]);
        client.wait(async {
            client.execute(&statements.make_payable, &[&number]).await?;
            Ok(client.execute(&statements.lock_payable, &[&number]).await?)
        })?;
        Ok(())
    }

    /// Which of these accounts of the ledger are the house's, and what they are.
    pub(super) fn houses(&self, numbers: &[AccountNumber]) -> Result<Vec<(AccountNumber, House)>, LedgerError> {
        let numbers: Vec<&[u8]> = numbers.iter().map(|number| &number.0[..]).collect();
        let (client, statement) = (&self.session.client, &self.session.facts.houses);
        let rows = client.wait(async { Ok(client.query(statement, &[&numbers]).await?) })?;
        let house = |row: &Row| {
            let kind = kind_of(AccountKind::parse, row, 1)?;
            Ok((AccountNumber(bytes(row, 0)?), House { kind, owner: row.try_get(2)?, currency: text(row, 3)? }))
        };
        rows.iter().map(house).collect()
    }
}

/// What a row says about a device.
pub(super) fn chain_of(row: &Row) -> Result<Chain, LedgerError> {
    let (head, frozen) = (values::chain(row.try_get(2)?, digest(row, 3)?)?, row.try_get(5)?);
    Ok(Chain { account: text(row, 1)?, revoked: row.try_get(6)?, head, frozen })
}

fn not_read(what: impl std::fmt::Display) -> LedgerError {
    LedgerError::damaged(format_args!("`{what}` was not locked"))
}

impl Facts for Books<'_> {
    fn order_sha256(&mut self, id: OrderId) -> Result<Option<Sha256>, LedgerError> {
        match self.asked.orders.contains(&id) {
            true => Ok(self.orders.get(&id).map(|(sha256, _)| *sha256)),
            false => Err(not_read(id)),
        }
    }

    fn first_receipt(&mut self, order: OrderId) -> Result<FeedEntry, LedgerError> {
        let (_, entry) = self.orders.get(&order).ok_or_else(|| not_read(order))?;
        entry.clone().ok_or_else(|| LedgerError::damaged(format_args!("the order {order} has no receipt")))
    }

    fn order_at(&mut self, account: &AccountId, device: KeyId, sequence: u64) -> Result<Option<OrderId>, LedgerError> {
        let (client, statement) = (&self.session.client, &self.session.facts.order_at);
        let (account, device, sequence) = (account.as_str(), device.to_string(), values::stored_count(sequence));
        let row = client.wait(async { Ok(client.query_opt(statement, &[&account, &device, &sequence]).await?) })?;
        row.map(|row| Ok(OrderId(bytes(&row, 0)?))).transpose()
    }

    fn account_of(&mut self, device: KeyId) -> Result<Option<AccountId>, LedgerError> {
        device_account(self.session, device)
    }

    fn allowance(&mut self, id: AllowanceId) -> Result<Option<AllowanceRecord>, LedgerError> {
        match self.asked.allowances.contains(&id) || self.allowances.contains_key(&id) {
            true => Ok(self.allowances.get(&id).cloned()),
            false => Err(not_read(id)),
        }
    }

    fn open_allowances(&mut self, account: &AccountId) -> Result<Vec<AllowanceRecord>, LedgerError> {
        if !self.asked.allowed.contains(account) {
            return Err(not_read(account));
        }
        self.known(account)?;
        let pending = self.allowances.values().filter(|one| one.hold.status == HoldStatus::Pending);
        Ok(pending.filter(|one| one.hold.account == *account).cloned().collect())
    }

    fn chain(&mut self, device: KeyId) -> Result<Chain, LedgerError> {
        if let Some(chain) = self.chains.get(&device) {
            return Ok(chain.clone());
        }
        // The account that it is taken for was locked by its devices: it belongs to another, or has come there since.
        let (client, statement, name) = (&self.session.client, &self.session.facts.device, device.to_string());
        let row = client.wait(async { Ok(client.query_opt(statement, &[&name]).await?) })?;
        let chain = chain_of(&row.ok_or(LedgerError::UnknownDevice(device))?)?;
        self.chains.insert(device, chain.clone());
        Ok(chain)
    }

    fn owns(&mut self, account: &AccountId, product: &ProductId) -> Result<bool, LedgerError> {
        Ok(self.owned(account, product)?.is_some())
    }

    fn runs(&mut self, account: &AccountId, product: &ProductId, now: UnixSeconds) -> Result<bool, LedgerError> {
        Ok(self.owned(account, product)?.flatten().is_some_and(|until| until > now))
    }

    fn feed_length(&mut self, account: &AccountId) -> Result<u64, LedgerError> {
        let known = self.known(account)?;
        if known.has_device { Ok(known.feed) } else { self.length_without_devices(account) }
    }

    fn lots(&mut self, account: &AccountId, currency: Currency) -> Result<Vec<Lot>, LedgerError> {
        Ok(self.known(account)?.lots.iter().filter(|lot| lot.currency == currency).cloned().collect())
    }

    fn due_holds(&mut self, account: &AccountId, _now: UnixSeconds) -> Result<Vec<HoldRecord>, LedgerError> {
        // Read as of the time of the plan.
        Ok(self.known(account)?.due.clone())
    }

    fn moved_to(&mut self, account: &AccountId) -> Result<Option<AccountId>, LedgerError> {
        self.where_it_went(account)
    }

    fn has_account(&mut self, account: &AccountId) -> Result<bool, LedgerError> {
        Ok(self.known(account)?.has_device || self.was_left(account)?)
    }

    fn operation(&mut self, id: OperationId) -> Result<Option<OperationRecord>, LedgerError> {
        let Some(row) = self.row(&self.session.facts.operation, &id.0)? else { return Ok(None) };
        let decision = OperationRecord::parse_decision(row.try_get(2)?, row.try_get(3)?);
        let (sha256, decision) = (Sha256(bytes(&row, 1)?), decision.map_err(LedgerError::damaged)?);
        Ok(Some(OperationRecord { id, name: row.try_get(0)?, sha256, decision, at: row.try_get(4)? }))
    }

    fn lot(&mut self, id: TransferId) -> Result<Option<Lot>, LedgerError> {
        self.row(&self.session.facts.lot, &id.0)?.map(|row| lot_of(&row)).transpose()
    }

    fn paid_order(&mut self, id: OrderId) -> Result<Option<PaidOrder>, LedgerError> {
        let Some(row) = self.row(&self.session.facts.paid_order, &id.0)? else { return Ok(None) };
        let quantity = |column| u32::try_from(row.try_get::<_, i64>(column)?).map_err(LedgerError::damaged);
        Ok(Some(PaidOrder {
            order: id,
            account: text(&row, 0)?,
            status: kind_of(books::parse_status, &row, 1)?,
            quantity: quantity(2)?,
            refunded_quantity: quantity(3)?,
            amount: Money::new(values::micros(row.try_get(4)?)?, text(&row, 5)?),
            refunded_amount: row.try_get(6)?,
        }))
    }

    fn transfers_of(&mut self, order: OrderId) -> Result<Vec<Transfer>, LedgerError> {
        let (client, statements) = (&self.session.client, &self.session.facts);
        let mut transfers = Vec::new();
        // Its legs have numbers without gaps.
        for first in (0..).step_by(LEGS) {
            let ids: Vec<_> = (first..).take(LEGS).map(|leg| TransferId::of_purchase(order, leg).0.to_vec()).collect();
            let rows = client.wait(async { Ok(client.query(&statements.paying, &[&ids]).await?) })?;
            transfers.extend(rows.iter().map(|row| transfer_of(row, order)).collect::<Result<Vec<_>, _>>()?);
            if rows.len() < LEGS {
                break;
            }
        }
        let rows = client.wait(async { Ok(client.query(&statements.refunding, &[&&order.0[..]]).await?) })?;
        transfers.extend(rows.iter().map(|row| transfer_of(row, order)).collect::<Result<Vec<_>, _>>()?);
        Ok(transfers)
    }

    fn hold(&mut self, id: OperationId) -> Result<Option<HoldRecord>, LedgerError> {
        let (client, statement, id) = (&self.session.client, &self.session.facts.hold, &id.0[..]);
        let rows = client.wait(async { Ok(client.query(statement, &[&id]).await?) })?;
        Ok(holds_of(&rows)?.pop())
    }

    fn payable(&mut self, creator: &CreatorId, currency: Currency) -> Result<i64, LedgerError> {
        let row = self.row(&self.session.facts.payable, &House::payable(creator, currency).number().0)?;
        let sum = row.map(|row| row.try_get::<_, Option<i64>>(0)).transpose()?;
        Ok(sum.flatten().unwrap_or_default())
    }
}

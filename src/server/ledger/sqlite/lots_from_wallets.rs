//! From version 1, in which a wallet was one account, to its lots: every old transfer is done again, in the order in
//! which they were written, by today's rules.
//!
//! A welcome credit opens a promotional lot, a credit of the operator's a paid one. A purchase is drawn from the lots in
//! the order of spending, and a refund goes back to those that had paid. So balances, revenue and refunds stay what they
//! were, while the transfers, and their ids, are new ones. Old books that do not add up are left as they are.

use std::collections::HashMap;

use rusqlite::{Row, Transaction};

use super::super::account::{House, OPERATOR, Origin, WELCOME, source};
use super::super::changes::Changes;
use super::super::lot::{self, Lot};
use super::super::operation::{Action, Answer, Credit, OperationRecord};
use super::super::transfer::{self, TransferKind};
use super::super::values;
use super::super::{AccountNumber, LedgerError, OperationId, TransferId, refund};
use super::writing;
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, Currency, GameId, Micros, Money, OrderId, UnixSeconds};

/// A transfer of version 1, and the wallet that it is from or to.
struct Old {
    id: [u8; 16],
    kind: String,
    amount: i64,
    order: Option<OrderId>,
    at: UnixSeconds,
    account: AccountId,
    currency: Currency,
}

/// Fills the new tables from the old ones.
pub(super) fn fill(transaction: &Transaction<'_>) -> Result<(), LedgerError> {
    let game: String = transaction.query_row("SELECT value FROM meta WHERE name = 'game'", [], |row| row.get(0))?;
    let mut books = Books { game: values::parsed(&game)?, wallets: HashMap::new(), orders: HashMap::new() };
    let mut statement = transaction.prepare(
        "SELECT old_transfers.id, old_transfers.kind, amount, order_id, created_at, owner, currency
         FROM old_transfers JOIN old_accounts ON old_accounts.id IN (debit_account, credit_account)
         WHERE old_accounts.kind = 'wallet' ORDER BY old_transfers.rowid",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let changes = books.replay(&old(row)?)?;
        writing::write(transaction, &changes)?;
    }
    Ok(())
}

fn old(row: &Row<'_>) -> Result<Old, LedgerError> {
    let (account, currency): (String, String) = (row.get(5)?, row.get(6)?);
    Ok(Old {
        id: row.get(0)?,
        kind: row.get(1)?,
        amount: row.get(2)?,
        order: row.get::<_, Option<[u8; 16]>>(3)?.map(OrderId),
        at: row.get(4)?,
        account: values::parsed(&account)?,
        currency: values::parsed(&currency)?,
    })
}

/// The books as they were by then.
struct Books {
    game: GameId,
    wallets: HashMap<(AccountId, Currency), Vec<Lot>>,
    /// What was paid for each order.
    orders: HashMap<OrderId, Vec<transfer::Transfer>>,
}

impl Books {
    fn replay(&mut self, old: &Old) -> Result<Changes, LedgerError> {
        match (old.kind.as_str(), old.order) {
            ("welcome", None) => self.open(old, TransferKind::Welcome),
            ("credit", None) => self.open(old, TransferKind::Credit),
            ("purchase", Some(order)) => self.purchase(old, order),
            ("refund", Some(order)) => self.refund(old, order),
            _ => Err(damaged(old, "it is of no kind that this version wrote")),
        }
    }

    fn lots(&mut self, old: &Old) -> &mut Vec<Lot> {
        self.wallets.entry((old.account.clone(), old.currency)).or_default()
    }

    fn open(&mut self, old: &Old, kind: TransferKind) -> Result<Changes, LedgerError> {
        let operation = OperationId(old.id);
        let (id, origin, from) = match kind {
            TransferKind::Welcome => (TransferId::of_welcome(&old.account), Origin::Promotional, WELCOME),
            _ => (TransferId::of_credit(operation), Origin::Paid, OPERATOR),
        };
        let lot = Lot {
            id,
            account: old.account.clone(),
            currency: old.currency,
            origin,
            source: source(from).map_err(LedgerError::damaged)?,
            opened_at: old.at,
            refundable_until: None,
            opened_with: old.amount,
            refunded: 0,
            balance: 0,
            held: 0,
        };
        let lots = self.lots(old);
        lots.push(Lot { balance: old.amount, ..lot.clone() });
        let available = Micros::new(lot::available(lots)).map_err(LedgerError::damaged)?;
        let mut changes = Changes::default();
        changes.open(lot, kind, old.at);
        if kind == TransferKind::Credit {
            changes.operation = Some(credited(old, operation, available)?);
        }
        Ok(changes)
    }

    fn purchase(&mut self, old: &Old, order: OrderId) -> Result<Changes, LedgerError> {
        let mut changes = Changes::default();
        let revenue = changes.house(House::revenue(&self.game, old.currency));
        let lots = self.lots(old);
        let drawn = lot::draw(lots, old.amount).ok_or_else(|| damaged(old, "it takes more than the wallet held"))?;
        for (id, part) in &drawn {
            for lot in lots.iter_mut().filter(|lot| lot.id == *id) {
                lot.balance = lot.balance.saturating_sub(*part);
            }
        }
        for (leg, (lot, amount)) in (0..).zip(drawn) {
            changes.transfer(transfer::Transfer {
                id: TransferId::of_purchase(order, leg),
                kind: TransferKind::Purchase,
                debit: AccountNumber::of_lot(lot),
                credit: revenue,
                amount,
                order: Some(order),
                hold: None,
                at: old.at,
            });
        }
        self.orders.insert(order, changes.transfers.clone());
        Ok(changes)
    }

    fn refund(&mut self, old: &Old, order: OrderId) -> Result<Changes, LedgerError> {
        let paid = self.orders.get(&order).map_or(&[][..], Vec::as_slice);
        let reversal =
            refund::reversal(paid, old.amount).ok_or_else(|| damaged(old, "it gives back more than was paid"))?;
        let mut changes = Changes::default();
        for (leg, (lot, revenue, amount)) in (0..).zip(reversal) {
            for known in self.lots(old).iter_mut().filter(|known| known.number() == lot) {
                known.balance = known.balance.saturating_add(amount);
            }
            changes.transfer(transfer::Transfer {
                id: TransferId::of_operation(TransferKind::Refund, OperationId(old.id), leg),
                kind: TransferKind::Refund,
                debit: revenue,
                credit: lot,
                amount,
                order: Some(order),
                hold: None,
                at: old.at,
            });
        }
        Ok(changes)
    }
}

/// The operation that a credit of version 1 was, so that its id stays used.
fn credited(old: &Old, id: OperationId, available: Micros) -> Result<OperationRecord, LedgerError> {
    let money = Money::new(Micros::new(old.amount).map_err(LedgerError::damaged)?, old.currency);
    let action = Action::from(Credit::paid(old.account.clone(), money).map_err(LedgerError::damaged)?);
    let balance = Balance { currency: old.currency, available, held: Micros::ZERO };
    let answer = Answer::Wallet { account: old.account.clone(), balance, money };
    let (name, sha256) = (action.name().to_owned(), action.sha256());
    Ok(OperationRecord { id, name, sha256, decision: Ok(answer), at: old.at })
}

fn damaged(old: &Old, what: &str) -> LedgerError {
    LedgerError::damaged(format_args!("the transfer {} is not like the others: {what}", TransferId(old.id)))
}

//! The file as the planner asks for it.

use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::account::{House, Origin};
use super::super::fork::Chain;
use super::super::hold::{HoldRecord, HoldStatus};
use super::super::lot::Lot;
use super::super::operation::OperationRecord;
use super::super::plan::Facts;
use super::super::refund::PaidOrder;
use super::super::transfer::{Transfer, TransferKind};
use super::super::{
    AccountNumber, AllowanceRecord, AllowanceTerms, FeedEntry, LedgerError, OperationId, TransferId, books, values,
};
use super::reading;
use crate::protocol::{
    AccountId, AllowanceId, CreatorId, Currency, KeyId, Money, OrderId, ProductId, Sha256, Token, UnixSeconds,
};

/// The books under the write lock, so that what is read stays so until it is written.
pub(super) struct Books<'a>(pub(super) &'a Connection);

/// The columns of a lot.
pub(super) const LOT: &str = "id, owner, currency, origin, source, opened_at, refundable_until, opened_with, refunded,
    credits_posted - debits_posted, debits_pending";

/// The columns of a transfer.
const TRANSFER: &str = "id, kind, debit_account, credit_account, amount, created_at";

/// The columns of a hold.
const HOLD: &str = "holds.id, account, currency, amount, holds.expires_at, status, posted, resolved_at";

impl Books<'_> {
    /// Whether any hold is due.
    pub(super) fn any_due_holds(&self, now: UnixSeconds) -> Result<bool, LedgerError> {
        let mut statement =
            self.0.prepare_cached("SELECT 1 FROM holds WHERE status = 'pending' AND expires_at <= ?1")?;
        Ok(statement.exists([now])?)
    }

    /// The accounts with holds that are due.
    pub(super) fn due_accounts(&self, now: UnixSeconds) -> Result<Vec<AccountId>, LedgerError> {
        let mut statement = self
            .0
            .prepare_cached("SELECT DISTINCT account FROM holds WHERE status = 'pending' AND expires_at <= ?1")?;
        let mut rows = statement.query([now])?;
        let mut accounts = Vec::new();
        while let Some(row) = rows.next()? {
            match text(row, 0) {
                Err(LedgerError::Damaged(what)) => tracing::error!("a hold that is due stays: `{what}`"),
                account => accounts.push(account?),
            }
        }
        Ok(accounts)
    }

    fn hold_of(&self, row: &Row<'_>) -> Result<HoldRecord, LedgerError> {
        let id = OperationId(row.get(0)?);
        let status: String = row.get(5)?;
        let status = HoldStatus::parse(&status).ok_or_else(|| LedgerError::damaged("an unknown status of a hold"))?;
        Ok(HoldRecord {
            id,
            account: text(row, 1)?,
            currency: text(row, 2)?,
            amount: row.get(3)?,
            expires_at: row.get(4)?,
            status,
            posted: row.get(6)?,
            resolved_at: row.get(7)?,
            legs: self.legs_of(id)?,
        })
    }

    /// The holds of an account that are pending, but for those behind allowances.
    pub(super) fn pending_holds(&self, account: &AccountId) -> Result<Vec<HoldRecord>, LedgerError> {
        let statement = format!(
            "SELECT {HOLD} FROM holds WHERE account = ?1 AND status = 'pending'
                 AND NOT EXISTS (SELECT 1 FROM allowances WHERE allowances.id = holds.id)"
        );
        let mut statement = self.0.prepare_cached(&statement)?;
        let mut rows = statement.query([account.as_str()])?;
        let mut holds = Vec::new();
        while let Some(row) = rows.next()? {
            holds.push(self.hold_of(row)?);
        }
        Ok(holds)
    }

    /// Allowances, by a condition on the holds behind them.
    fn allowances(
        &self,
        condition: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<AllowanceRecord>, LedgerError> {
        let statement = format!(
            "SELECT {HOLD}, device, number, issued_at, allowances.expires_at, per_order, most_orders, catalog, token, spent,
                 orders
             FROM holds JOIN allowances USING (id) WHERE {condition}"
        );
        let mut statement = self.0.prepare_cached(&statement)?;
        let mut rows = statement.query(parameters)?;
        let mut allowances = Vec::new();
        while let Some(row) = rows.next()? {
            let terms = AllowanceTerms {
                device: text(row, 8)?,
                number: row.get(9)?,
                issued_at: row.get(10)?,
                expires_at: row.get(11)?,
                per_order: row.get(12)?,
                most_orders: row.get(13)?,
                catalog: Sha256(row.get(14)?),
                token: Token::from_text(row.get_ref(15)?.as_str().map_err(LedgerError::damaged)?),
                spent: row.get(16)?,
                orders: row.get(17)?,
            };
            allowances.push(AllowanceRecord { hold: self.hold_of(row)?, terms });
        }
        Ok(allowances)
    }

    /// What each lot gives to a hold, in the order in which they were drawn.
    fn legs_of(&self, hold: OperationId) -> Result<Vec<(TransferId, i64)>, LedgerError> {
        let mut statement = self.0.prepare_cached(
            "SELECT debit_account, amount FROM transfers WHERE hold_id = ?1 AND kind = 'hold' AND id = ?2",
        )?;
        let mut legs = Vec::new();
        for leg in 0.. {
            let id = TransferId::of_operation(TransferKind::Hold, hold, leg);
            let found = statement.query_row(params![hold.0, id.0], |row| Ok((TransferId(row.get(0)?), row.get(1)?)));
            match found.optional()? {
                Some(found) => legs.push(found),
                None => break,
            }
        }
        Ok(legs)
    }
}

/// Text in a column, parsed again.
pub(super) fn text<T: FromStr<Err: std::fmt::Display>>(row: &Row<'_>, column: usize) -> Result<T, LedgerError> {
    values::parsed(row.get_ref(column)?.as_str().map_err(LedgerError::damaged)?)
}

pub(super) fn lot_of(row: &Row<'_>) -> Result<Lot, LedgerError> {
    let origin = row.get_ref(3)?.as_str().map_err(LedgerError::damaged)?;
    Ok(Lot {
        id: TransferId(row.get(0)?),
        account: text(row, 1)?,
        currency: text(row, 2)?,
        origin: Origin::parse(origin).ok_or_else(|| LedgerError::damaged("an unknown origin of a lot"))?,
        source: text(row, 4)?,
        opened_at: row.get(5)?,
        refundable_until: row.get(6)?,
        opened_with: row.get(7)?,
        refunded: row.get(8)?,
        balance: row.get(9)?,
        held: row.get(10)?,
    })
}

fn transfer_of(row: &Row<'_>, order: OrderId) -> Result<Transfer, LedgerError> {
    let kind = row.get_ref(1)?.as_str().map_err(LedgerError::damaged)?;
    Ok(Transfer {
        id: TransferId(row.get(0)?),
        kind: TransferKind::parse(kind).ok_or_else(|| LedgerError::damaged("an unknown kind of transfer"))?,
        debit: AccountNumber(row.get(2)?),
        credit: AccountNumber(row.get(3)?),
        amount: row.get(4)?,
        order: Some(order),
        hold: None,
        at: row.get(5)?,
    })
}

impl Facts for Books<'_> {
    fn order_sha256(&mut self, id: OrderId) -> Result<Option<Sha256>, LedgerError> {
        let mut statement = self.0.prepare_cached("SELECT sha256 FROM orders WHERE id = ?1")?;
        Ok(statement.query_row([id.0], |row| row.get(0).map(Sha256)).optional()?)
    }

    fn first_receipt(&mut self, order: OrderId) -> Result<FeedEntry, LedgerError> {
        let first = reading::first_receipt(self.0, order)?;
        first.ok_or_else(|| LedgerError::damaged(format_args!("the order {order} has no receipt")))
    }

    fn chain(&mut self, device: KeyId) -> Result<Chain, LedgerError> {
        reading::chain(self.0, device)
    }

    fn order_at(&mut self, account: &AccountId, device: KeyId, sequence: u64) -> Result<Option<OrderId>, LedgerError> {
        // By the account's receipts: it is asked for so seldom that no order should be in another index for it.
        let mut statement = self.0.prepare_cached(
            "SELECT orders.id FROM receipts JOIN orders ON orders.id = receipts.order_id
             WHERE receipts.account = ?1 AND orders.device = ?2 AND orders.sequence = ?3
                 -- A consumption may have the id of an order.
                 AND NOT EXISTS (SELECT 1 FROM consumptions WHERE consumptions.id = receipts.order_id
                     AND consumptions.account = receipts.account AND consumptions.feed = receipts.feed) LIMIT 1",
        )?;
        let parameters = params![account.as_str(), device.to_string(), values::stored_count(sequence)];
        Ok(statement.query_row(parameters, |row| row.get(0).map(OrderId)).optional()?)
    }

    fn account_of(&mut self, device: KeyId) -> Result<Option<AccountId>, LedgerError> {
        Ok(reading::device(self.0, device)?.map(|device| device.account))
    }

    fn owns(&mut self, account: &AccountId, product: &ProductId) -> Result<bool, LedgerError> {
        let mut statement = self.0.prepare_cached(
            "SELECT 1 FROM orders WHERE account = ?1 AND product = ?2 AND owned = 1 AND status = 'granted'",
        )?;
        Ok(statement.exists([account.as_str(), product.as_str()])?)
    }

    fn runs(&mut self, account: &AccountId, product: &ProductId, now: UnixSeconds) -> Result<bool, LedgerError> {
        let mut statement = self.0.prepare_cached(
            "SELECT 1 FROM orders WHERE account = ?1 AND product = ?2 AND owned = 1 AND status = 'granted' AND until > ?3",
        )?;
        Ok(statement.exists(params![account.as_str(), product.as_str(), now])?)
    }

    fn feed_length(&mut self, account: &AccountId) -> Result<u64, LedgerError> {
        reading::feed_length(self.0, account)
    }

    fn lots(&mut self, account: &AccountId, currency: Currency) -> Result<Vec<Lot>, LedgerError> {
        // The last condition is that of the index, word for word, so that closed lots cost nothing.
        let statement = format!(
            "SELECT {LOT} FROM accounts WHERE kind = 'wallet' AND owner = ?1 AND currency = ?2
                 AND (credits_posted <> debits_posted OR debits_pending <> 0)"
        );
        let mut statement = self.0.prepare_cached(&statement)?;
        let mut rows = statement.query([account.as_str(), currency.code()])?;
        let mut lots = Vec::new();
        while let Some(row) = rows.next()? {
            lots.push(lot_of(row)?);
        }
        Ok(lots)
    }

    fn due_holds(&mut self, account: &AccountId, now: UnixSeconds) -> Result<Vec<HoldRecord>, LedgerError> {
        let statement =
            format!("SELECT {HOLD} FROM holds WHERE account = ?1 AND status = 'pending' AND expires_at <= ?2");
        let mut statement = self.0.prepare_cached(&statement)?;
        let mut rows = statement.query(params![account.as_str(), now])?;
        let mut holds = Vec::new();
        while let Some(row) = rows.next()? {
            holds.push(self.hold_of(row)?);
        }
        Ok(holds)
    }

    fn moved_to(&mut self, account: &AccountId) -> Result<Option<AccountId>, LedgerError> {
        reading::moved_to(self.0, account)
    }

    fn has_account(&mut self, account: &AccountId) -> Result<bool, LedgerError> {
        reading::has_account(self.0, account)
    }

    fn operation(&mut self, id: OperationId) -> Result<Option<OperationRecord>, LedgerError> {
        let mut statement =
            self.0.prepare_cached("SELECT action, sha256, done, answer, created_at FROM operations WHERE id = ?1")?;
        let mut rows = statement.query([id.0])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let answer = row.get_ref(3)?.as_str().map_err(LedgerError::damaged)?;
        let decision = OperationRecord::parse_decision(row.get(2)?, answer).map_err(LedgerError::damaged)?;
        Ok(Some(OperationRecord { id, name: row.get(0)?, sha256: Sha256(row.get(1)?), decision, at: row.get(4)? }))
    }

    fn lot(&mut self, id: TransferId) -> Result<Option<Lot>, LedgerError> {
        let statement = format!("SELECT {LOT} FROM accounts WHERE id = ?1 AND kind = 'wallet'");
        let mut statement = self.0.prepare_cached(&statement)?;
        let mut rows = statement.query([id.0])?;
        rows.next()?.map(lot_of).transpose()
    }

    fn paid_order(&mut self, id: OrderId) -> Result<Option<PaidOrder>, LedgerError> {
        let mut statement = self.0.prepare_cached(
            "SELECT account, status, quantity, refunded_quantity, amount, currency, refunded_amount FROM orders
             WHERE id = ?1",
        )?;
        let mut rows = statement.query([id.0])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let status = row.get_ref(1)?.as_str().map_err(LedgerError::damaged)?;
        Ok(Some(PaidOrder {
            order: id,
            account: text(row, 0)?,
            status: books::parse_status(status).ok_or_else(|| LedgerError::damaged("an unknown status"))?,
            quantity: row.get(2)?,
            refunded_quantity: row.get(3)?,
            amount: Money::new(values::micros(row.get(4)?)?, text(row, 5)?),
            refunded_amount: row.get(6)?,
        }))
    }

    fn transfers_of(&mut self, order: OrderId) -> Result<Vec<Transfer>, LedgerError> {
        let mut transfers = Vec::new();
        // Its legs have numbers without gaps.
        let mut paid = self.0.prepare_cached(&format!("SELECT {TRANSFER} FROM transfers WHERE id = ?1"))?;
        for leg in 0.. {
            let mut rows = paid.query([TransferId::of_purchase(order, leg).0])?;
            let Some(row) = rows.next()? else { break };
            transfers.push(transfer_of(row, order)?);
        }
        let refunds = format!("SELECT {TRANSFER} FROM transfers WHERE order_id = ?1 AND kind = 'refund'");
        let mut refunds = self.0.prepare_cached(&refunds)?;
        let mut rows = refunds.query([order.0])?;
        while let Some(row) = rows.next()? {
            transfers.push(transfer_of(row, order)?);
        }
        Ok(transfers)
    }

    fn hold(&mut self, id: OperationId) -> Result<Option<HoldRecord>, LedgerError> {
        let statement = format!("SELECT {HOLD} FROM holds WHERE id = ?1");
        let mut statement = self.0.prepare_cached(&statement)?;
        let mut rows = statement.query([id.0])?;
        rows.next()?.map(|row| self.hold_of(row)).transpose()
    }

    fn allowance(&mut self, id: AllowanceId) -> Result<Option<AllowanceRecord>, LedgerError> {
        Ok(self.allowances("holds.id = ?1", [id.0])?.pop())
    }

    fn open_allowances(&mut self, account: &AccountId) -> Result<Vec<AllowanceRecord>, LedgerError> {
        self.allowances("account = ?1 AND status = 'pending'", [account.as_str()])
    }

    fn payable(&mut self, creator: &CreatorId, currency: Currency) -> Result<i64, LedgerError> {
        let number = House::payable(creator, currency).number();
        let mut statement =
            self.0.prepare_cached("SELECT credits_posted - debits_posted FROM accounts WHERE id = ?1")?;
        Ok(statement.query_row([number.0], |row| row.get(0)).optional()?.unwrap_or_default())
    }
}

//! Writing what a plan has decided.

use rusqlite::{Connection, params};

use super::super::changes::{Changes, NewOrder, NewStanding, Sums};
use super::super::fork::Fork;
use super::super::hold::HoldRecord;
use super::super::lot::Lot;
use super::super::transfer::Transfer;
use super::super::{AccountKind, AccountNumber, AllowanceTerms, FeedEntry, LedgerError, OperationId, books, values};
use super::membership;
use crate::protocol::{AccountId, AllowanceId, Receipt, ReceiptId, Token};

/// Writes a plan without its receipts, which may still be being signed.
pub(super) fn write(connection: &Connection, changes: &Changes) -> Result<(), LedgerError> {
    write_accounts(connection, changes)?;
    write_decisions(connection, changes)?;
    for order in &changes.orders {
        write_order(connection, order)?;
    }
    for standing in &changes.standings {
        write_standing(connection, standing)?;
    }
    for (device, head) in &changes.chains {
        connection
            .prepare_cached("UPDATE devices SET sequence = ?2, chain_head = ?3 WHERE id = ?1")?
            .execute(params![device.to_string(), values::stored_count(head.sequence), head.order_sha256.0])?;
    }
    // Last, since they name their orders.
    for transfer in &changes.transfers {
        write_transfer(connection, transfer)?;
    }
    Ok(())
}

/// Writes a plan's receipts as they were signed. Gives each one's place in its feed.
pub(super) fn write_receipts(
    connection: &Connection,
    changes: &Changes,
    tokens: Vec<Token>,
) -> Result<Vec<FeedEntry>, LedgerError> {
    changes.receipts.iter().zip(tokens).map(|(receipt, token)| write_receipt(connection, receipt, token)).collect()
}

fn write_accounts(connection: &Connection, changes: &Changes) -> Result<(), LedgerError> {
    for (number, house) in &changes.houses {
        connection
            .prepare_cached(
                "INSERT INTO accounts (id, kind, owner, currency) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )?
            .execute(params![number.0, house.kind.as_str(), house.owner, house.currency.code()])?;
    }
    for lot in &changes.lots {
        write_lot(connection, lot)?;
    }
    for (number, sums) in &changes.sums {
        write_sums(connection, *number, *sums)?;
    }
    for (number, refunded) in &changes.refunded {
        let mut statement = connection.prepare_cached("UPDATE accounts SET refunded = refunded + ?2 WHERE id = ?1")?;
        statement.execute(params![number.0, refunded])?;
    }
    Ok(())
}

fn write_decisions(connection: &Connection, changes: &Changes) -> Result<(), LedgerError> {
    for hold in &changes.holds {
        write_hold(connection, hold)?;
    }
    for (id, terms) in &changes.allowances {
        write_allowance(connection, *id, terms)?;
    }
    for (id, (posted, spent, orders)) in &changes.spent {
        let mut statement =
            connection.prepare_cached("UPDATE holds SET posted = ?2 WHERE id = ?1 AND status = 'pending'")?;
        one(statement.execute(params![id.0, posted])?, || format!("the hold {id} is not pending"))?;
        let mut statement = connection.prepare_cached("UPDATE allowances SET spent = ?2, orders = ?3 WHERE id = ?1")?;
        one(statement.execute(params![id.0, spent, orders])?, || format!("the allowance {id} is missing"))?;
    }
    for hold in &changes.resolved {
        let mut statement = connection.prepare_cached(
            "UPDATE holds SET status = ?2, posted = ?3, resolved_at = ?4 WHERE id = ?1 AND status = 'pending'",
        )?;
        let changed = statement.execute(params![hold.id.0, hold.status.as_str(), hold.posted, hold.resolved_at])?;
        one(changed, || format!("the hold {} is not pending", hold.id))?;
    }
    write_frozen(connection, changes)?;
    membership::write(connection, &changes.membership)?;
    if let Some(operation) = &changes.operation {
        let mut statement = connection.prepare_cached(
            "INSERT INTO operations (id, action, sha256, done, answer, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let (done, answer) = (operation.decision.is_ok(), operation.decision_text());
        statement.execute(params![operation.id.0, operation.name, operation.sha256.0, done, answer, operation.at])?;
    }
    Ok(())
}

/// Checks that one row was written.
pub(super) fn one(changed: usize, otherwise: impl FnOnce() -> String) -> Result<(), LedgerError> {
    if changed == 1 { Ok(()) } else { Err(LedgerError::damaged(otherwise())) }
}

fn write_lot(connection: &Connection, lot: &Lot) -> Result<(), LedgerError> {
    connection
        .prepare_cached("INSERT INTO wallets (account, currency) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute([lot.account.as_str(), lot.currency.code()])?;
    connection
        .prepare_cached(
            "INSERT INTO accounts (id, kind, owner, currency, origin, source, opened_at, refundable_until, opened_with,
                 refunded)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)",
        )?
        .execute(params![
            lot.id.0,
            AccountKind::Wallet.as_str(),
            lot.account.as_str(),
            lot.currency.code(),
            lot.origin.as_str(),
            lot.source.as_str(),
            lot.opened_at,
            lot.refundable_until,
            lot.opened_with,
        ])?;
    Ok(())
}

fn write_sums(connection: &Connection, number: AccountNumber, sums: Sums) -> Result<(), LedgerError> {
    let narrow = |sum: i128| i64::try_from(sum).map_err(|_| LedgerError::damaged("the sum of a batch is out of range"));
    let changed = connection
        .prepare_cached(
            "UPDATE accounts SET debits_posted = debits_posted + ?2, credits_posted = credits_posted + ?3,
                 debits_pending = debits_pending + ?4, credits_pending = credits_pending + ?5
             WHERE id = ?1",
        )?
        .execute(params![
            number.0,
            narrow(sums.debits_posted)?,
            narrow(sums.credits_posted)?,
            narrow(sums.debits_pending)?,
            narrow(sums.credits_pending)?,
        ])?;
    one(changed, || format!("the account {number} is missing"))
}

fn write_transfer(connection: &Connection, transfer: &Transfer) -> Result<(), LedgerError> {
    let Transfer { id, kind, debit, credit, amount, order, hold, at } = transfer;
    connection
        .prepare_cached(
            "INSERT INTO transfers (id, debit_account, credit_account, amount, kind, order_id, hold_id, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            id.0,
            debit.0,
            credit.0,
            amount,
            kind.as_str(),
            order.map(|order| order.0),
            hold.map(|OperationId(id)| id),
            at
        ])?;
    Ok(())
}

fn write_hold(connection: &Connection, hold: &HoldRecord) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO holds (id, account, currency, amount, expires_at, status) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            hold.id.0,
            hold.account.as_str(),
            hold.currency.code(),
            hold.amount,
            hold.expires_at,
            hold.status.as_str(),
        ])?;
    Ok(())
}

fn write_allowance(connection: &Connection, id: AllowanceId, terms: &AllowanceTerms) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO allowances (id, device, number, issued_at, expires_at, per_order, most_orders, catalog, token)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            id.0,
            terms.device.to_string(),
            terms.number,
            terms.issued_at,
            terms.expires_at,
            terms.per_order,
            terms.most_orders,
            terms.catalog.0,
            terms.token.as_str(),
        ])?;
    Ok(())
}

fn write_frozen(connection: &Connection, changes: &Changes) -> Result<(), LedgerError> {
    for Fork { device, sequence, first, second, at } in &changes.forks {
        connection
            .prepare_cached(
                "INSERT INTO forks (device, sequence, first, second, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![device.to_string(), values::stored_count(*sequence), first.0, second.0, at])?;
    }
    for (device, since) in &changes.frozen {
        let mut statement = connection.prepare_cached("UPDATE devices SET frozen_at = ?2 WHERE id = ?1")?;
        let changed = statement.execute(params![device.to_string(), since])?;
        one(changed, || format!("the device {device} is missing"))?;
    }
    Ok(())
}

fn write_order(connection: &Connection, new: &NewOrder) -> Result<(), LedgerError> {
    let order = new.verified.order();
    connection
        .prepare_cached(
            "INSERT INTO orders (id, account, feed, device, sequence, product, quantity, token, sha256, status, until,
                 amount, currency, settled_at, owned)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            order.id.0,
            order.account.as_str(),
            values::stored_count(new.feed),
            order.device.to_string(),
            new.chained.then_some(values::stored_count(order.sequence)),
            order.product.as_str(),
            order.quantity,
            new.verified.token().as_str(),
            new.verified.sha256().0,
            books::status_text(new.status),
            new.until,
            new.amount.micros.value(),
            new.amount.currency.code(),
            new.settled_at,
            new.owned,
        ])?;
    Ok(())
}

fn write_standing(connection: &Connection, standing: &NewStanding) -> Result<(), LedgerError> {
    let NewStanding { order, status, refunded_quantity, refunded_amount } = standing;
    let changed = connection
        .prepare_cached("UPDATE orders SET status = ?2, refunded_quantity = ?3, refunded_amount = ?4 WHERE id = ?1")?
        .execute(params![order.0, books::status_text(*status), refunded_quantity, refunded_amount])?;
    one(changed, || format!("the order {order} is missing"))
}

fn write_receipt(connection: &Connection, receipt: &Receipt, token: Token) -> Result<FeedEntry, LedgerError> {
    let place = (&receipt.account, receipt.feed);
    write_feed_entry(connection, place, receipt.id, receipt.order.0, &token)?;
    Ok(FeedEntry { feed: receipt.feed, token })
}

/// Writes a receipt of an order or of a consumption at its place of a feed.
pub(super) fn write_feed_entry(
    connection: &Connection,
    (account, feed): (&AccountId, u64),
    id: ReceiptId,
    answers: [u8; 16],
    token: &Token,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached("INSERT INTO receipts (account, feed, id, order_id, token) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![account.as_str(), values::stored_count(feed), id.0, answers, token.as_str()])?;
    Ok(())
}

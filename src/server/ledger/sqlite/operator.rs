//! What the operator does to the books: credits and refunds.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::transfer::OPERATOR;
use super::super::{AccountKind, Credit, CreditError, LedgerError, RefundError, TransferId, TransferKind, books};
use super::postings::{self, Posting, Postings};
use super::{reading, settlement};
use crate::protocol::sync::Balance;
use crate::protocol::{Micros, OrderId, Receipt, Status, UnixSeconds};
use crate::server::settle;
use crate::server::signing::Signer;

pub(super) fn credit(connection: &Connection, credit: &Credit, now: UnixSeconds) -> Result<Balance, CreditError> {
    let Credit { id, account, money } = credit;
    if money.micros <= Micros::ZERO {
        return Err(CreditError::NotPositive(*money));
    }
    if !reading::has_account(connection, account)? {
        return Err(CreditError::UnknownAccount(account.clone()));
    }
    let before = postings::available(connection, account, money.currency)?;
    let balance = |available| Balance { currency: money.currency, available, held: Micros::ZERO };
    if let Some(posted) = posted(connection, *id)? {
        let wallet = postings::account(connection, AccountKind::Wallet, account.as_str(), money.currency)?;
        let funding = postings::account(connection, AccountKind::Funding, OPERATOR, money.currency)?;
        let same = posted == (funding, wallet, money.micros.value());
        return if same { Ok(balance(before)) } else { Err(CreditError::IdUsed) };
    }
    let after = before.checked_add(money.micros).ok_or(CreditError::TooMuch(*money))?;
    let mut postings = Postings::new(connection, now);
    postings.post(Posting {
        id: *id,
        kind: TransferKind::Credit,
        wallet: account,
        other: (AccountKind::Funding, OPERATOR),
        money: *money,
        order: None,
    })?;
    postings.finish()?;
    Ok(balance(after))
}

/// The accounts and the amount of a transfer, if there is one of this id.
fn posted(connection: &Connection, id: TransferId) -> Result<Option<(i64, i64, i64)>, LedgerError> {
    let mut statement =
        connection.prepare_cached("SELECT debit_account, credit_account, amount FROM transfers WHERE id = ?1")?;
    Ok(statement.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?)
}

pub(super) fn refund(
    connection: &Connection,
    order: OrderId,
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<Receipt, RefundError> {
    let status: Option<String> = connection
        .prepare_cached("SELECT status FROM orders WHERE id = ?1")?
        .query_row([order.0], |row| row.get(0))
        .optional()?;
    match books::parse_status(&status.ok_or(RefundError::UnknownOrder(order))?) {
        Some(Status::Granted) => {}
        Some(Status::Refunded) => return Err(RefundError::AlreadyRefunded(order)),
        _ => return Err(RefundError::NotGranted(order)),
    }
    let first = reading::first_receipt(connection, order)?;
    let first = first.ok_or_else(|| LedgerError::damaged(format_args!("the order {order} has no receipt")))?;
    let granted = books::stored_receipt(&first.token)?;
    let (account, amount) = (granted.account.clone(), granted.amount);
    let before = postings::available(connection, &account, amount.currency)?;
    before.checked_add(amount.micros).ok_or(RefundError::TooMuch(amount))?;

    let mut postings = Postings::new(connection, now);
    postings.post(Posting {
        id: TransferId::of_refund(order),
        kind: TransferKind::Refund,
        wallet: &account,
        other: (AccountKind::Revenue, signer.game.as_str()),
        money: amount,
        order: Some(order),
    })?;
    postings.finish()?;
    connection
        .prepare_cached("UPDATE orders SET status = ?2 WHERE id = ?1")?
        .execute(params![order.0, books::status_text(Status::Refunded)])?;
    let feed = reading::feed_length(connection, &account)? + 1;
    let receipt = settle::refund_receipt(granted, feed, signer, now)?;
    let token = receipt.sign(&signer.key).map_err(LedgerError::Signing)?;
    settlement::store_receipt(connection, &receipt, token)?;
    Ok(receipt)
}

//! The tables row by row, as of one moment. Rows come in as they are asked for, so books of any size can be read.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use tokio_postgres::Row;

use super::super::{
    AccountRow, AllowanceRow, BookReader, ConsumptionRow, DeviceRow, ForkRow, HoldRow, InventoryRow, LedgerError,
    LoginRow, LotRow, MoveRow, OperationRow, OrderRow, ReceiptRow, TransferRow, WalletRow,
};
use super::parsing::bytes;
use super::reading::SNAPSHOT;
use super::session::{Session, wait_long};

const MOVES: &str = "SELECT device, number, source, target, place, sequence, closing, code, moved_at FROM moves
    ORDER BY device, number";
const LOGINS: &str = "SELECT sha256, account, bound_at FROM logins";
/// The rows of an account of the house are one to whoever reads: it need not know of stripes.
const ACCOUNTS: &str = "SELECT id, kind, owner, currency, SUM(debits_posted)::bigint, SUM(credits_posted)::bigint,
        SUM(debits_pending)::bigint, SUM(credits_pending)::bigint, MAX(origin), MAX(source), MAX(opened_at),
        MAX(refundable_until), MAX(opened_with), MAX(refunded), BOOL_OR(open)
    FROM accounts GROUP BY id, kind, owner, currency";
const WALLETS: &str = "SELECT account, currency FROM wallets";
const TRANSFERS: &str = "SELECT id, debit_account, credit_account, amount, kind, order_id, hold_id, created_at
    FROM transfers";
const DEVICES: &str = "SELECT id, account, public_key, sequence, chain_head, feed, frozen_at, created_at,
        place, name, revoked_at, replaced_by, consumed_sequence, consumed_repeated, consumed_missing
    FROM devices";
const ORDERS: &str = "SELECT id, account, device, sequence, token, sha256, status, amount, currency, product, quantity,
        until, refunded_quantity, refunded_amount, feed, owned, settled_at
    FROM orders ORDER BY device, sequence";
const CONSUMPTIONS: &str = "SELECT id, account, feed, device, sequence, item, quantity, token, sha256, consumed,
        settled_at
    FROM consumptions ORDER BY account, feed";
const INVENTORIES: &str = "SELECT account, feed, counts FROM inventories";
const RECEIPTS: &str = "SELECT account, feed, id, order_id, token FROM receipts ORDER BY account, feed";
const ALLOWANCES: &str =
    "SELECT id, device, number, issued_at, expires_at, per_order, most_orders, catalog, token, spent,
        orders
    FROM allowances";
const FORKS: &str = "SELECT device, sequence, first, second, created_at FROM forks";
const HOLDS: &str = "SELECT id, account, currency, amount, expires_at, status, posted, resolved_at FROM holds";
const OPERATIONS: &str = "SELECT id, action, sha256, done, answer, created_at FROM operations";

/// Whole tables are read in one go, however long that takes, and however long the reader takes over a row.
const PATIENTLY: &str = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
    SET LOCAL enable_seqscan = on";

pub(super) fn read(session: &Session, reader: &mut dyn BookReader) -> Result<(), LedgerError> {
    for statement in [SNAPSHOT, PATIENTLY] {
        session.client.wait(async { Ok(session.client.batch_execute(statement).await?) })?;
    }
    each(session, MOVES, moved, |row| reader.moved(row))?;
    each(session, LOGINS, login, |row| reader.login(row))?;
    each(session, ACCOUNTS, account, |row| reader.account(row))?;
    each(session, WALLETS, wallet, |row| reader.wallet(row))?;
    each(session, TRANSFERS, transfer, |row| reader.transfer(row))?;
    if !reader.ends_after_transfers() {
        each(session, DEVICES, device, |row| reader.device(row))?;
        each(session, ORDERS, order, |row| reader.order(row))?;
        each(session, CONSUMPTIONS, consumption, |row| reader.consumption(row))?;
        each(session, INVENTORIES, inventory, |row| reader.inventory(row))?;
        each(session, RECEIPTS, receipt, |row| reader.receipt(row))?;
        each(session, ALLOWANCES, allowance, |row| reader.allowance(row))?;
        each(session, FORKS, fork, |row| reader.fork(row))?;
        each(session, HOLDS, hold, |row| reader.hold(row))?;
        each(session, OPERATIONS, operation, |row| reader.operation(row))?;
    }
    wait_long(async { Ok(session.client.batch_execute("COMMIT").await?) })
}

fn each<T>(
    session: &Session,
    statement: &str,
    read: fn(&Row) -> Result<T, LedgerError>,
    mut show: impl FnMut(T),
) -> Result<(), LedgerError> {
    wait_long(async {
        let none: [&str; 0] = [];
        let mut rows = pin!(session.client.query_raw(statement, none).await?);
        while let Some(row) = rows.try_next().await? {
            show(read(&row)?);
        }
        Ok(())
    })
}

fn moved(row: &Row) -> Result<MoveRow, LedgerError> {
    Ok(MoveRow {
        device: row.try_get(0)?,
        number: row.try_get(1)?,
        source: row.try_get(2)?,
        target: row.try_get(3)?,
        place: row.try_get(4)?,
        sequence: row.try_get(5)?,
        closing: row.try_get(6)?,
        code: row.try_get(7)?,
        moved_at: row.try_get(8)?,
    })
}

fn login(row: &Row) -> Result<LoginRow, LedgerError> {
    Ok(LoginRow { sha256: row.try_get(0)?, account: row.try_get(1)?, bound_at: row.try_get(2)? })
}

fn account(row: &Row) -> Result<AccountRow, LedgerError> {
    Ok(AccountRow {
        id: bytes(row, 0)?,
        kind: row.try_get(1)?,
        owner: row.try_get(2)?,
        currency: row.try_get(3)?,
        debits_posted: row.try_get(4)?,
        credits_posted: row.try_get(5)?,
        debits_pending: row.try_get(6)?,
        credits_pending: row.try_get(7)?,
        lot: lot(row)?,
    })
}

fn lot(row: &Row) -> Result<Option<LotRow>, LedgerError> {
    let Some(origin) = row.try_get(8)? else { return Ok(None) };
    Ok(Some(LotRow {
        origin,
        source: row.try_get(9)?,
        opened_at: row.try_get(10)?,
        refundable_until: row.try_get(11)?,
        opened_with: row.try_get(12)?,
        refunded: row.try_get(13)?,
        open: row.try_get(14)?,
    }))
}

fn wallet(row: &Row) -> Result<WalletRow, LedgerError> {
    Ok(WalletRow { account: row.try_get(0)?, currency: row.try_get(1)? })
}

fn transfer(row: &Row) -> Result<TransferRow, LedgerError> {
    Ok(TransferRow {
        id: bytes(row, 0)?,
        debit_account: bytes(row, 1)?,
        credit_account: bytes(row, 2)?,
        amount: row.try_get(3)?,
        kind: row.try_get(4)?,
        order: optional(row, 5)?,
        hold: optional(row, 6)?,
        created_at: row.try_get(7)?,
    })
}

/// The id in a column, if there is one.
fn optional(row: &Row, column: usize) -> Result<Option<[u8; 16]>, LedgerError> {
    match row.try_get::<_, Option<&[u8]>>(column)? {
        Some(_) => bytes(row, column).map(Some),
        None => Ok(None),
    }
}

fn device(row: &Row) -> Result<DeviceRow, LedgerError> {
    Ok(DeviceRow {
        id: row.try_get(0)?,
        account: row.try_get(1)?,
        public_key: row.try_get(2)?,
        sequence: row.try_get(3)?,
        chain_head: row.try_get(4)?,
        feed: row.try_get(5)?,
        frozen_at: row.try_get(6)?,
        enrolled_at: row.try_get(7)?,
        place: row.try_get(8)?,
        name: row.try_get(9)?,
        revoked_at: row.try_get(10)?,
        replaced_by: row.try_get(11)?,
        consumed_sequence: row.try_get(12)?,
        consumed_repeated: row.try_get(13)?,
        consumed_missing: row.try_get(14)?,
    })
}

fn order(row: &Row) -> Result<OrderRow, LedgerError> {
    Ok(OrderRow {
        id: bytes(row, 0)?,
        account: row.try_get(1)?,
        device: row.try_get(2)?,
        sequence: row.try_get(3)?,
        token: row.try_get(4)?,
        sha256: row.try_get(5)?,
        status: row.try_get(6)?,
        amount: row.try_get(7)?,
        currency: row.try_get(8)?,
        product: row.try_get(9)?,
        quantity: row.try_get(10)?,
        until: row.try_get(11)?,
        refunded_quantity: row.try_get(12)?,
        refunded_amount: row.try_get(13)?,
        feed: row.try_get(14)?,
        owned: row.try_get(15)?,
        settled_at: row.try_get(16)?,
    })
}

fn consumption(row: &Row) -> Result<ConsumptionRow, LedgerError> {
    Ok(ConsumptionRow {
        id: bytes(row, 0)?,
        account: row.try_get(1)?,
        feed: row.try_get(2)?,
        device: row.try_get(3)?,
        sequence: row.try_get(4)?,
        item: row.try_get(5)?,
        quantity: row.try_get(6)?,
        token: row.try_get(7)?,
        sha256: row.try_get(8)?,
        consumed: row.try_get(9)?,
        settled_at: row.try_get(10)?,
    })
}

fn inventory(row: &Row) -> Result<InventoryRow, LedgerError> {
    Ok(InventoryRow { account: row.try_get(0)?, feed: row.try_get(1)?, counts: row.try_get(2)? })
}

fn receipt(row: &Row) -> Result<ReceiptRow, LedgerError> {
    Ok(ReceiptRow {
        account: row.try_get(0)?,
        feed: row.try_get(1)?,
        id: bytes(row, 2)?,
        answers: bytes(row, 3)?,
        token: row.try_get(4)?,
    })
}

fn allowance(row: &Row) -> Result<AllowanceRow, LedgerError> {
    Ok(AllowanceRow {
        id: bytes(row, 0)?,
        device: row.try_get(1)?,
        number: row.try_get(2)?,
        issued_at: row.try_get(3)?,
        expires_at: row.try_get(4)?,
        per_order: row.try_get(5)?,
        most_orders: row.try_get(6)?,
        catalog: row.try_get(7)?,
        token: row.try_get(8)?,
        spent: row.try_get(9)?,
        orders: row.try_get(10)?,
    })
}

fn fork(row: &Row) -> Result<ForkRow, LedgerError> {
    Ok(ForkRow {
        device: row.try_get(0)?,
        sequence: row.try_get(1)?,
        first: bytes(row, 2)?,
        second: bytes(row, 3)?,
        created_at: row.try_get(4)?,
    })
}

fn hold(row: &Row) -> Result<HoldRow, LedgerError> {
    Ok(HoldRow {
        id: bytes(row, 0)?,
        account: row.try_get(1)?,
        currency: row.try_get(2)?,
        amount: row.try_get(3)?,
        expires_at: row.try_get(4)?,
        status: row.try_get(5)?,
        posted: row.try_get(6)?,
        resolved_at: row.try_get(7)?,
    })
}

fn operation(row: &Row) -> Result<OperationRow, LedgerError> {
    Ok(OperationRow {
        id: bytes(row, 0)?,
        action: row.try_get(1)?,
        sha256: row.try_get(2)?,
        done: row.try_get(3)?,
        answer: row.try_get(4)?,
        created_at: row.try_get(5)?,
    })
}

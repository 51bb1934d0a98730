//! The file row by row.

use rusqlite::{Connection, Row};

use super::super::{
    AccountRow, AllowanceRow, BookReader, ConsumptionRow, DeviceRow, ForkRow, HoldRow, InventoryRow, LedgerError,
    LoginRow, LotRow, MoveRow, OperationRow, OrderRow, ReceiptRow, TransferRow, WalletRow,
};

pub(super) fn read(connection: &Connection, reader: &mut dyn BookReader) -> Result<(), LedgerError> {
    let moves = "SELECT device, number, source, target, place, sequence, closing, code, moved_at FROM moves
                 ORDER BY device, number";
    each(connection, moves, moved, |row| reader.moved(row))?;
    each(connection, "SELECT sha256, account, bound_at FROM logins", login, |row| reader.login(row))?;
    // Which lots are open is not stored: the condition is that of the index on them.
    let accounts = "SELECT id, kind, owner, currency, debits_posted, credits_posted, debits_pending,
                        credits_pending, origin, source, opened_at, refundable_until, opened_with, refunded,
                        credits_posted <> debits_posted OR debits_pending <> 0
                    FROM accounts ORDER BY id";
    each(connection, accounts, account, |row| reader.account(row))?;
    each(connection, "SELECT account, currency FROM wallets", wallet, |row| reader.wallet(row))?;
    let transfers =
        "SELECT id, debit_account, credit_account, amount, kind, order_id, hold_id, created_at FROM transfers
                     ORDER BY rowid";
    each(connection, transfers, transfer, |row| reader.transfer(row))?;
    if reader.ends_after_transfers() {
        return Ok(());
    }
    let devices =
        "SELECT id, account, public_key, sequence, chain_head, frozen_at, created_at, place, name, revoked_at,
                       replaced_by, consumed_sequence, consumed_repeated, consumed_missing
                   FROM devices ORDER BY id";
    each(connection, devices, device, |row| reader.device(row))?;
    let orders =
        "SELECT id, account, device, sequence, token, sha256, status, amount, currency, product, quantity, until,
                      refunded_quantity, refunded_amount, feed, owned, settled_at
                  FROM orders ORDER BY rowid";
    each(connection, orders, order, |row| reader.order(row))?;
    let consumptions = "SELECT id, account, feed, device, sequence, item, quantity, token, sha256, consumed, settled_at
                        FROM consumptions ORDER BY rowid";
    each(connection, consumptions, consumption, |row| reader.consumption(row))?;
    each(connection, "SELECT account, feed, counts FROM inventories", inventory, |row| reader.inventory(row))?;
    let receipts = "SELECT account, feed, id, order_id, token FROM receipts ORDER BY account, feed";
    each(connection, receipts, receipt, |row| reader.receipt(row))?;
    let allowances = "SELECT id, device, number, issued_at, expires_at, per_order, most_orders, catalog, token, spent,
                          orders
                      FROM allowances ORDER BY rowid";
    each(connection, allowances, allowance, |row| reader.allowance(row))?;
    let forks = "SELECT device, sequence, first, second, created_at FROM forks ORDER BY rowid";
    each(connection, forks, fork, |row| reader.fork(row))?;
    let holds =
        "SELECT id, account, currency, amount, expires_at, status, posted, resolved_at FROM holds ORDER BY rowid";
    each(connection, holds, hold, |row| reader.hold(row))?;
    let operations = "SELECT id, action, sha256, done, answer, created_at FROM operations ORDER BY rowid";
    each(connection, operations, operation, |row| reader.operation(row))
}

fn each<T>(
    connection: &Connection,
    statement: &str,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
    mut show: impl FnMut(T),
) -> Result<(), LedgerError> {
    let mut statement = connection.prepare(statement)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        show(read(row)?);
    }
    Ok(())
}

fn moved(row: &Row<'_>) -> rusqlite::Result<MoveRow> {
    Ok(MoveRow {
        device: row.get(0)?,
        number: row.get(1)?,
        source: row.get(2)?,
        target: row.get(3)?,
        place: row.get(4)?,
        sequence: row.get(5)?,
        closing: row.get(6)?,
        code: row.get(7)?,
        moved_at: row.get(8)?,
    })
}

fn login(row: &Row<'_>) -> rusqlite::Result<LoginRow> {
    Ok(LoginRow { sha256: row.get(0)?, account: row.get(1)?, bound_at: row.get(2)? })
}

fn account(row: &Row<'_>) -> rusqlite::Result<AccountRow> {
    Ok(AccountRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        owner: row.get(2)?,
        currency: row.get(3)?,
        debits_posted: row.get(4)?,
        credits_posted: row.get(5)?,
        debits_pending: row.get(6)?,
        credits_pending: row.get(7)?,
        lot: lot(row)?,
    })
}

fn lot(row: &Row<'_>) -> rusqlite::Result<Option<LotRow>> {
    let Some(origin) = row.get(8)? else { return Ok(None) };
    Ok(Some(LotRow {
        origin,
        source: row.get(9)?,
        opened_at: row.get(10)?,
        refundable_until: row.get(11)?,
        opened_with: row.get(12)?,
        refunded: row.get(13)?,
        open: row.get(14)?,
    }))
}

fn wallet(row: &Row<'_>) -> rusqlite::Result<WalletRow> {
    Ok(WalletRow { account: row.get(0)?, currency: row.get(1)? })
}

fn transfer(row: &Row<'_>) -> rusqlite::Result<TransferRow> {
    Ok(TransferRow {
        id: row.get(0)?,
        debit_account: row.get(1)?,
        credit_account: row.get(2)?,
        amount: row.get(3)?,
        kind: row.get(4)?,
        order: row.get(5)?,
        hold: row.get(6)?,
        created_at: row.get(7)?,
    })
}

fn device(row: &Row<'_>) -> rusqlite::Result<DeviceRow> {
    Ok(DeviceRow {
        id: row.get(0)?,
        account: row.get(1)?,
        public_key: row.get(2)?,
        sequence: row.get(3)?,
        chain_head: row.get(4)?,
        feed: None,
        frozen_at: row.get(5)?,
        enrolled_at: row.get(6)?,
        place: row.get(7)?,
        name: row.get(8)?,
        revoked_at: row.get(9)?,
        replaced_by: row.get(10)?,
        consumed_sequence: row.get(11)?,
        consumed_repeated: row.get(12)?,
        consumed_missing: row.get(13)?,
    })
}

fn order(row: &Row<'_>) -> rusqlite::Result<OrderRow> {
    Ok(OrderRow {
        id: row.get(0)?,
        account: row.get(1)?,
        device: row.get(2)?,
        sequence: row.get(3)?,
        token: row.get(4)?,
        sha256: row.get(5)?,
        status: row.get(6)?,
        amount: row.get(7)?,
        currency: row.get(8)?,
        product: row.get(9)?,
        quantity: row.get(10)?,
        until: row.get(11)?,
        refunded_quantity: row.get(12)?,
        refunded_amount: row.get(13)?,
        feed: row.get(14)?,
        owned: row.get(15)?,
        settled_at: row.get(16)?,
    })
}

fn consumption(row: &Row<'_>) -> rusqlite::Result<ConsumptionRow> {
    Ok(ConsumptionRow {
        id: row.get(0)?,
        account: row.get(1)?,
        feed: row.get(2)?,
        device: row.get(3)?,
        sequence: row.get(4)?,
        item: row.get(5)?,
        quantity: row.get(6)?,
        token: row.get(7)?,
        sha256: row.get(8)?,
        consumed: row.get(9)?,
        settled_at: row.get(10)?,
    })
}

fn inventory(row: &Row<'_>) -> rusqlite::Result<InventoryRow> {
    Ok(InventoryRow { account: row.get(0)?, feed: row.get(1)?, counts: row.get(2)? })
}

fn receipt(row: &Row<'_>) -> rusqlite::Result<ReceiptRow> {
    Ok(ReceiptRow {
        account: row.get(0)?,
        feed: row.get(1)?,
        id: row.get(2)?,
        answers: row.get(3)?,
        token: row.get(4)?,
    })
}

fn allowance(row: &Row<'_>) -> rusqlite::Result<AllowanceRow> {
    Ok(AllowanceRow {
        id: row.get(0)?,
        device: row.get(1)?,
        number: row.get(2)?,
        issued_at: row.get(3)?,
        expires_at: row.get(4)?,
        per_order: row.get(5)?,
        most_orders: row.get(6)?,
        catalog: row.get(7)?,
        token: row.get(8)?,
        spent: row.get(9)?,
        orders: row.get(10)?,
    })
}

fn fork(row: &Row<'_>) -> rusqlite::Result<ForkRow> {
    Ok(ForkRow {
        device: row.get(0)?,
        sequence: row.get(1)?,
        first: row.get(2)?,
        second: row.get(3)?,
        created_at: row.get(4)?,
    })
}

fn hold(row: &Row<'_>) -> rusqlite::Result<HoldRow> {
    Ok(HoldRow {
        id: row.get(0)?,
        account: row.get(1)?,
        currency: row.get(2)?,
        amount: row.get(3)?,
        expires_at: row.get(4)?,
        status: row.get(5)?,
        posted: row.get(6)?,
        resolved_at: row.get(7)?,
    })
}

fn operation(row: &Row<'_>) -> rusqlite::Result<OperationRow> {
    Ok(OperationRow {
        id: row.get(0)?,
        action: row.get(1)?,
        sha256: row.get(2)?,
        done: row.get(3)?,
        answer: row.get(4)?,
        created_at: row.get(5)?,
    })
}

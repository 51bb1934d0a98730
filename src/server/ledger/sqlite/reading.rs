//! What is read from the file without changing it.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::fork::Chain;
use super::super::plan::{AccountFacts as _, Facts as _};
use super::super::{
    AccountSummary, AllowanceSummary, Device, FeedEntry, LedgerError, OrderSummary, Place, Standing, Total, books,
    values,
};
use super::facts::{Books, text};
use super::membership;
use crate::protocol::sync::{Balance, ChainHead};
use crate::protocol::{AccountId, KeyId, Money, OrderId, PublicKey, Token};

pub(super) fn device(connection: &Connection, id: KeyId) -> Result<Option<Device>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT account, public_key, sequence, chain_head, revoked_at IS NOT NULL FROM devices WHERE id = ?1",
    )?;
    let mut rows = statement.query([id.to_string()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let account: String = row.get(0)?;
    Ok(Some(Device {
        account: values::parsed(&account)?,
        key: PublicKey::new(&row.get(1)?).map_err(LedgerError::damaged)?,
        chain: values::chain(row.get(2)?, row.get(3)?)?,
        revoked: row.get(4)?,
    }))
}

/// The chain of a device that must be there.
pub(super) fn chain(connection: &Connection, device: KeyId) -> Result<Chain, LedgerError> {
    standing_of(connection, device).map(|(chain, _)| chain)
}

/// The chain of a device that must be there, and the highest number of its consumptions.
fn standing_of(connection: &Connection, device: KeyId) -> Result<(Chain, u64), LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, chain_head, frozen_at IS NOT NULL, account, revoked_at IS NOT NULL, consumed_sequence
         FROM devices WHERE id = ?1",
    )?;
    let mut rows = statement.query([device.to_string()])?;
    let row = rows.next()?.ok_or(LedgerError::UnknownDevice(device))?;
    let (head, frozen) = (values::chain(row.get(0)?, row.get(1)?)?, row.get(2)?);
    let chain = Chain { account: text(row, 3)?, revoked: row.get(4)?, head, frozen };
    Ok((chain, values::count(row.get(5)?)?))
}

/// How many receipts an account's feed holds.
pub(super) fn feed_length(connection: &Connection, account: &AccountId) -> Result<u64, LedgerError> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT MAX(feed) FROM receipts WHERE account = ?1")?
        .query_row([account.as_str()], |row| row.get(0))?;
    values::count(last.unwrap_or_default())
}

/// The receipt that answered an order first.
pub(super) fn first_receipt(connection: &Connection, order: OrderId) -> Result<Option<FeedEntry>, LedgerError> {
    connection
        .prepare_cached(
            "SELECT receipts.feed, receipts.token FROM orders
             JOIN receipts ON receipts.account = orders.account AND receipts.feed = orders.feed WHERE orders.id = ?1",
        )?
        .query_row([order.0], |row| Ok(entry(row)))
        .optional()?
        .transpose()
}

pub(super) fn standing(connection: &Connection, place: &Place) -> Result<Standing, LedgerError> {
    let (chain, consumed_sequence) = standing_of(connection, place.device)?;
    chain.check_member(place)?;
    let length = feed_length(connection, &place.account)?;
    let places = Standing::places(place.cursor, length);
    let mut page = Vec::new();
    if !places.is_empty() {
        let mut statement = connection.prepare_cached(
            "SELECT feed, token FROM receipts WHERE account = ?1 AND feed > ?2 AND feed <= ?3 ORDER BY feed",
        )?;
        let (start, end) = (values::stored_count(places.start), values::stored_count(places.end));
        let mut rows = statement.query(params![place.account.as_str(), start, end])?;
        while let Some(row) = rows.next()? {
            page.push(entry(row)?);
        }
    }
    Ok(Standing {
        page,
        cursor: places.end,
        more: places.end < length,
        wallet: wallet(connection, &place.account)?,
        chain: chain.head,
        consumed_sequence,
    })
}

pub(super) fn wallet(connection: &Connection, account: &AccountId) -> Result<Vec<Balance>, LedgerError> {
    // The conditions are those of the index on open lots, word for word.
    let mut statement = connection.prepare_cached(
        "SELECT wallets.currency, SUM(credits_posted - debits_posted - debits_pending), SUM(debits_pending)
         FROM wallets LEFT JOIN accounts ON kind = 'wallet' AND owner = account
             AND accounts.currency = wallets.currency AND (credits_posted <> debits_posted OR debits_pending <> 0)
         WHERE account = ?1 GROUP BY wallets.currency ORDER BY wallets.currency",
    )?;
    let mut rows = statement.query([account.as_str()])?;
    let mut wallet = Vec::new();
    while let Some(row) = rows.next()? {
        let currency = values::parsed(row.get_ref(0)?.as_str().map_err(LedgerError::damaged)?)?;
        let sum = |column| Ok::<_, LedgerError>(row.get::<_, Option<i64>>(column)?.unwrap_or_default());
        let (available, held) = (values::micros(sum(1)?)?, values::micros(sum(2)?)?);
        wallet.push(Balance { currency, available, held });
    }
    Ok(wallet)
}

/// Whether any device has opened this account.
pub(super) fn has_account(connection: &Connection, account: &AccountId) -> Result<bool, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM devices WHERE account = ?1)
             OR EXISTS (SELECT 1 FROM moves WHERE source = ?1)",
    )?;
    Ok(statement.exists([account.as_str()])?)
}

/// The account that everything of a closed one has moved to.
pub(super) fn moved_to(connection: &Connection, account: &AccountId) -> Result<Option<AccountId>, LedgerError> {
    let mut statement = connection.prepare_cached("SELECT target FROM moves WHERE source = ?1 AND closing = 1")?;
    let mut rows = statement.query([account.as_str()])?;
    rows.next()?.map(|row| text(row, 0)).transpose()
}

pub(super) fn totals(connection: &Connection) -> Result<Vec<Total>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, currency, SUM(credits_posted - debits_posted) FROM accounts GROUP BY kind, currency ORDER BY 1, 2",
    )?;
    let total = |row: &Row<'_>| Ok(Total { account: row.get(0)?, currency: row.get(1)?, micros: row.get(2)? });
    Ok(statement.query_map([], total)?.collect::<Result<_, _>>()?)
}

pub(super) fn show(connection: &Connection, account: &AccountId) -> Result<Option<AccountSummary>, LedgerError> {
    if !has_account(connection, account)? {
        return Ok(None);
    }
    let members = Books(connection).members(account)?;
    Ok(Some(AccountSummary {
        account: account.clone(),
        wallet: wallet(connection, account)?,
        devices: devices(connection, account)?,
        orders: orders_by_status(connection, account)?,
        receipts: feed_length(connection, account)?,
        latest: latest_orders(connection, account)?,
        allowances: AllowanceSummary::of(Books(connection).open_allowances(account)?)?,
        frozen: members.iter().filter(|one| one.frozen_at.is_some()).map(|one| one.id).collect(),
        revoked: members.iter().filter(|one| one.is_revoked()).map(|one| one.id).collect(),
        names: members.iter().filter_map(|one| Some((one.id, one.name.clone()?))).collect(),
        signed_in: membership::login_of(connection, account)?.is_some(),
        moved_to: moved_to(connection, account)?,
        consumptions: super::consuming::numbers_of(connection, account)?,
    }))
}

fn devices(connection: &Connection, account: &AccountId) -> Result<BTreeMap<KeyId, Option<ChainHead>>, LedgerError> {
    let mut statement = connection.prepare_cached("SELECT id, sequence, chain_head FROM devices WHERE account = ?1")?;
    let mut rows = statement.query([account.as_str()])?;
    let mut devices = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        devices.insert(values::parsed(&id)?, values::chain(row.get(1)?, row.get(2)?)?);
    }
    Ok(devices)
}

/// The orders of an account, found by the receipts that answered them first. A consumption may have the id of an order, but
/// not that order's place.
const OF_ACCOUNT: &str = "FROM receipts JOIN orders ON orders.id = receipts.order_id
    AND orders.account = receipts.account AND orders.feed = receipts.feed WHERE receipts.account = ?1";

fn orders_by_status(connection: &Connection, account: &AccountId) -> Result<BTreeMap<String, u64>, LedgerError> {
    let mut statement = connection.prepare_cached(&format!("SELECT status, COUNT(*) {OF_ACCOUNT} GROUP BY status"))?;
    let mut rows = statement.query([account.as_str()])?;
    let mut counts = BTreeMap::new();
    while let Some(row) = rows.next()? {
        counts.insert(row.get(0)?, values::count(row.get(1)?)?);
    }
    Ok(counts)
}

fn latest_orders(connection: &Connection, account: &AccountId) -> Result<Vec<OrderSummary>, LedgerError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT orders.id, product, quantity, amount, currency, status, refunded_quantity {OF_ACCOUNT}
         AND status <> 'declined' ORDER BY receipts.feed DESC LIMIT ?2",
    ))?;
    let mut rows = statement.query(params![account.as_str(), AccountSummary::LATEST as i64])?;
    let mut latest = Vec::new();
    while let Some(row) = rows.next()? {
        let (product, currency, status): (String, String, String) = (row.get(1)?, row.get(4)?, row.get(5)?);
        latest.push(OrderSummary {
            id: OrderId(row.get(0)?),
            product: values::parsed(&product)?,
            quantity: row.get(2)?,
            refunded: row.get(6)?,
            amount: Money::new(values::micros(row.get(3)?)?, values::parsed(&currency)?),
            status: books::parse_status(&status).ok_or_else(|| LedgerError::damaged("an unknown status"))?,
        });
    }
    Ok(latest)
}

fn entry(row: &Row<'_>) -> Result<FeedEntry, LedgerError> {
    let token = Token::from_text(row.get_ref(1)?.as_str().map_err(LedgerError::damaged)?);
    Ok(FeedEntry { feed: values::count(row.get(0)?)?, token })
}

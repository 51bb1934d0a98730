//! What is read without changing anything.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::{join, join3};
use tokio_postgres::Row;

use super::super::{
    AccountSummary, AllowanceSummary, Device, FeedEntry, LedgerError, OrderSummary, Place, Standing, Total, books,
    values,
};
use super::facts;
use super::membership;
use super::parsing::{allowances_of, bytes, digest, kind_of, text, token};
use super::session::{Session, statements, wait_long};
use crate::protocol::sync::{Balance, ChainHead, MAX_RECEIPTS};
use crate::protocol::{AccountId, KeyId, Money, OrderId, PublicKey};

statements! {
    known = "SELECT id, account, public_key, sequence, chain_head, revoked_at IS NOT NULL FROM devices WHERE id = ANY($1)";
    chains = "SELECT id, account, sequence, chain_head, feed, frozen_at IS NOT NULL, revoked_at IS NOT NULL, consumed_sequence FROM devices WHERE id = ANY($1)";
    // The conditions are those of the index on open lots, word for word.
    wallets = "SELECT wallets.account, wallets.currency,
            SUM(credits_posted - debits_posted - debits_pending)::bigint, SUM(debits_pending)::bigint
        FROM wallets LEFT JOIN accounts ON kind = 'wallet' AND open AND owner = wallets.account
            AND accounts.currency = wallets.currency
        WHERE wallets.account = ANY($1) GROUP BY wallets.account, wallets.currency ORDER BY 1, 2";
    feeds = "SELECT account, (SELECT MAX(feed) FROM receipts WHERE receipts.account = asked.account)
        FROM unnest($1::text[]) AS asked (account)";
    // A cursor past the end is one of books that were lost: see `Standing::places`.
    pages = "SELECT asked.number, page.feed, page.token
        FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS asked (account, cursor, number)
        CROSS JOIN LATERAL (
            SELECT feed, token FROM receipts WHERE receipts.account = asked.account AND feed > CASE
                WHEN asked.cursor > (SELECT MAX(feed) FROM receipts WHERE receipts.account = asked.account) THEN 0
                ELSE asked.cursor END
            ORDER BY feed LIMIT $4) AS page
        ORDER BY asked.number, page.feed";
    totals = "SELECT kind, currency, SUM(credits_posted - debits_posted)::bigint FROM accounts
        GROUP BY kind, currency";
    devices = "SELECT id, sequence, chain_head FROM devices WHERE account = $1";
    // A consumption may have the id of an order, but not that order's place.
    orders_by_status = "SELECT orders.status, COUNT(*) FROM receipts JOIN orders
        ON orders.id = receipts.order_id AND orders.account = receipts.account AND orders.feed = receipts.feed
        WHERE receipts.account = $1 GROUP BY orders.status";
    latest_orders = "SELECT orders.id, product, quantity, amount, currency, status, refunded_quantity
        FROM receipts JOIN orders ON orders.id = receipts.order_id
            AND orders.account = receipts.account AND orders.feed = receipts.feed
        WHERE receipts.account = $1 AND status <> 'declined' ORDER BY receipts.feed DESC LIMIT $2";
}

/// Begins a transaction that reads everything as of one moment.
pub(super) const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

pub(super) fn devices(session: &Session, ids: &[KeyId]) -> Result<Vec<Option<Device>>, LedgerError> {
    let (client, statement) = (&session.client, &session.reading.known);
    let names: Vec<String> = ids.iter().map(KeyId::to_string).collect();
    let rows = client.wait(async { Ok(client.query(statement, &[&names]).await?) })?;
    let found = by_name(&rows, |row| {
        Ok(Device {
            account: text(row, 1)?,
            key: PublicKey::new(&bytes(row, 2)?).map_err(LedgerError::damaged)?,
            chain: values::chain(row.try_get(3)?, digest(row, 4)?)?,
            revoked: row.try_get(5)?,
        })
    })?;
    Ok(names.iter().map(|name| found.get(name.as_str()).cloned()).collect())
}

pub(super) fn standings(session: &Session, asked: &[Place]) -> Result<Vec<Standing>, LedgerError> {
    let devices: Vec<String> = asked.iter().map(|place| place.device.to_string()).collect();
    let accounts: Vec<&str> = asked.iter().map(|place| place.account.as_str()).collect();
    let cursors: Vec<i64> = asked.iter().map(|place| values::stored_count(place.cursor)).collect();
    let numbers: Vec<i64> = (0..).take(asked.len()).collect();
    let (client, statements) = (&session.client, &session.reading);
    let (chains, wallets, (feeds, pages)) = client.wait(async {
        let (begun, (chains, wallets), (feeds, pages, ended)) = join3(
            client.batch_execute(SNAPSHOT),
            join(client.query(&statements.chains, &[&devices]), client.query(&statements.wallets, &[&accounts])),
            join3(
                client.query(&statements.feeds, &[&accounts]),
                client.query(&statements.pages, &[&accounts, &cursors, &numbers, &(MAX_RECEIPTS as i64)]),
                client.batch_execute("COMMIT"),
            ),
        )
        .await;
        begun?;
        let read = (chains?, wallets?, (feeds?, pages?));
        ended?;
        Ok(read)
    })?;
    let chains = by_name(&chains, |row| Ok((facts::chain_of(row)?, values::count(row.try_get(7)?)?)))?;
    let lengths = by_name(&feeds, |row| values::count(row.try_get::<_, Option<i64>>(1)?.unwrap_or_default()))?;
    let mut balances: HashMap<&str, Vec<Balance>> = HashMap::new();
    for row in &wallets {
        balances.entry(row.try_get(0)?).or_default().push(balance(row)?);
    }
    let mut read: HashMap<i64, Vec<FeedEntry>> = HashMap::new();
    for row in &pages {
        read.entry(row.try_get(0)?)
            .or_default()
            .push(FeedEntry { feed: values::count(row.try_get(1)?)?, token: token(row, 2)? });
    }
    let standing = |((place, device), number): ((&Place, &String), i64)| {
        let length = lengths.get(place.account.as_str()).copied().unwrap_or_default();
        let places = Standing::places(place.cursor, length);
        let (chain, consumed_sequence) = chains.get(device.as_str()).ok_or(LedgerError::UnknownDevice(place.device))?;
        chain.check_member(place)?;
        Ok(Standing {
            page: read.remove(&number).unwrap_or_default(),
            cursor: places.end,
            more: places.end < length,
            wallet: balances.get(place.account.as_str()).cloned().unwrap_or_default(),
            chain: chain.head,
            consumed_sequence: *consumed_sequence,
        })
    };
    asked.iter().zip(&devices).zip(numbers.iter().copied()).map(standing).collect()
}

/// What rows say about what their first column names.
fn by_name<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, LedgerError>) -> Result<HashMap<&str, T>, LedgerError> {
    rows.iter().map(|row| Ok((row.try_get(0)?, read(row)?))).collect()
}

fn balance(row: &Row) -> Result<Balance, LedgerError> {
    let sum = |column| Ok::<_, LedgerError>(row.try_get::<_, Option<i64>>(column)?.unwrap_or_default());
    let (available, held) = (values::micros(sum(2)?)?, values::micros(sum(3)?)?);
    Ok(Balance { currency: text(row, 1)?, available, held })
}

pub(super) fn totals(session: &Session) -> Result<Vec<Total>, LedgerError> {
    // Every account is read, which takes as long as there are many.
    let rows = wait_long(async {
        session.client.batch_execute("BEGIN READ ONLY; SET LOCAL statement_timeout = 0").await?;
        let rows = session.client.query(&session.reading.totals, &[]).await?;
        session.client.batch_execute("COMMIT").await?;
        Ok(rows)
    })?;
    let total = |row: &Row| Ok(Total { account: row.try_get(0)?, currency: row.try_get(1)?, micros: row.try_get(2)? });
    rows.iter().map(total).collect()
}

pub(super) fn show(session: &Session, account: &AccountId) -> Result<Option<AccountSummary>, LedgerError> {
    let (client, statements) = (&session.client, &session.reading);
    let (name, latest) = (account.as_str(), AccountSummary::LATEST as i64);
    let names = [name];
    let no_ids: [&[u8]; 0] = [];
    let ((devices, numbers), wallet, (feeds, allowances), (orders, latest), (members, login, moved)) =
        client.wait(async {
            client.batch_execute(SNAPSHOT).await?;
            let read = (
                (
                    client.query(&statements.devices, &[&name]).await?,
                    client.query(&session.consuming.numbers, &[&name]).await?,
                ),
                client.query(&statements.wallets, &[&&names[..]]).await?,
                (
                    client.query(&statements.feeds, &[&&names[..]]).await?,
                    client.query(&session.facts.allowances, &[&&no_ids[..], &&names[..]]).await?,
                ),
                (
                    client.query(&statements.orders_by_status, &[&name]).await?,
                    client.query(&statements.latest_orders, &[&name, &latest]).await?,
                ),
                (
                    client.query(&session.membership.members, &[&name]).await?,
                    client.query_opt(&session.membership.login_of, &[&name]).await?,
                    client.query_opt(&session.membership.moved_to, &[&name]).await?,
                ),
            );
            client.batch_execute("COMMIT").await?;
            Ok(read)
        })?;
    // Of an account that its last device has left, only the move tells.
    let left = || client.wait(async { Ok(client.query_opt(&session.membership.left, &[&name]).await?) });
    if devices.is_empty() && left()?.is_none() {
        return Ok(None);
    }
    let members = membership::members_of(&members)?;
    let device = |row: &Row| Ok((text(row, 0)?, values::chain(row.try_get(1)?, digest(row, 2)?)?));
    let lengths = by_name(&feeds, |row| values::count(row.try_get::<_, Option<i64>>(1)?.unwrap_or_default()))?;
    let count = |row: &Row| Ok((row.try_get(0)?, values::count(row.try_get(1)?)?));
    Ok(Some(AccountSummary {
        account: account.clone(),
        wallet: wallet.iter().map(balance).collect::<Result<_, _>>()?,
        devices: devices.iter().map(device).collect::<Result<BTreeMap<KeyId, Option<ChainHead>>, LedgerError>>()?,
        orders: orders.iter().map(count).collect::<Result<_, LedgerError>>()?,
        receipts: lengths.get(name).copied().unwrap_or_default(),
        latest: latest.iter().map(order).collect::<Result<_, _>>()?,
        allowances: AllowanceSummary::of(allowances_of(&allowances)?)?,
        consumptions: super::consuming::numbers_of(&numbers)?,
        frozen: members.iter().filter(|one| one.frozen_at.is_some()).map(|one| one.id).collect(),
        revoked: members.iter().filter(|one| one.is_revoked()).map(|one| one.id).collect(),
        names: members.iter().filter_map(|one| Some((one.id, one.name.clone()?))).collect(),
        signed_in: login.is_some(),
        moved_to: moved.map(|row| text(&row, 0)).transpose()?,
    }))
}

fn order(row: &Row) -> Result<OrderSummary, LedgerError> {
    let quantity = |column| u32::try_from(row.try_get::<_, i64>(column)?).map_err(LedgerError::damaged);
    Ok(OrderSummary {
        id: OrderId(bytes(row, 0)?),
        product: text(row, 1)?,
        quantity: quantity(2)?,
        refunded: quantity(6)?,
        amount: Money::new(values::micros(row.try_get(3)?)?, text(row, 4)?),
        status: kind_of(books::parse_status, row, 5)?,
    })
}

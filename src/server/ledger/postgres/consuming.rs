//! Consumptions in the database: one transaction of two round trips, like a batch of orders.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::future::{join, join_all, join3};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::consumption::{self, ConsumptionNumbers, ConsumptionOutcome, Inventory, Items, VerifiedConsumption};
use super::super::plan::{self, ConsumptionChanges, ConsumptionFacts};
use super::super::{FeedEntry, LedgerError, books, values};
use super::facts;
use super::parsing::{bytes, text, token};
use super::session::{Session, statements};
use super::writing::column;
use crate::protocol::{AccountId, ConsumptionId, KeyId, OrderId, Sha256, Token, UnixSeconds};
use crate::server::signing::Signer;

statements! {
    // As for orders.
    lock = "SELECT id, account, feed, consumed_sequence, consumed_repeated, consumed_missing, revoked_at IS NOT NULL
        FROM devices WHERE account = ANY($1) OR id = ANY($1) ORDER BY id FOR UPDATE";
    known = "SELECT id, sha256 FROM consumptions WHERE id = ANY($1)";
    counted = "SELECT account, feed, counts FROM inventories WHERE account = ANY($1)";
    uncounted = "SELECT asked.account, page.token FROM unnest($1::text[]) AS asked (account)
        LEFT JOIN inventories ON inventories.account = asked.account
        CROSS JOIN LATERAL (
            SELECT feed, token FROM receipts
            WHERE receipts.account = asked.account AND feed > COALESCE(inventories.feed, 0)
            ORDER BY feed LIMIT $2) AS page
        ORDER BY asked.account, page.feed";
    first_receipt = "SELECT receipts.feed, receipts.token FROM orders JOIN receipts
        ON receipts.account = orders.account AND receipts.feed = orders.feed WHERE orders.id = $1";
    // Always in the order of their ids, so that no two transactions wait for each other.
    consumptions = "INSERT INTO consumptions (id, account, feed, device, sequence, item, quantity, token, sha256,
            consumed, settled_at)
        SELECT unnest($1::bytea[]) AS new, unnest($2::text[]), unnest($3::bigint[]), unnest($4::text[]),
            unnest($5::bigint[]), unnest($6::text[]), unnest($7::bigint[]), unnest($8::text[]), unnest($9::bytea[]),
            unnest($10::boolean[]), $11::bigint
        ORDER BY new";
    inventories = "INSERT INTO inventories (account, feed, counts)
        SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::text[])
        ON CONFLICT (account) DO UPDATE SET feed = EXCLUDED.feed, counts = EXCLUDED.counts";
    devices = "WITH changed AS (
            UPDATE devices SET feed = new.feed, consumed_sequence = new.last, consumed_repeated = new.repeated,
                consumed_missing = new.missing
            FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
                AS new (key, feed, last, repeated, missing)
            WHERE id = new.key RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    numbers = "SELECT id, consumed_sequence, consumed_repeated, consumed_missing FROM devices
        WHERE account = $1 AND consumed_sequence > 0";
}

/// Decides and writes a batch in one transaction.
pub(super) fn consume(
    session: &Session,
    batch: &[VerifiedConsumption],
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<Vec<ConsumptionOutcome>, LedgerError> {
    let mut books = Books::begin(session, batch)?;
    let (outcomes, changes) = plan::consume(&mut books, batch, signer, now)?;
    let tokens = signer.sign_consumptions(&changes.receipts)?;
    write_and_commit(session, &changes, &tokens, now)?;
    Ok(outcomes)
}

/// How many of each item an account has used up of what its orders give. The account is locked.
pub(super) fn items_used(books: &mut facts::Books<'_>, account: &AccountId) -> Result<Items, LedgerError> {
    let (client, statements) = (&books.session.client, &books.session.consuming);
    let (accounts, most) = ([account.as_str()], i64::MAX);
    let (counted, receipts) = client.wait(async {
        let (counted, receipts) = futures_util::future::join(
            client.query(&statements.counted, &[&&accounts[..]]),
            client.query(&statements.uncounted, &[&&accounts[..], &most]),
        )
        .await;
        Ok((counted?, receipts?))
    })?;
    let mut inventory = match counted.first() {
        Some(row) => Inventory::parse(values::count(row.try_get(1)?)?, row.try_get(2)?)?,
        None => Inventory::default(),
    };
    let receipts = receipts.iter().map(|row| token(row, 1)).collect::<Result<Vec<_>, _>>()?;
    inventory.count_all(&receipts, |order| {
        let found = client.wait(async { Ok(client.query_opt(&statements.first_receipt, &[&&order.0[..]]).await?) })?;
        let row = found.ok_or_else(|| LedgerError::damaged(format_args!("the order {order} has no receipt")))?;
        books::stored_receipt(&token(&row, 1)?)
    })?;
    Ok(inventory.used())
}

/// The numbers of an account's devices that have consumed anything, from rows of the statement of that name.
pub(super) fn numbers_of(rows: &[Row]) -> Result<BTreeMap<KeyId, ConsumptionNumbers>, LedgerError> {
    rows.iter().map(|row| Ok((text(row, 0)?, numbers(row, 1)?))).collect()
}

fn numbers(row: &Row, first: usize) -> Result<ConsumptionNumbers, LedgerError> {
    values::numbers(row.try_get(first)?, row.try_get(first + 1)?, row.try_get(first + 2)?)
}

/// The books as they were read under the lock.
struct Books<'a> {
    session: &'a Session,
    devices: HashMap<String, Row>,
    known: HashMap<ConsumptionId, Sha256>,
    counted: HashMap<String, Row>,
    uncounted: HashMap<String, Vec<Token>>,
}

impl<'a> Books<'a> {
    /// Begins a transaction and locks the accounts of a batch; then reads what is asked about them.
    fn begin(session: &'a Session, batch: &[VerifiedConsumption]) -> Result<Self, LedgerError> {
        let consumptions = || batch.iter().map(VerifiedConsumption::consumption);
        let accounts: BTreeSet<&str> = consumptions().map(|consumption| consumption.account.as_str()).collect();
        let accounts: Vec<&str> = accounts.into_iter().collect();
        let ids: Vec<&[u8]> = consumptions().map(|consumption| &consumption.id.0[..]).collect();
        let most = i64::try_from(consumption::most_counted(accounts.len())).unwrap_or(i64::MAX);
        let (client, statements) = (&session.client, &session.consuming);
        // They are sent, and done, in the order in which they are first polled, which is from left to right.
        let (devices, known, counted, uncounted) = client.wait(async {
            let (begun, devices, (known, counted, uncounted)) = join3(
                client.batch_execute("BEGIN"),
                client.query(&statements.lock, &[&accounts]),
                join3(
                    client.query(&statements.known, &[&ids]),
                    client.query(&statements.counted, &[&accounts]),
                    client.query(&statements.uncounted, &[&accounts, &most]),
                ),
            )
            .await;
            // The first that failed is the reason why all after it did.
            begun?;
            Ok((devices?, known?, counted?, uncounted?))
        })?;
        let by_name = |rows: Vec<Row>| -> Result<HashMap<String, Row>, LedgerError> {
            rows.into_iter().map(|row| Ok((row.try_get(0)?, row))).collect()
        };
        let known = known.iter().map(|row| Ok((ConsumptionId(bytes(row, 0)?), Sha256(bytes(row, 1)?))));
        let mut books = Self {
            session,
            known: known.collect::<Result<_, LedgerError>>()?,
            devices: by_name(devices)?,
            counted: by_name(counted)?,
            uncounted: HashMap::new(),
        };
        for row in &uncounted {
            books.uncounted.entry(row.try_get(0)?).or_default().push(token(row, 1)?);
        }
        Ok(books)
    }
}

impl ConsumptionFacts for Books<'_> {
    fn consumption_sha256(&mut self, id: ConsumptionId) -> Result<Option<Sha256>, LedgerError> {
        Ok(self.known.get(&id).copied())
    }

    fn consumer(&mut self, device: KeyId) -> Result<(AccountId, ConsumptionNumbers), LedgerError> {
        // The accounts were locked by their devices, which were all read: whatever is missing belongs to none of them.
        let row = self.devices.get(&device.to_string()).ok_or(LedgerError::UnknownDevice(device))?;
        if row.try_get(6)? {
            return Err(LedgerError::DeviceRevoked(device));
        }
        Ok((text(row, 1)?, numbers(row, 3)?))
    }

    fn feed_length(&mut self, account: &AccountId) -> Result<u64, LedgerError> {
        let mut longest = 0;
        for row in self.devices.values() {
            if row.try_get::<_, &str>(1)? == account.as_str() {
                longest = longest.max(values::count(row.try_get(2)?)?);
            }
        }
        Ok(longest)
    }

    fn inventory(&mut self, account: &AccountId) -> Result<Inventory, LedgerError> {
        let Some(row) = self.counted.get(account.as_str()) else { return Ok(Inventory::default()) };
        Inventory::parse(values::count(row.try_get(1)?)?, row.try_get(2)?)
    }

    fn uncounted(&mut self, account: &AccountId, _after: u64, _most: usize) -> Result<Vec<Token>, LedgerError> {
        // Read after what was counted, as many as are counted at a time.
        Ok(self.uncounted.remove(account.as_str()).unwrap_or_default())
    }

    fn first_receipt(&mut self, order: OrderId) -> Result<FeedEntry, LedgerError> {
        let (client, statement, id) = (&self.session.client, &self.session.consuming.first_receipt, &order.0[..]);
        let row = client.wait(async { Ok(client.query_opt(statement, &[&id]).await?) })?;
        let row = row.ok_or_else(|| LedgerError::damaged(format_args!("the order {order} has no receipt")))?;
        Ok(FeedEntry { feed: values::count(row.try_get(0)?)?, token: token(&row, 1)? })
    }
}

fn write_and_commit(
    session: &Session,
    changes: &ConsumptionChanges,
    tokens: &[Token],
    now: UnixSeconds,
) -> Result<(), LedgerError> {
    let ConsumptionChanges { consumptions, receipts, inventories, numbers } = changes;
    let (client, statements) = (&session.client, &session.consuming);
    let mut writes = Vec::new();
    if !consumptions.is_empty() {
        let consumption = |place: usize| consumptions[place].verified.consumption();
        let all = 0..consumptions.len();
        let columns = vec![
            column(all.clone(), |place| &consumption(place).id.0[..]),
            column(all.clone(), |place| consumption(place).account.as_str()),
            column(consumptions, |new| values::stored_count(new.feed)),
            column(all.clone(), |place| consumption(place).device.to_string()),
            column(all.clone(), |place| values::stored_count(consumption(place).sequence)),
            column(all.clone(), |place| consumption(place).item.as_str()),
            column(all, |place| values::stored_count(consumption(place).quantity)),
            column(consumptions, |new| new.verified.token().as_str()),
            column(consumptions, |new| new.verified.sha256().0.to_vec()),
            column(consumptions, |new| new.consumed),
            Box::new(now) as Box<dyn ToSql + Sync + Send>,
        ];
        writes.push((&statements.consumptions, columns));
        let columns = vec![
            column(receipts, |receipt| receipt.account.as_str()),
            column(receipts, |receipt| values::stored_count(receipt.feed)),
            column(receipts, |receipt| &receipt.id.0[..]),
            column(receipts, |receipt| &receipt.consumption.0[..]),
            column(tokens, |token| token.as_str()),
        ];
        writes.push((&session.writing.receipts, columns));
    }
    let counted = || inventories.iter().filter(|(_, inventory)| inventory.feed > 0);
    if counted().next().is_some() {
        let counts: Vec<String> = counted().map(|(_, inventory)| inventory.text()).collect::<Result<_, _>>()?;
        let columns = vec![
            column(counted(), |(account, _)| account.as_str()),
            column(counted(), |(_, inventory)| values::stored_count(inventory.feed)),
            Box::new(counts) as Box<dyn ToSql + Sync + Send>,
        ];
        writes.push((&statements.inventories, columns));
    }
    if !numbers.is_empty() {
        let ends: BTreeMap<KeyId, u64> = receipts.iter().map(|receipt| (receipt.device, receipt.feed)).collect();
        let end = |device: &KeyId| ends.get(device).copied().unwrap_or_default();
        let columns = vec![
            column(numbers.keys(), |device| device.to_string()),
            column(numbers.keys(), |device| values::stored_count(end(device))),
            column(numbers.values(), |numbers| values::stored_count(numbers.last)),
            column(numbers.values(), |numbers| values::stored_count(numbers.repeated)),
            column(numbers.values(), |numbers| values::stored_count(numbers.missing)),
        ];
        writes.push((&statements.devices, columns));
    }
    client.wait(async {
        let writes = writes.into_iter().map(|(statement, columns)| client.execute_raw(statement, columns));
        let (written, committed) = join(join_all(writes), client.batch_execute("COMMIT")).await;
        // The first that failed is the reason why all after it did.
        written.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(committed?)
    })
}

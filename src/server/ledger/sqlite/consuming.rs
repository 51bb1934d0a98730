//! Consumptions in the file.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::consumption::{ConsumptionNumbers, ConsumptionOutcome, Inventory, VerifiedConsumption};
use super::super::plan::{self, ConsumptionChanges, ConsumptionFacts};
use super::super::{FeedEntry, LedgerError, values};
use super::facts::Books;
use super::{reading, writing};
use crate::protocol::{AccountId, ConsumptionId, KeyId, OrderId, Sha256, Token, UnixSeconds};
use crate::server::signing::Signer;

/// Decides and writes a batch under the write lock.
pub(super) fn consume(
    connection: &Connection,
    batch: &[VerifiedConsumption],
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<Vec<ConsumptionOutcome>, LedgerError> {
    let (outcomes, changes) = plan::consume(&mut Books(connection), batch, signer, now)?;
    let tokens = signer.sign_consumptions(&changes.receipts)?;
    write(connection, &changes, &tokens, now)?;
    Ok(outcomes)
}

/// The numbers of an account's devices that have consumed anything.
pub(super) fn numbers_of(
    connection: &Connection,
    account: &AccountId,
) -> Result<BTreeMap<KeyId, ConsumptionNumbers>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, consumed_sequence, consumed_repeated, consumed_missing FROM devices
         WHERE account = ?1 AND consumed_sequence > 0",
    )?;
    let mut rows = statement.query([account.as_str()])?;
    let mut numbers = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        numbers.insert(values::parsed(&id)?, values::numbers(row.get(1)?, row.get(2)?, row.get(3)?)?);
    }
    Ok(numbers)
}

impl ConsumptionFacts for Books<'_> {
    fn consumption_sha256(&mut self, id: ConsumptionId) -> Result<Option<Sha256>, LedgerError> {
        let mut statement = self.0.prepare_cached("SELECT sha256 FROM consumptions WHERE id = ?1")?;
        Ok(statement.query_row([id.0], |row| row.get(0).map(Sha256)).optional()?)
    }

    fn consumer(&mut self, device: KeyId) -> Result<(AccountId, ConsumptionNumbers), LedgerError> {
        let mut statement = self.0.prepare_cached(
            "SELECT account, consumed_sequence, consumed_repeated, consumed_missing, revoked_at IS NOT NULL
             FROM devices WHERE id = ?1",
        )?;
        let mut rows = statement.query([device.to_string()])?;
        let row = rows.next()?.ok_or(LedgerError::UnknownDevice(device))?;
        if row.get(4)? {
            return Err(LedgerError::DeviceRevoked(device));
        }
        let account = values::parsed(row.get_ref(0)?.as_str().map_err(LedgerError::damaged)?)?;
        Ok((account, values::numbers(row.get(1)?, row.get(2)?, row.get(3)?)?))
    }

    fn feed_length(&mut self, account: &AccountId) -> Result<u64, LedgerError> {
        reading::feed_length(self.0, account)
    }

    fn inventory(&mut self, account: &AccountId) -> Result<Inventory, LedgerError> {
        let mut statement = self.0.prepare_cached("SELECT feed, counts FROM inventories WHERE account = ?1")?;
        let mut rows = statement.query([account.as_str()])?;
        let Some(row) = rows.next()? else { return Ok(Inventory::default()) };
        Inventory::parse(values::count(row.get(0)?)?, row.get_ref(1)?.as_str().map_err(LedgerError::damaged)?)
    }

    fn uncounted(&mut self, account: &AccountId, after: u64, most: usize) -> Result<Vec<Token>, LedgerError> {
        let mut statement = self
            .0
            .prepare_cached("SELECT token FROM receipts WHERE account = ?1 AND feed > ?2 ORDER BY feed LIMIT ?3")?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![account.as_str(), values::stored_count(after), most])?;
        let mut tokens = Vec::new();
        while let Some(row) = rows.next()? {
            tokens.push(Token::from_text(row.get_ref(0)?.as_str().map_err(LedgerError::damaged)?));
        }
        Ok(tokens)
    }

    fn first_receipt(&mut self, order: OrderId) -> Result<FeedEntry, LedgerError> {
        plan::Facts::first_receipt(self, order)
    }
}

fn write(
    connection: &Connection,
    changes: &ConsumptionChanges,
    tokens: &[Token],
    now: UnixSeconds,
) -> Result<(), LedgerError> {
    for new in &changes.consumptions {
        let consumption = new.verified.consumption();
        connection
            .prepare_cached(
                "INSERT INTO consumptions (id, account, feed, device, sequence, item, quantity, token, sha256, consumed,
                     settled_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                consumption.id.0,
                consumption.account.as_str(),
                values::stored_count(new.feed),
                consumption.device.to_string(),
                values::stored_count(consumption.sequence),
                consumption.item.as_str(),
                values::stored_count(consumption.quantity),
                new.verified.token().as_str(),
                new.verified.sha256().0,
                new.consumed,
                now,
            ])?;
    }
    for (receipt, token) in changes.receipts.iter().zip(tokens) {
        let (place, answers) = ((&receipt.account, receipt.feed), receipt.consumption.0);
        writing::write_feed_entry(connection, place, receipt.id, answers, token)?;
    }
    for (account, inventory) in &changes.inventories {
        if inventory.feed == 0 {
            continue;
        }
        connection
            .prepare_cached(
                "INSERT INTO inventories (account, feed, counts) VALUES (?1, ?2, ?3)
                 ON CONFLICT (account) DO UPDATE SET feed = excluded.feed, counts = excluded.counts",
            )?
            .execute(params![account.as_str(), values::stored_count(inventory.feed), inventory.text()?])?;
    }
    for (device, numbers) in &changes.numbers {
        let changed = connection
            .prepare_cached(
                "UPDATE devices SET consumed_sequence = ?2, consumed_repeated = ?3, consumed_missing = ?4 WHERE id = ?1",
            )?
            .execute(params![
                device.to_string(),
                values::stored_count(numbers.last),
                values::stored_count(numbers.repeated),
                values::stored_count(numbers.missing),
            ])?;
        writing::one(changed, || format!("the device {device} is missing"))?;
    }
    Ok(())
}

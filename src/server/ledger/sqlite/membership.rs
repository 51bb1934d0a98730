//! Devices and their accounts in the file: as the planner asks for them, and as it has them written.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::consumption::Items;
use super::super::hold::HoldRecord;
use super::super::lot::Lot;
use super::super::membership::{
    Arrivals, Belongings, LinkCodeRecord, Login, MOST_LOOKED_AT, MOST_MOVED, Member, MembershipChanges, Move, Successor,
};
use super::super::plan::{AccountFacts, ConsumptionFacts, Facts as _};
use super::super::{LedgerError, TransferId, books, values};
use super::facts::{Books, LOT, lot_of, text};
use super::writing::one;
use super::{reading, writing};
use crate::protocol::{AccountId, KeyId, OrderId, Sha256, Token};

/// The columns of a member.
const MEMBER: &str = "id, account, place, name, created_at, frozen_at, revoked_at, replaced_by, sequence, chain_head";

fn member_of(row: &Row<'_>) -> Result<Member, LedgerError> {
    let optional = |column: usize| row.get::<_, Option<String>>(column);
    Ok(Member {
        id: text(row, 0)?,
        account: text(row, 1)?,
        place: row.get(2)?,
        name: optional(3)?.as_deref().map(values::parsed).transpose()?,
        enrolled_at: row.get(4)?,
        frozen_at: row.get(5)?,
        revoked_at: row.get(6)?,
        replaced_by: optional(7)?.as_deref().map(values::parsed).transpose()?,
        chain: values::chain(row.get(8)?, row.get(9)?)?,
    })
}

/// Whether the account is that of somebody whom the game's login knows.
pub(super) fn login_of(connection: &Connection, account: &AccountId) -> Result<Option<Login>, LedgerError> {
    let mut statement = connection.prepare_cached("SELECT sha256 FROM logins WHERE account = ?1")?;
    Ok(statement.query_row([account.as_str()], |row| row.get(0).map(|sha256| Login(Sha256(sha256)))).optional()?)
}

impl AccountFacts for Books<'_> {
    fn member(&mut self, device: KeyId) -> Result<Option<Member>, LedgerError> {
        let mut statement = self.0.prepare_cached(&format!("SELECT {MEMBER} FROM devices WHERE id = ?1"))?;
        let mut rows = statement.query([device.to_string()])?;
        rows.next()?.map(member_of).transpose()
    }

    fn members(&mut self, account: &AccountId) -> Result<Vec<Member>, LedgerError> {
        let mut statement = self.0.prepare_cached(&format!("SELECT {MEMBER} FROM devices WHERE account = ?1"))?;
        let mut rows = statement.query([account.as_str()])?;
        let mut members = Vec::new();
        while let Some(row) = rows.next()? {
            members.push(member_of(row)?);
        }
        Ok(members)
    }

    fn login_of(&mut self, account: &AccountId) -> Result<Option<Login>, LedgerError> {
        login_of(self.0, account)
    }

    fn account_of_login(&mut self, login: Login) -> Result<Option<AccountId>, LedgerError> {
        let mut statement = self.0.prepare_cached("SELECT account FROM logins WHERE sha256 = ?1")?;
        let mut rows = statement.query([login.0.0])?;
        rows.next()?.map(|row| text(row, 0)).transpose()
    }

    fn link_code(&mut self, sha256: Sha256) -> Result<Option<LinkCodeRecord>, LedgerError> {
        let mut statement = self.0.prepare_cached("SELECT account, expires_at FROM link_codes WHERE sha256 = ?1")?;
        let mut rows = statement.query([sha256.0])?;
        let record = |row| Ok(LinkCodeRecord { account: text(row, 0)?, sha256, expires_at: row.get(1)? });
        rows.next()?.map(record).transpose()
    }

    fn is_asked(&mut self, question: Sha256) -> Result<bool, LedgerError> {
        let mut statement = self.0.prepare_cached("SELECT 1 FROM questions WHERE sha256 = ?1")?;
        Ok(statement.exists([question.0])?)
    }

    fn last_move(&mut self, device: KeyId) -> Result<Option<Move>, LedgerError> {
        let mut statement = self.0.prepare_cached(
            "SELECT number, source, target, place, sequence, closing, code, moved_at FROM moves WHERE device = ?1
             ORDER BY number DESC LIMIT 1",
        )?;
        let mut rows = statement.query([device.to_string()])?;
        let last = |row: &Row<'_>| {
            Ok(Move {
                device,
                number: row.get(0)?,
                from: text(row, 1)?,
                to: text(row, 2)?,
                place: row.get(3)?,
                sequence: values::count(row.get(4)?)?,
                closing: row.get(5)?,
                code: row.get::<_, Option<[u8; 32]>>(6)?.map(Sha256),
                at: row.get(7)?,
            })
        };
        rows.next()?.map(last).transpose()
    }

    fn arrivals(&mut self, account: &AccountId) -> Result<Arrivals, LedgerError> {
        let mut statement =
            self.0.prepare_cached("SELECT COUNT(*), COUNT(DISTINCT device) FROM moves WHERE target = ?1")?;
        let (moves, devices) = statement.query_row([account.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Arrivals { moves: values::count(moves)?, devices: values::count(devices)? })
    }

    fn purchases(&mut self, account: &AccountId) -> Result<Option<Vec<(OrderId, Token)>>, LedgerError> {
        if reading::feed_length(self.0, account)? > MOST_LOOKED_AT {
            return Ok(None);
        }
        // Nothing of what is too much is read.
        let mut statement = self.0.prepare_cached(
            "SELECT COUNT(*) FROM (
                 SELECT 1 FROM receipts JOIN orders ON orders.id = receipts.order_id
                     AND orders.account = receipts.account AND orders.feed = receipts.feed AND orders.status = 'granted'
                 WHERE receipts.account = ?1 LIMIT ?2)",
        )?;
        let granted: i64 = statement.query_row(params![account.as_str(), MOST_MOVED as i64 + 1], |row| row.get(0))?;
        if granted > MOST_MOVED as i64 {
            return Ok(None);
        }
        let mut statement = self.0.prepare_cached(
            "WITH parts AS (
                 SELECT later.order_id, MAX(later.feed) AS feed FROM receipts AS later
                 JOIN orders ON orders.id = later.order_id AND orders.account = later.account
                     AND orders.status = 'granted' AND orders.refunded_quantity > 0
                 -- A consumption may have the id of an order.
                 WHERE later.account = ?1 AND NOT EXISTS (SELECT 1 FROM consumptions
                     WHERE consumptions.id = later.order_id AND consumptions.account = later.account
                         AND consumptions.feed = later.feed)
                 GROUP BY later.order_id)
             SELECT receipts.order_id, last.token FROM receipts
             JOIN orders ON orders.id = receipts.order_id AND orders.account = receipts.account
                 AND orders.feed = receipts.feed AND orders.status = 'granted'
             LEFT JOIN parts ON parts.order_id = receipts.order_id
             JOIN receipts AS last ON last.account = receipts.account
                 AND last.feed = COALESCE(parts.feed, receipts.feed)
             WHERE receipts.account = ?1 ORDER BY receipts.feed",
        )?;
        let mut rows = statement.query([account.as_str()])?;
        let mut purchases = Vec::new();
        while let Some(row) = rows.next()? {
            let token = Token::from_text(row.get_ref(1)?.as_str().map_err(LedgerError::damaged)?);
            purchases.push((OrderId(row.get(0)?), token));
        }
        Ok(Some(purchases))
    }

    fn items_used(&mut self, account: &AccountId) -> Result<Items, LedgerError> {
        let mut inventory = ConsumptionFacts::inventory(self, account)?;
        let receipts = self.uncounted(account, inventory.feed, MOST_LOOKED_AT as usize)?;
        let first = |order| books::stored_receipt(&ConsumptionFacts::first_receipt(self, order)?.token);
        inventory.count_all(&receipts, first)?;
        Ok(inventory.used())
    }

    fn lots_behind(&mut self, account: &AccountId, orders: &[OrderId]) -> Result<Vec<Lot>, LedgerError> {
        let mut lots = Vec::new();
        let open = format!(
            "SELECT {LOT} FROM accounts WHERE kind = 'wallet' AND owner = ?1
                 AND (credits_posted <> debits_posted OR debits_pending <> 0)"
        );
        let mut open = self.0.prepare_cached(&open)?;
        let mut rows = open.query([account.as_str()])?;
        while let Some(row) = rows.next()? {
            lots.push(lot_of(row)?);
        }
        let mut known: std::collections::BTreeSet<TransferId> = lots.iter().map(|lot| lot.id).collect();
        let mut paying = self.0.prepare_cached("SELECT debit_account FROM transfers WHERE id = ?1")?;
        for order in orders {
            // Its legs have numbers without gaps.
            for leg in 0.. {
                let id = TransferId::of_purchase(*order, leg);
                let paid = paying.query_row([id.0], |row| row.get(0).map(TransferId)).optional()?;
                let Some(lot) = paid else { break };
                if known.insert(lot) {
                    lots.extend(self.lot(lot)?.filter(|lot| lot.account == *account));
                }
            }
        }
        Ok(lots)
    }

    fn operators_holds(&mut self, account: &AccountId) -> Result<Vec<HoldRecord>, LedgerError> {
        self.pending_holds(account)
    }
}

/// Writes what becomes of devices and their accounts.
pub(super) fn write(connection: &Connection, changes: &MembershipChanges) -> Result<(), LedgerError> {
    if let Some((joined, belongings)) = &changes.joined {
        write_move(connection, joined)?;
        write_belongings(connection, joined, belongings)?;
    }
    for (device, since, replaced_by) in &changes.revoked {
        let mut statement = connection.prepare_cached(
            "UPDATE devices SET revoked_at = ?2, replaced_by = ?3 WHERE id = ?1 AND revoked_at IS NULL",
        )?;
        let changed = statement.execute(params![device.to_string(), since, replaced_by.map(|id| id.to_string())])?;
        one(changed, || format!("the device {device} is missing, or was revoked before"))?;
    }
    if let Some(Successor { key, member }) = &changes.successor {
        connection
            .prepare_cached(
                "INSERT INTO devices (id, account, public_key, created_at, place, name, frozen_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                member.id.to_string(),
                member.account.as_str(),
                key.to_bytes(),
                member.enrolled_at,
                member.place,
                member.name.as_ref().map(|name| name.as_str()),
                member.frozen_at,
            ])?;
    }
    for (device, name) in &changes.named {
        let mut statement = connection.prepare_cached("UPDATE devices SET name = ?2 WHERE id = ?1")?;
        let changed = statement.execute(params![device.to_string(), name.as_ref().map(|name| name.as_str())])?;
        one(changed, || format!("the device {device} is missing"))?;
    }
    if let Some((login, account, at)) = &changes.login {
        connection
            .prepare_cached("INSERT INTO logins (sha256, account, bound_at) VALUES (?1, ?2, ?3)")?
            .execute(params![login.0.0, account.as_str(), at])?;
    }
    for account in &changes.void_codes {
        connection.prepare_cached("DELETE FROM link_codes WHERE account = ?1")?.execute([account.as_str()])?;
    }
    if let Some(LinkCodeRecord { account, sha256, expires_at }) = &changes.link_code {
        connection
            .prepare_cached("INSERT INTO link_codes (account, sha256, expires_at) VALUES (?1, ?2, ?3)")?
            .execute(params![account.as_str(), sha256.0, expires_at])?;
    }
    if let Some(question) = changes.question {
        connection.prepare_cached("INSERT INTO questions (sha256) VALUES (?1)")?.execute([question.0])?;
    }
    Ok(())
}

fn write_move(connection: &Connection, joined: &Move) -> Result<(), LedgerError> {
    let Move { device, number, from, to, place, sequence, closing, code, at } = joined;
    let device = device.to_string();
    let mut statement =
        connection.prepare_cached("UPDATE devices SET account = ?3, place = ?4 WHERE id = ?1 AND account = ?2")?;
    let changed = statement.execute(params![device, from.as_str(), to.as_str(), place])?;
    one(changed, || format!("the device {device} is not in its account"))?;
    connection
        .prepare_cached(
            "INSERT INTO moves (device, number, source, target, place, sequence, closing, code, moved_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            device,
            number,
            from.as_str(),
            to.as_str(),
            place,
            values::stored_count(*sequence),
            closing,
            code.map(|code| code.0),
            at,
        ])?;
    Ok(())
}

fn write_belongings(connection: &Connection, joined: &Move, belongings: &Belongings) -> Result<(), LedgerError> {
    let Belongings { orders, used, lots, holds } = belongings;
    let (from, to) = (joined.from.as_str(), joined.to.as_str());
    for (order, feed) in orders {
        let mut statement =
            connection.prepare_cached("UPDATE orders SET account = ?3, feed = ?4 WHERE id = ?1 AND account = ?2")?;
        let changed = statement.execute(params![order.0, from, to, values::stored_count(*feed)])?;
        one(changed, || format!("the order {order} is missing"))?;
    }
    for (receipt, token) in used {
        let place = (&receipt.account, receipt.feed);
        writing::write_feed_entry(connection, place, receipt.id, receipt.consumption.0, token)?;
    }
    for (lot, currency) in lots {
        let mut statement = connection
            .prepare_cached("UPDATE accounts SET owner = ?3 WHERE id = ?1 AND kind = 'wallet' AND owner = ?2")?;
        one(statement.execute(params![lot.0, from, to])?, || format!("the lot {lot} is missing"))?;
        connection
            .prepare_cached("INSERT INTO wallets (account, currency) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute([to, currency.code()])?;
    }
    for hold in holds {
        let mut statement =
            connection.prepare_cached("UPDATE holds SET account = ?3 WHERE id = ?1 AND account = ?2")?;
        one(statement.execute(params![hold.0, from, to])?, || format!("the hold {hold} is missing"))?;
    }
    Ok(())
}

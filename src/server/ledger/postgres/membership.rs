//! Devices and their accounts in the database: as the planner asks for them, and as it has them written.

use std::collections::BTreeSet;

use tokio_postgres::{Row, Statement};

use super::super::consumption::Items;
use super::super::hold::HoldRecord;
use super::super::lot::Lot;
use super::super::membership::{
    AccountChange, AccountRules, AccountWish, Arrivals, Belongings, Denied, LinkCodeRecord, Login, MOST_LOOKED_AT,
    MOST_MOVED, Member, Membership, MembershipChanges, Move, Successor,
};
use super::super::plan::{self, AccountFacts, Facts as _};
use super::super::{LedgerError, TransferId, values};
use super::facts::{self, Asked, Books, LOT};
use super::parsing::{bytes, digest, holds_of, lot_of, text, token};
use super::reading::SNAPSHOT;
use super::session::{Session, statements};
use super::writing::{Column, Sending, Write, column};
use super::{nothing_to_sign, writing, written};
use crate::protocol::{AccountId, GameId, KeyId, OrderId, Sha256, Token, UnixSeconds};
use crate::server::signing::Signer;

/// The columns of a member.
const MEMBER: &str = "id, account, place, name, created_at, frozen_at, revoked_at, replaced_by, sequence, chain_head";

statements! {
    member = format!("SELECT {MEMBER} FROM devices WHERE id = $1");
    members = format!("SELECT {MEMBER} FROM devices WHERE account = $1");
    login_of = "SELECT sha256 FROM logins WHERE account = $1";
    account_of_login = "SELECT account FROM logins WHERE sha256 = $1";
    link_code = "SELECT account, expires_at FROM link_codes WHERE sha256 = $1";
    asked = "SELECT 1 FROM questions WHERE sha256 = $1";
    last_move = "SELECT number, source, target, place, sequence, closing, code, moved_at FROM moves WHERE device = $1
        ORDER BY number DESC LIMIT 1";
    arrivals = "SELECT COUNT(*), COUNT(DISTINCT device) FROM moves WHERE target = $1";
    moved_to = "SELECT target FROM moves WHERE source = $1 AND closing";
    left = "SELECT 1 FROM moves WHERE source = $1 LIMIT 1";
    feed_length = "SELECT MAX(feed) FROM receipts WHERE account = $1";
    // A consumption may have the id of an order.
    purchases = "WITH parts AS (
            SELECT later.order_id, MAX(later.feed) AS feed FROM receipts AS later
            JOIN orders ON orders.id = later.order_id AND orders.account = later.account
                AND orders.status = 'granted' AND orders.refunded_quantity > 0
            WHERE later.account = $1 AND NOT EXISTS (SELECT 1 FROM consumptions
                WHERE consumptions.id = later.order_id AND consumptions.account = later.account
                    AND consumptions.feed = later.feed)
            GROUP BY later.order_id)
        SELECT receipts.order_id, last.token FROM receipts
        JOIN orders ON orders.id = receipts.order_id AND orders.account = receipts.account
            AND orders.feed = receipts.feed AND orders.status = 'granted'
        LEFT JOIN parts ON parts.order_id = receipts.order_id
        JOIN receipts AS last ON last.account = receipts.account AND last.feed = COALESCE(parts.feed, receipts.feed)
        WHERE receipts.account = $1 ORDER BY receipts.feed";
    granted = "SELECT COUNT(*) FROM (
            SELECT 1 FROM receipts JOIN orders ON orders.id = receipts.order_id
                AND orders.account = receipts.account AND orders.feed = receipts.feed AND orders.status = 'granted'
            WHERE receipts.account = $1 LIMIT $2) AS found";
    open_lots = format!("SELECT {LOT} FROM accounts WHERE kind = 'wallet' AND open AND owner = $1");
    paying = "SELECT id, debit_account FROM transfers WHERE id = ANY($1)";
    lots = format!("SELECT {LOT} FROM accounts WHERE id = ANY($1) AND stripe = 0 AND kind = 'wallet' AND owner = $2");
    operators_holds = format!("{} WHERE holds.account = $1 AND status = 'pending'
        AND NOT EXISTS (SELECT 1 FROM allowances WHERE allowances.id = holds.id)", facts::HOLDS);
    move_device = "WITH changed AS (
            UPDATE devices SET account = $3, place = $4 WHERE id = $1 AND account = $2 RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = 1 THEN 1 ELSE 0 END) FROM changed";
    moves = "INSERT INTO moves (device, number, source, target, place, sequence, closing, code, moved_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    move_orders = "WITH changed AS (
            UPDATE orders SET account = $3, feed = new.feed
            FROM unnest($1::bytea[], $4::bigint[]) AS new (number, feed)
            WHERE id = number AND account = $2 RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    move_lots = "WITH changed AS (
            UPDATE accounts SET owner = $3
            WHERE id = ANY($1::bytea[]) AND stripe = 0 AND kind = 'wallet' AND owner = $2 RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    wallets = "INSERT INTO wallets (account, currency) SELECT DISTINCT * FROM unnest($1::text[], $2::text[])
        ON CONFLICT DO NOTHING";
    move_holds = "WITH changed AS (
            UPDATE holds SET account = $3 WHERE id = ANY($1::bytea[]) AND account = $2 RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    revoke = "WITH changed AS (
            UPDATE devices SET revoked_at = $2, replaced_by = $3 WHERE id = $1 AND revoked_at IS NULL RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = 1 THEN 1 ELSE 0 END) FROM changed";
    succeed = "INSERT INTO devices (id, account, public_key, created_at, place, name, frozen_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    name = "WITH changed AS (UPDATE devices SET name = $2 WHERE id = $1 RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = 1 THEN 1 ELSE 0 END) FROM changed";
    bind_login = "INSERT INTO logins (sha256, account, bound_at) VALUES ($1, $2, $3)";
    void_codes = "DELETE FROM link_codes WHERE account = ANY($1)";
    make_code = "INSERT INTO link_codes (account, sha256, expires_at) VALUES ($1, $2, $3)";
    remember = "INSERT INTO questions (sha256) VALUES ($1)";
    feeds = "UPDATE devices SET feed = new.feed FROM unnest($1::text[], $2::bigint[]) AS new (account, feed)
        WHERE devices.account = new.account";
}

/// Sees to what a device asks about its account. The accounts are found without a lock, and once more under it.
pub(super) fn manage(
    session: &Session,
    game: &GameId,
    stripe: i64,
    wish: &AccountWish,
    rules: &AccountRules,
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<Result<Membership, Denied>, LedgerError> {
    if wish.change == AccountChange::Show {
        session.client.wait(async { Ok(session.client.batch_execute(SNAPSHOT).await?) })?;
        let told = plan::manage(&mut Books::nothing(session), wish, rules, game, signer, now);
        session.roll_back()?;
        return Ok(told?.1);
    }
    let (changes, told) = loop {
        let accounts = accounts_of(session, wish)?;
        let asked = Asked { accounts: accounts.clone(), allowed: accounts.clone(), ..Asked::default() };
        let mut books = Books::begin(session, asked, now)?;
        if accounts_of(session, wish)? == accounts {
            match plan::manage(&mut books, wish, rules, game, signer, now) {
                // Somebody else has just signed in as the same player: theirs is the account, and it is not locked.
                Err(LedgerError::Damaged(_)) if accounts_of(session, wish)? != accounts => {}
                done => break done?,
            }
        }
        session.roll_back()?;
    };
    match (changes.membership.question.is_some(), changes.receipts.is_empty()) {
        (false, _) => session.roll_back()?,
        (true, true) => drop(writing::write_and_commit(session, &changes, stripe, nothing_to_sign)?),
        (true, false) => drop(written(session, &changes, signer, stripe)?),
    }
    Ok(told)
}

/// The accounts that a wish is about: the device's, and the one that it may join.
fn accounts_of(session: &Session, wish: &AccountWish) -> Result<BTreeSet<AccountId>, LedgerError> {
    let own = facts::device_account(session, wish.device)?.ok_or(LedgerError::UnknownDevice(wish.device))?;
    let mut books = Books::nothing(session);
    let other = match &wish.change {
        AccountChange::JoinByCode(code) => books.link_code(code.sha256())?.map(|record| record.account),
        AccountChange::SignIn(login) => books.account_of_login(*login)?,
        _ => None,
    };
    Ok(BTreeSet::from_iter([own].into_iter().chain(other)))
}

fn member_of(row: &Row) -> Result<Member, LedgerError> {
    let optional = |column: usize| row.try_get::<_, Option<&str>>(column);
    Ok(Member {
        id: text(row, 0)?,
        account: text(row, 1)?,
        place: row.try_get(2)?,
        name: optional(3)?.map(values::parsed).transpose()?,
        enrolled_at: row.try_get(4)?,
        frozen_at: row.try_get(5)?,
        revoked_at: row.try_get(6)?,
        replaced_by: optional(7)?.map(values::parsed).transpose()?,
        chain: values::chain(row.try_get(8)?, digest(row, 9)?)?,
    })
}

pub(super) fn members_of(rows: &[Row]) -> Result<Vec<Member>, LedgerError> {
    rows.iter().map(member_of).collect()
}

impl Books<'_> {
    fn by_text(&self, statement: &tokio_postgres::Statement, name: &str) -> Result<Vec<Row>, LedgerError> {
        let client = &self.session.client;
        client.wait(async { Ok(client.query(statement, &[&name]).await?) })
    }

    fn by_digest(&self, statement: &tokio_postgres::Statement, digest: Sha256) -> Result<Option<Row>, LedgerError> {
        let (client, digest) = (&self.session.client, &digest.0[..]);
        client.wait(async { Ok(client.query_opt(statement, &[&digest]).await?) })
    }

    /// The account that everything of a closed one has moved to.
    pub(super) fn where_it_went(&self, account: &AccountId) -> Result<Option<AccountId>, LedgerError> {
        let rows = self.by_text(&self.session.membership.moved_to, account.as_str())?;
        rows.first().map(|row| text(row, 0)).transpose()
    }

    /// Whether a device has ever left an account, so that it was opened.
    pub(super) fn was_left(&self, account: &AccountId) -> Result<bool, LedgerError> {
        Ok(!self.by_text(&self.session.membership.left, account.as_str())?.is_empty())
    }

    /// How long the feed of an account is to which no device belongs.
    pub(super) fn length_without_devices(&self, account: &AccountId) -> Result<u64, LedgerError> {
        let rows = self.by_text(&self.session.membership.feed_length, account.as_str())?;
        let length = rows.first().map(|row| row.try_get::<_, Option<i64>>(0)).transpose()?;
        values::count(length.flatten().unwrap_or_default())
    }

    fn lots_of(&self, ids: &[Vec<u8>], account: &AccountId) -> Result<Vec<Lot>, LedgerError> {
        let (client, statement) = (&self.session.client, &self.session.membership.lots);
        let rows = client.wait(async { Ok(client.query(statement, &[&ids, &account.as_str()]).await?) })?;
        rows.iter().map(lot_of).collect()
    }
}

impl AccountFacts for Books<'_> {
    fn member(&mut self, device: KeyId) -> Result<Option<Member>, LedgerError> {
        let rows = self.by_text(&self.session.membership.member, &device.to_string())?;
        rows.first().map(member_of).transpose()
    }

    fn members(&mut self, account: &AccountId) -> Result<Vec<Member>, LedgerError> {
        members_of(&self.by_text(&self.session.membership.members, account.as_str())?)
    }

    fn login_of(&mut self, account: &AccountId) -> Result<Option<Login>, LedgerError> {
        let rows = self.by_text(&self.session.membership.login_of, account.as_str())?;
        rows.first().map(|row| Ok(Login(Sha256(bytes(row, 0)?)))).transpose()
    }

    fn account_of_login(&mut self, login: Login) -> Result<Option<AccountId>, LedgerError> {
        let row = self.by_digest(&self.session.membership.account_of_login, login.0)?;
        row.map(|row| text(&row, 0)).transpose()
    }

    fn link_code(&mut self, sha256: Sha256) -> Result<Option<LinkCodeRecord>, LedgerError> {
        let row = self.by_digest(&self.session.membership.link_code, sha256)?;
        let record = |row: Row| Ok(LinkCodeRecord { account: text(&row, 0)?, sha256, expires_at: row.try_get(1)? });
        row.map(record).transpose()
    }

    fn is_asked(&mut self, question: Sha256) -> Result<bool, LedgerError> {
        Ok(self.by_digest(&self.session.membership.asked, question)?.is_some())
    }

    fn last_move(&mut self, device: KeyId) -> Result<Option<Move>, LedgerError> {
        let rows = self.by_text(&self.session.membership.last_move, &device.to_string())?;
        let last = |row: &Row| {
            Ok(Move {
                device,
                number: row.try_get(0)?,
                from: text(row, 1)?,
                to: text(row, 2)?,
                place: row.try_get(3)?,
                sequence: values::count(row.try_get(4)?)?,
                closing: row.try_get(5)?,
                code: digest(row, 6)?.map(Sha256),
                at: row.try_get(7)?,
            })
        };
        rows.first().map(last).transpose()
    }

    fn arrivals(&mut self, account: &AccountId) -> Result<Arrivals, LedgerError> {
        let rows = self.by_text(&self.session.membership.arrivals, account.as_str())?;
        let row = rows.first().ok_or_else(|| LedgerError::damaged("nothing was counted"))?;
        Ok(Arrivals { moves: values::count(row.try_get(0)?)?, devices: values::count(row.try_get(1)?)? })
    }

    fn purchases(&mut self, account: &AccountId) -> Result<Option<Vec<(OrderId, Token)>>, LedgerError> {
        if self.feed_length(account)? > MOST_LOOKED_AT {
            return Ok(None);
        }
        let (client, statements) = (&self.session.client, &self.session.membership);
        // Nothing of what is too much is read.
        let most = MOST_MOVED as i64;
        let (name, limit) = (account.as_str(), most + 1);
        let granted = client.wait(async { Ok(client.query_one(&statements.granted, &[&name, &limit]).await?) })?;
        if granted.try_get::<_, i64>(0)? > most {
            return Ok(None);
        }
        let rows = self.by_text(&statements.purchases, account.as_str())?;
        rows.iter().map(|row| Ok((OrderId(bytes(row, 0)?), token(row, 1)?))).collect::<Result<_, _>>().map(Some)
    }

    fn items_used(&mut self, account: &AccountId) -> Result<Items, LedgerError> {
        super::consuming::items_used(self, account)
    }

    fn lots_behind(&mut self, account: &AccountId, orders: &[OrderId]) -> Result<Vec<Lot>, LedgerError> {
        let open = self.by_text(&self.session.membership.open_lots, account.as_str())?;
        let mut lots = open.iter().map(lot_of).collect::<Result<Vec<_>, _>>()?;
        let mut known: BTreeSet<TransferId> = lots.iter().map(|lot| lot.id).collect();
        let (client, statement) = (&self.session.client, &self.session.membership.paying);
        let mut closed = Vec::new();
        // The legs of an order have numbers without gaps.
        let mut orders = orders.to_vec();
        for leg in 0.. {
            let id = |order: &OrderId| TransferId::of_purchase(*order, leg).0;
            let ids: Vec<Vec<u8>> = orders.iter().map(|order| id(order).to_vec()).collect();
            let rows = client.wait(async { Ok(client.query(statement, &[&ids]).await?) })?;
            let mut found = BTreeSet::new();
            for row in &rows {
                found.insert(bytes::<16>(row, 0)?);
                let lot = TransferId(bytes(row, 1)?);
                if known.insert(lot) {
                    closed.push(lot.0.to_vec());
                }
            }
            orders.retain(|order| found.contains(&id(order)));
            if orders.is_empty() {
                break;
            }
        }
        lots.extend(self.lots_of(&closed, account)?);
        Ok(lots)
    }

    fn operators_holds(&mut self, account: &AccountId) -> Result<Vec<HoldRecord>, LedgerError> {
        holds_of(&self.by_text(&self.session.membership.operators_holds, account.as_str())?)
    }
}

/// Writes what becomes of devices and their accounts.
pub(super) fn write<'a>(
    (statements, receipts): (&'a Statements, &'a Statement),
    changes: &'a MembershipChanges,
    send: &mut Sending<'_, 'a>,
) {
    if let Some((joined, belongings)) = &changes.joined {
        let device = || Box::new(joined.device.to_string());
        let (from, to) = (|| Box::new(joined.from.as_str()), || Box::new(joined.to.as_str()));
        let columns: Vec<Column<'a>> = vec![device(), from(), to(), Box::new(joined.place)];
        send(Write { statement: &statements.move_device, columns });
        let columns: Vec<Column<'a>> = vec![
            device(),
            Box::new(joined.number),
            from(),
            to(),
            Box::new(joined.place),
            Box::new(values::stored_count(joined.sequence)),
            Box::new(joined.closing),
            Box::new(joined.code.as_ref().map(|code| &code.0[..])),
            Box::new(joined.at),
        ];
        send(Write { statement: &statements.moves, columns });
        let Belongings { orders, used, lots, holds } = belongings;
        if !orders.is_empty() {
            let feeds = column(orders, |(_, feed)| values::stored_count(*feed));
            let columns = vec![column(orders, |(order, _)| &order.0[..]), from() as _, to() as _, feeds];
            send(Write { statement: &statements.move_orders, columns });
        }
        if !used.is_empty() {
            let columns = vec![
                column(used, |(receipt, _)| receipt.account.as_str()),
                column(used, |(receipt, _)| values::stored_count(receipt.feed)),
                column(used, |(receipt, _)| &receipt.id.0[..]),
                column(used, |(receipt, _)| &receipt.consumption.0[..]),
                column(used, |(_, token)| token.as_str()),
            ];
            send(Write { statement: receipts, columns });
        }
        if !lots.is_empty() {
            let columns = vec![column(lots, |(lot, _)| &lot.0[..]), from() as _, to() as _];
            send(Write { statement: &statements.move_lots, columns });
            let columns = vec![column(lots, |_| joined.to.as_str()), column(lots, |(_, currency)| currency.code())];
            send(Write { statement: &statements.wallets, columns });
        }
        if !holds.is_empty() {
            let columns = vec![column(holds, |hold| &hold.0[..]), from() as _, to() as _];
            send(Write { statement: &statements.move_holds, columns });
        }
    }
    for (device, since, replaced_by) in &changes.revoked {
        let replaced_by = replaced_by.map(|id| id.to_string());
        let columns: Vec<Column<'a>> = vec![Box::new(device.to_string()), Box::new(*since), Box::new(replaced_by)];
        send(Write { statement: &statements.revoke, columns });
    }
    if let Some(Successor { key, member }) = &changes.successor {
        let columns: Vec<Column<'a>> = vec![
            Box::new(member.id.to_string()),
            Box::new(member.account.as_str()),
            Box::new(key.to_bytes().to_vec()),
            Box::new(member.enrolled_at),
            Box::new(member.place),
            Box::new(member.name.as_ref().map(|name| name.as_str())),
            Box::new(member.frozen_at),
        ];
        send(Write { statement: &statements.succeed, columns });
    }
    for (device, name) in &changes.named {
        let name = name.as_ref().map(|name| name.as_str());
        let columns: Vec<Column<'a>> = vec![Box::new(device.to_string()), Box::new(name)];
        send(Write { statement: &statements.name, columns });
    }
    if let Some((login, account, at)) = &changes.login {
        let columns: Vec<Column<'a>> = vec![Box::new(&login.0.0[..]), Box::new(account.as_str()), Box::new(*at)];
        send(Write { statement: &statements.bind_login, columns });
    }
    if !changes.void_codes.is_empty() {
        let columns = vec![column(&changes.void_codes, |account| account.as_str())];
        send(Write { statement: &statements.void_codes, columns });
    }
    if let Some(LinkCodeRecord { account, sha256, expires_at }) = &changes.link_code {
        let columns: Vec<Column<'a>> = vec![Box::new(account.as_str()), Box::new(&sha256.0[..]), Box::new(*expires_at)];
        send(Write { statement: &statements.make_code, columns });
    }
    if let Some(question) = &changes.question {
        send(Write { statement: &statements.remember, columns: vec![Box::new(&question.0[..])] });
    }
    if !changes.feeds.is_empty() {
        let columns = vec![
            column(&changes.feeds, |(account, _)| account.as_str()),
            column(&changes.feeds, |(_, feed)| values::stored_count(*feed)),
        ];
        send(Write { statement: &statements.feeds, columns });
    }
}

//! Writing what a plan has decided: one statement for each table that changes, all of them and the commit sent together.
//!
//! Each statement takes its rows as arrays, one for each column. One that changes rows divides by zero if any of them is
//! missing, so that the transaction fails with it: the commit, which was sent already, then commits nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::{Future as _, poll_fn};
use std::task::{Context, Poll};

use futures_util::future::{join_all, join3, maybe_done};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::super::changes::{Changes, Sums};
use super::super::{AccountNumber, FeedEntry, LedgerError, books, values};
use super::membership;
use super::parsing::text;
use super::session::{Session, statements};
use crate::protocol::{AccountId, KeyId, PublicKey, Token, UnixSeconds};

statements! {
    // Always in the order of their ids, so that no two transactions wait for each other.
    orders = "INSERT INTO orders (id, account, feed, device, sequence, product, quantity, token, sha256, status, owned,
            until, amount, currency, settled_at)
        SELECT unnest($1::bytea[]) AS new, unnest($2::text[]), unnest($3::bigint[]), unnest($4::text[]),
            unnest($5::bigint[]), unnest($6::text[]), unnest($7::bigint[]), unnest($8::text[]), unnest($9::bytea[]), unnest($10::text[]),
            unnest($11::boolean[]), unnest($12::bigint[]), unnest($13::bigint[]), unnest($14::text[]),
            unnest($15::bigint[])
        ORDER BY new";
    transfers = "INSERT INTO transfers (id, debit_account, credit_account, amount, kind, order_id, hold_id, created_at)
        SELECT unnest($1::bytea[]), unnest($2::bytea[]), unnest($3::bytea[]), unnest($4::bigint[]), unnest($5::text[]),
            unnest($6::bytea[]), unnest($7::bytea[]), unnest($8::bigint[])";
    receipts = "INSERT INTO receipts (account, feed, id, order_id, token)
        SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::bytea[]), unnest($4::bytea[]), unnest($5::text[])";
    // An order that is no part of its device's chain leaves the chain alone.
    devices = "WITH changed AS (
            UPDATE devices SET feed = new.feed, sequence = COALESCE(new.sequence, devices.sequence),
                chain_head = COALESCE(new.head, devices.chain_head)
            FROM (SELECT unnest($1::text[]) AS id, unnest($2::bigint[]) AS feed, unnest($3::bigint[]) AS sequence,
                unnest($4::bytea[]) AS head) AS new
            WHERE devices.id = new.id RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    feeds = "UPDATE devices SET feed = new.feed FROM unnest($1::text[], $2::bigint[]) AS new (account, feed)
        WHERE devices.account = new.account";
    // Always in the order of their ids, so that no two transactions wait for each other.
    houses = "INSERT INTO accounts (id, stripe, kind, owner, currency, debits_posted, credits_posted, debits_pending,
            credits_pending, open)
        SELECT id, $9, kind, owner, currency, debits, credits, held, expected, FALSE
        FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[]) AS new (id, kind, owner, currency, debits, credits, held, expected)
        ORDER BY id
        ON CONFLICT (id, stripe) DO UPDATE SET
            debits_posted = accounts.debits_posted + EXCLUDED.debits_posted,
            credits_posted = accounts.credits_posted + EXCLUDED.credits_posted,
            debits_pending = accounts.debits_pending + EXCLUDED.debits_pending,
            credits_pending = accounts.credits_pending + EXCLUDED.credits_pending";
    wallets = "INSERT INTO wallets (account, currency) SELECT DISTINCT * FROM unnest($1::text[], $2::text[])
        ON CONFLICT DO NOTHING";
    lots = "INSERT INTO accounts (id, stripe, kind, owner, currency, debits_posted, credits_posted, debits_pending,
            credits_pending, open, origin, source, opened_at, refundable_until, opened_with, refunded)
        SELECT id, 0, 'wallet', owner, currency, 0, 0, 0, 0, FALSE, origin, source, opened_at, until, opened_with, 0
        FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
            $8::bigint[]) AS new (id, owner, currency, origin, source, opened_at, until, opened_with)";
    sums = "WITH changed AS (
            UPDATE accounts SET
                debits_posted = debits_posted + debits, credits_posted = credits_posted + credits,
                debits_pending = debits_pending + held, credits_pending = credits_pending + expected,
                open = credits_posted + credits <> debits_posted + debits OR debits_pending + held <> 0
            FROM (SELECT unnest($1::bytea[]) AS number, unnest($2::bigint[]) AS debits, unnest($3::bigint[]) AS credits,
                unnest($4::bigint[]) AS held, unnest($5::bigint[]) AS expected) AS new
            WHERE id = number AND stripe = 0 AND kind = 'wallet' RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    refunded = "WITH changed AS (
            UPDATE accounts SET refunded = refunded + amount
            FROM unnest($1::bytea[], $2::bigint[]) AS new (number, amount)
            WHERE id = number AND stripe = 0 AND kind = 'wallet' RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    standings = "WITH changed AS (
            UPDATE orders SET status = new.status, refunded_quantity = quantities, refunded_amount = amounts
            FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[]) AS new (number, status, quantities, amounts)
            WHERE id = number RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    holds = "INSERT INTO holds (id, account, currency, amount, expires_at, status)
        SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[])";
    resolved = "WITH changed AS (
            UPDATE holds SET status = new.status, posted = taken, resolved_at = at
            FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[]) AS new (number, status, taken, at)
            WHERE id = number AND holds.status = 'pending' RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    allowances = "INSERT INTO allowances (id, device, number, issued_at, expires_at, per_order, most_orders, catalog,
            token)
        SELECT unnest($1::bytea[]), unnest($2::text[]), unnest($3::bigint[]), unnest($4::bigint[]),
            unnest($5::bigint[]), unnest($6::bigint[]), unnest($7::bigint[]), unnest($8::bytea[]), unnest($9::text[])";
    // Two statements for the two tables: what one of them changes, the other does not see.
    posted = "WITH changed AS (
            UPDATE holds SET posted = taken
            FROM unnest($1::bytea[], $2::bigint[]) AS new (number, taken)
            WHERE id = new.number AND status = 'pending' RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    spent = "WITH changed AS (
            UPDATE allowances SET spent = new.spent, orders = new.orders
            FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS new (key, spent, orders)
            WHERE id = new.key RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    forks = "INSERT INTO forks (device, sequence, first, second, created_at)
        SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::bytea[]), unnest($4::bytea[]),
            unnest($5::bigint[])";
    frozen = "WITH changed AS (
            UPDATE devices SET frozen_at = new.since
            FROM unnest($1::text[], $2::bigint[]) AS new (key, since)
            WHERE id = new.key RETURNING 1)
        SELECT 1 / (CASE WHEN COUNT(*) = cardinality($1) THEN 1 ELSE 0 END) FROM changed";
    operation = "INSERT INTO operations (id, action, sha256, done, answer, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    // The two of an enrolment. Every new device opens an account of its own.
    enrol = "INSERT INTO devices (id, account, public_key, created_at)
        SELECT id, account, public_key, $4 FROM unnest($1::text[], $2::text[], $3::bytea[])
            AS new (id, account, public_key) ORDER BY id
        ON CONFLICT (id) DO NOTHING RETURNING id";
    enrolled = "SELECT id, account FROM devices WHERE id = ANY($1)";
}

/// The rows of one statement, column by column.
pub(super) struct Write<'a> {
    pub(super) statement: &'a Statement,
    pub(super) columns: Vec<Column<'a>>,
}

pub(super) type Column<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// One column of all rows.
pub(super) fn column<'a, R, T: ToSql + Sync + Send + 'a>(
    rows: impl IntoIterator<Item = R>,
    value: impl FnMut(R) -> T,
) -> Column<'a> {
    Box::new(rows.into_iter().map(value).collect::<Vec<T>>())
}

/// Writes a plan and commits. Gives each receipt's place in its feed.
///
/// `sign` gives the signed receipts, and does meanwhile what it is given: making the rows of everything else, and
/// sending each statement as soon as its rows are made.
pub(super) fn write_and_commit(
    session: &Session,
    changes: &Changes,
    stripe: i64,
    sign: impl FnOnce(&mut dyn FnMut()) -> Result<Vec<Token>, LedgerError>,
) -> Result<Vec<FeedEntry>, LedgerError> {
    let (client, statements) = (&session.client, &session.writing);
    let tokens = client.wait(async {
        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let mut early = Vec::new();
        let mut sent = Ok(());
        let tokens = sign(&mut || {
            let mut send = |write| {
                let mut writing = Box::pin(maybe_done(execute(client, write)));
                // What is polled is sent; what comes of it is waited for later.
                let _ = writing.as_mut().poll(&mut Context::from_waker(&waker));
                early.push(writing);
            };
            sent = all_but_receipts(session, changes, stripe, &mut send);
        })?;
        sent?;
        let late = receipts(statements, changes, &tokens)?.into_iter().map(|write| execute(client, write));
        let earlier = join_all(early.iter_mut().map(|writing| writing.as_mut()));
        // Sent, and done, in this order: what is polled first is sent first.
        let (_, late, committed) = join3(earlier, join_all(late), client.batch_execute("COMMIT")).await;
        // The first that failed is the reason why all after it did.
        let early = early.iter_mut().filter_map(|writing| writing.as_mut().take_output());
        early.chain(late).collect::<Result<Vec<_>, _>>()?;
        committed?;
        Ok(tokens)
    })?;
    Ok(changes.receipts.iter().zip(tokens).map(|(receipt, token)| FeedEntry { feed: receipt.feed, token }).collect())
}

/// Where statements go, in the order in which they are to be done.
pub(super) type Sending<'s, 'a> = dyn FnMut(Write<'a>) + 's;

async fn execute(client: &Client, write: Write<'_>) -> Result<u64, tokio_postgres::Error> {
    client.execute_raw(write.statement, write.columns).await
}

/// Begins a transaction and enrols devices. Gives those that were not enrolled before, and everybody's account.
pub(super) fn enrol(
    session: &Session,
    keys: &[PublicKey],
    now: UnixSeconds,
) -> Result<(HashSet<KeyId>, HashMap<KeyId, AccountId>), LedgerError> {
    let ids: Vec<String> = keys.iter().map(|key| key.id().to_string()).collect();
    let accounts: Vec<AccountId> = keys.iter().map(|key| key.id().guest_account()).collect();
    let accounts: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
    let public_keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_bytes().to_vec()).collect();
    let (client, statements) = (&session.client, &session.writing);
    let (new, enrolled) = client.wait(async {
        let (begun, new, enrolled) = join3(
            client.batch_execute("BEGIN"),
            client.query(&statements.enrol, &[&ids, &accounts, &public_keys, &now]),
            client.query(&statements.enrolled, &[&ids]),
        )
        .await;
        begun?;
        Ok((new?, enrolled?))
    })?;
    let new = new.iter().map(|row| text(row, 0)).collect::<Result<_, _>>()?;
    let account = |row: &Row| Ok((text(row, 0)?, text(row, 1)?));
    Ok((new, enrolled.iter().map(account).collect::<Result<_, LedgerError>>()?))
}

fn all_but_receipts<'a>(
    session: &'a Session,
    changes: &'a Changes,
    stripe: i64,
    send: &mut Sending<'_, 'a>,
) -> Result<(), LedgerError> {
    let statements = &session.writing;
    accounts(statements, changes, stripe, send)?;
    decisions(statements, changes, send);
    membership::write((&session.membership, &statements.receipts), &changes.membership, send);
    orders(statements, changes, send)
}

fn accounts<'a>(
    statements: &'a Statements,
    changes: &'a Changes,
    stripe: i64,
    send: &mut Sending<'_, 'a>,
) -> Result<(), LedgerError> {
    let Changes { houses, lots, sums, refunded, .. } = changes;
    if !lots.is_empty() {
        let columns = vec![column(lots, |lot| lot.account.as_str()), column(lots, |lot| lot.currency.code())];
        send(Write { statement: &statements.wallets, columns });
        let columns = vec![
            column(lots, |lot| &lot.id.0[..]),
            column(lots, |lot| lot.account.as_str()),
            column(lots, |lot| lot.currency.code()),
            column(lots, |lot| lot.origin.as_str()),
            column(lots, |lot| lot.source.as_str()),
            column(lots, |lot| lot.opened_at),
            column(lots, |lot| lot.refundable_until),
            column(lots, |lot| lot.opened_with),
        ];
        send(Write { statement: &statements.lots, columns });
    }
    let own: BTreeMap<&AccountNumber, [i64; 4]> = sums
        .iter()
        .filter(|(number, _)| !houses.contains_key(*number))
        .map(|(number, sums)| Ok((number, narrow(sums)?)))
        .collect::<Result<_, LedgerError>>()?;
    if !own.is_empty() {
        let mut columns = vec![column(own.keys(), |number| &number.0[..])];
        columns.extend((0..4).map(|sum| column(own.values(), |sums| sums[sum])));
        send(Write { statement: &statements.sums, columns });
    }
    if !refunded.is_empty() {
        let columns =
            vec![column(refunded.keys(), |number| &number.0[..]), column(refunded.values(), |amount| *amount)];
        send(Write { statement: &statements.refunded, columns });
    }
    if !houses.is_empty() {
        let added = houses.keys().map(|number| narrow(&sums.get(number).copied().unwrap_or_default()));
        let added: Vec<[i64; 4]> = added.collect::<Result<_, _>>()?;
        let mut columns = vec![
            column(houses.keys(), |number| &number.0[..]),
            column(houses.values(), |house| house.kind.as_str()),
            column(houses.values(), |house| house.owner.as_str()),
            column(houses.values(), |house| house.currency.code()),
        ];
        columns.extend((0..4).map(|sum| column(&added, |sums| sums[sum])));
        columns.push(Box::new(stripe));
        send(Write { statement: &statements.houses, columns });
    }
    Ok(())
}

/// Sums as the database keeps them: debits, credits, debits pending and credits pending.
fn narrow(sums: &Sums) -> Result<[i64; 4], LedgerError> {
    let narrow = |sum: i128| i64::try_from(sum).map_err(|_| LedgerError::damaged("the sum of a batch is out of range"));
    Ok([
        narrow(sums.debits_posted)?,
        narrow(sums.credits_posted)?,
        narrow(sums.debits_pending)?,
        narrow(sums.credits_pending)?,
    ])
}

fn decisions<'a>(statements: &'a Statements, changes: &'a Changes, send: &mut Sending<'_, 'a>) {
    let Changes { holds, resolved, operation, standings, .. } = changes;
    if !holds.is_empty() {
        let columns = vec![
            column(holds, |hold| &hold.id.0[..]),
            column(holds, |hold| hold.account.as_str()),
            column(holds, |hold| hold.currency.code()),
            column(holds, |hold| hold.amount),
            column(holds, |hold| hold.expires_at),
            column(holds, |hold| hold.status.as_str()),
        ];
        send(Write { statement: &statements.holds, columns });
    }
    allowances(statements, changes, send);
    if !resolved.is_empty() {
        let columns = vec![
            column(resolved, |hold| &hold.id.0[..]),
            column(resolved, |hold| hold.status.as_str()),
            column(resolved, |hold| hold.posted),
            column(resolved, |hold| hold.resolved_at),
        ];
        send(Write { statement: &statements.resolved, columns });
    }
    if !standings.is_empty() {
        let columns = vec![
            column(standings, |standing| &standing.order.0[..]),
            column(standings, |standing| books::status_text(standing.status)),
            column(standings, |standing| i64::from(standing.refunded_quantity)),
            column(standings, |standing| standing.refunded_amount),
        ];
        send(Write { statement: &statements.standings, columns });
    }
    if let Some(operation) = operation {
        let columns: Vec<Column<'a>> = vec![
            Box::new(&operation.id.0[..]),
            Box::new(operation.name.as_str()),
            Box::new(&operation.sha256.0[..]),
            Box::new(operation.decision.is_ok()),
            Box::new(operation.decision_text()),
            Box::new(operation.at),
        ];
        send(Write { statement: &statements.operation, columns });
    }
}

fn allowances<'a>(statements: &'a Statements, changes: &'a Changes, send: &mut Sending<'_, 'a>) {
    let Changes { allowances, spent, forks, frozen, .. } = changes;
    if !allowances.is_empty() {
        let columns = vec![
            column(allowances, |(id, _)| &id.0[..]),
            column(allowances, |(_, terms)| terms.device.to_string()),
            column(allowances, |(_, terms)| terms.number),
            column(allowances, |(_, terms)| terms.issued_at),
            column(allowances, |(_, terms)| terms.expires_at),
            column(allowances, |(_, terms)| terms.per_order),
            column(allowances, |(_, terms)| terms.most_orders),
            column(allowances, |(_, terms)| &terms.catalog.0[..]),
            column(allowances, |(_, terms)| terms.token.as_str()),
        ];
        send(Write { statement: &statements.allowances, columns });
    }
    if !spent.is_empty() {
        let columns = vec![column(spent.keys(), |id| &id.0[..]), column(spent.values(), |(posted, _, _)| *posted)];
        send(Write { statement: &statements.posted, columns });
        let columns = vec![
            column(spent.keys(), |id| &id.0[..]),
            column(spent.values(), |(_, spent, _)| *spent),
            column(spent.values(), |(_, _, orders)| *orders),
        ];
        send(Write { statement: &statements.spent, columns });
    }
    if !forks.is_empty() {
        let columns = vec![
            column(forks, |fork| fork.device.to_string()),
            column(forks, |fork| values::stored_count(fork.sequence)),
            column(forks, |fork| &fork.first.0[..]),
            column(forks, |fork| &fork.second.0[..]),
            column(forks, |fork| fork.at),
        ];
        send(Write { statement: &statements.forks, columns });
    }
    if !frozen.is_empty() {
        let columns = vec![column(frozen.keys(), |device| device.to_string()), column(frozen.values(), |since| *since)];
        send(Write { statement: &statements.frozen, columns });
    }
}

fn orders<'a>(statements: &'a Statements, changes: &'a Changes, send: &mut Sending<'_, 'a>) -> Result<(), LedgerError> {
    let Changes { orders, chains, transfers, receipts, .. } = changes;
    // Each new order is answered by the receipt of the same place.
    let answered = orders.iter().zip(receipts).all(|(new, receipt)| new.verified.order().id == receipt.order);
    if !answered || orders.len() > receipts.len() {
        return Err(LedgerError::damaged("a plan has settled an order without a receipt"));
    }
    if !orders.is_empty() {
        let columns = vec![
            column(orders, |new| new.verified.order().id.0.to_vec()),
            column(orders, |new| new.verified.order().account.as_str()),
            column(orders.iter().zip(receipts), |(_, receipt)| values::stored_count(receipt.feed)),
            column(orders, |new| new.verified.order().device.to_string()),
            column(orders, |new| new.chained.then_some(values::stored_count(new.verified.order().sequence))),
            column(orders, |new| new.verified.order().product.as_str()),
            column(orders, |new| i64::from(new.verified.order().quantity)),
            column(orders, |new| new.verified.token().as_str()),
            column(orders, |new| new.verified.sha256().0.to_vec()),
            column(orders, |new| books::status_text(new.status)),
            column(orders, |new| new.owned),
            column(orders, |new| new.until),
            column(orders, |new| new.amount.micros.value()),
            column(orders, |new| new.amount.currency.code()),
            column(orders, |new| new.settled_at),
        ];
        send(Write { statement: &statements.orders, columns });
    }
    // The last receipt of a device, or of an account, is the end of its feed.
    let (answers, news) = receipts.split_at(orders.len());
    let bought: BTreeMap<KeyId, u64> =
        orders.iter().zip(answers).map(|(new, receipt)| (new.verified.order().device, receipt.feed)).collect();
    if !bought.is_empty() {
        let head = |device: &KeyId| chains.get(device);
        let columns = vec![
            column(bought.keys(), |device| device.to_string()),
            column(bought.values(), |feed| values::stored_count(*feed)),
            column(bought.keys(), |device| head(device).map(|head| values::stored_count(head.sequence))),
            column(bought.keys(), |device| head(device).map(|head| head.order_sha256.0.to_vec())),
        ];
        send(Write { statement: &statements.devices, columns });
    }
    // Where devices have moved, that is told with them.
    let is_told = |account: &AccountId| changes.membership.feeds.iter().any(|(told, _)| told == account);
    let news = news.iter().filter(|receipt| !is_told(&receipt.account));
    let told: BTreeMap<&AccountId, u64> = news.map(|receipt| (&receipt.account, receipt.feed)).collect();
    if !told.is_empty() {
        let columns = vec![
            column(told.keys(), |account| account.as_str()),
            column(told.values(), |feed| values::stored_count(*feed)),
        ];
        send(Write { statement: &statements.feeds, columns });
    }
    if !transfers.is_empty() {
        let columns = vec![
            column(transfers, |transfer| &transfer.id.0[..]),
            column(transfers, |transfer| &transfer.debit.0[..]),
            column(transfers, |transfer| &transfer.credit.0[..]),
            column(transfers, |transfer| transfer.amount),
            column(transfers, |transfer| transfer.kind.as_str()),
            column(transfers, |transfer| transfer.order.as_ref().map(|order| &order.0[..])),
            column(transfers, |transfer| transfer.hold.as_ref().map(|hold| &hold.0[..])),
            column(transfers, |transfer| transfer.at),
        ];
        send(Write { statement: &statements.transfers, columns });
    }
    Ok(())
}

/// The receipts, if there are any.
fn receipts<'a>(
    statements: &'a Statements,
    changes: &'a Changes,
    tokens: &'a [Token],
) -> Result<Option<Write<'a>>, LedgerError> {
    let receipts = &changes.receipts;
    if tokens.len() != receipts.len() {
        return Err(LedgerError::damaged("a receipt was not signed"));
    }
    let columns = || {
        vec![
            column(receipts, |receipt| receipt.account.as_str()),
            column(receipts, |receipt| values::stored_count(receipt.feed)),
            column(receipts, |receipt| &receipt.id.0[..]),
            column(receipts, |receipt| &receipt.order.0[..]),
            column(tokens, |token| token.as_str()),
        ]
    };
    Ok((!receipts.is_empty()).then(|| Write { statement: &statements.receipts, columns: columns() }))
}

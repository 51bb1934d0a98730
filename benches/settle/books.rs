//! The ledger alone, in batches of a thousand; beside a bare loop of the same statements, and everybody buying one
//! product beside everybody buying another.

use std::path::Path;
use std::time::Instant;

use bevy_iap::protocol::{Grant, Receipt, ReceiptId, SecretKey, Sha256, Status, Token};
use bevy_iap::server::ledger::{SqliteLedger, TransferId, VerifiedOrder};
use rayon::prelude::*;
use rusqlite::{Connection, params};

use crate::desk::{self, DEVICES, Desk, TURN};
use crate::shop::{self, Device};
use crate::table;

pub fn run() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let open = |name: &str, population| {
        let ledger = SqliteLedger::open(&folder.path().join(name), &shop::game()).expect("opens");
        Desk::of(Box::new(ledger), population)
    };
    let desk = open("ours.sqlite", 10);
    let devices = open("bare.sqlite", 11).devices;
    let bare = Bare::open(&folder.path().join("bare.sqlite"), devices);
    let mut both = (desk, bare);
    let rounds = desk::in_turns(&mut both, |(desk, _)| desk.settle(|_| "shield".to_owned()), |(_, bare)| bare.settle());
    table::compared("the SQLite ledger, 1,000 orders a batch; floor: the same statements, bare", &rounds, Some(0.8));
    let rounds = both.0.hot_beside_spread();
    table::compared("everybody buys one product, on SQLite; floor: 64 products", &rounds, Some(0.95));
}

/// A bare loop of the statements that settling takes, with everything that they need at hand.
struct Bare {
    connection: Connection,
    devices: Vec<Device>,
    feed: u64,
    key: SecretKey,
}

impl Bare {
    fn open(path: &Path, devices: Vec<Device>) -> Self {
        let connection = Connection::open(path).expect("opens");
        connection.pragma_update(None, "synchronous", "full").expect("set");
        connection.pragma_update(None, "foreign_keys", "on").expect("set");
        connection.pragma_update(None, "cache_size", -64 * 1024).expect("set");
        connection.pragma_update(None, "wal_autocheckpoint", 16 * 1024).expect("set");
        connection.set_prepared_statement_cache_capacity(64);
        let revenue = "INSERT INTO accounts (id, kind, owner, currency) VALUES (?1, 'revenue', 'bench', 'EUR')";
        connection.execute(revenue, [[7u8; 16]]).expect("made");
        Self { connection, devices, feed: 0, key: SecretKey::from_seed(&[2; 32]) }
    }

    /// Orders a second. The receipts are signed in it, as the ledger signs them.
    fn settle(&mut self) -> f64 {
        let batches = shop::batches(&mut self.devices, TURN, |_| "shield".to_owned());
        let grants = shop::catalog().product("shield").expect("it is sold").1.grants(1, shop::NOW);
        let mut prepared = Vec::new();
        for batch in &batches {
            self.feed += 1;
            prepared.push(batch.par_iter().map(|order| Row::of(order, self.feed, &grants)).collect::<Vec<_>>());
        }
        let started = Instant::now();
        for rows in &prepared {
            self.write(rows);
        }
        table::rate(TURN * DEVICES, started.elapsed())
    }

    fn write(&mut self, rows: &[Row]) {
        let transaction =
            self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).expect("begins");
        for row in rows {
            row.read(&transaction);
        }
        let receipts: Vec<Receipt> = rows.iter().map(|row| row.receipt.clone()).collect();
        let (mut tokens, key) = (Vec::new(), &self.key);
        let sign = |receipt: &Receipt| receipt.sign(key).expect("signs");
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| tokens = receipts.par_iter().map(&sign).collect());
            rows.iter().for_each(|row| row.write(&transaction));
        });
        let paid = (DEVICES * 5_000) as i64;
        let revenue = "UPDATE accounts SET debits_posted = debits_posted + ?2, credits_posted = credits_posted + ?3,
            debits_pending = debits_pending + ?4, credits_pending = credits_pending + ?5 WHERE id = ?1";
        let mut statement = transaction.prepare_cached(revenue).expect("prepares");
        statement.execute(params![[7u8; 16], 0, paid, 0, 0]).expect("written");
        drop(statement);
        for (row, token) in rows.iter().zip(tokens) {
            row.write_receipt(&transaction, &token);
        }
        transaction.commit().expect("commits");
    }
}

/// What the statements for one order take.
struct Row {
    order: VerifiedOrder,
    device: String,
    lot: [u8; 16],
    transfer: [u8; 16],
    receipt: Receipt,
}

impl Row {
    fn of(verified: &VerifiedOrder, feed: u64, grants: &[Grant]) -> Self {
        let order = verified.order();
        let id = Sha256::of(format!("receipt {}", order.id));
        let receipt = Receipt {
            id: ReceiptId(*id.0.first_chunk().expect("it has 32 bytes")),
            server: SecretKey::from_seed(&[2; 32]).id(),
            game: shop::game(),
            account: order.account.clone(),
            issued_at: shop::NOW,
            feed,
            order: order.id,
            order_sha256: verified.sha256(),
            status: Status::Granted,
            reason: None,
            product: order.product.clone(),
            quantity: 1,
            amount: order.price,
            grants: grants.to_vec(),
        };
        let transfer = Sha256::of(format!("transfer {}", order.id));
        Self {
            device: order.device.to_string(),
            lot: TransferId::of_welcome(&order.account).0,
            transfer: *transfer.0.first_chunk().expect("it has 32 bytes"),
            order: verified.clone(),
            receipt,
        }
    }

    fn read(&self, connection: &Connection) {
        let order = self.order.order();
        let account = order.account.as_str();
        let known = |statement: &str, values: &[&dyn rusqlite::ToSql]| {
            let mut statement = connection.prepare_cached(statement).expect("prepares");
            let mut rows = statement.query(values).expect("reads");
            let mut count = 0;
            while rows.next().expect("reads").is_some() {
                count += 1;
            }
            count
        };
        assert_eq!(known("SELECT sha256 FROM orders WHERE id = ?1", &[&order.id.0]), 0);
        let holds = "SELECT id, account, currency, amount, expires_at, status, posted, resolved_at FROM holds
            WHERE account = ?1 AND status = 'pending' AND expires_at <= ?2";
        assert_eq!(known(holds, &[&account, &shop::NOW]), 0);
        assert_eq!(known("SELECT sequence, chain_head FROM devices WHERE id = ?1", &[&self.device]), 1);
        let lots = "SELECT id, owner, currency, origin, source, opened_at, refundable_until, opened_with, refunded,
                credits_posted - debits_posted, debits_pending
            FROM accounts WHERE kind = 'wallet' AND owner = ?1 AND currency = ?2
                AND (credits_posted <> debits_posted OR debits_pending <> 0)";
        assert_eq!(known(lots, &[&account, &"EUR"]), 1);
        assert_eq!(known("SELECT MAX(feed) FROM receipts WHERE account = ?1", &[&account]), 1);
    }

    fn write(&self, connection: &Connection) {
        let order = self.order.order();
        let execute = |statement: &str, values: &[&dyn rusqlite::ToSql]| {
            let changed = connection.prepare_cached(statement).expect("prepares").execute(values);
            assert_eq!(changed.expect("written"), 1);
        };
        execute(
            "UPDATE accounts SET debits_posted = debits_posted + ?2, credits_posted = credits_posted + ?3,
                 debits_pending = debits_pending + ?4, credits_pending = credits_pending + ?5 WHERE id = ?1",
            &[&self.lot, &5_000, &0, &0, &0],
        );
        execute(
            "INSERT INTO orders (id, account, device, sequence, product, quantity, token, sha256, status, until,
                 amount, currency, settled_at, feed, owned)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'granted', ?9, ?10, 'EUR', ?11, ?12, 0)",
            &[
                &order.id.0,
                &order.account.as_str(),
                &self.device,
                &(order.sequence as i64),
                &order.product.as_str(),
                &order.quantity,
                &self.order.token().as_str(),
                &self.order.sha256().0,
                &None::<i64>,
                &5_000,
                &shop::NOW,
                &(self.receipt.feed as i64),
            ],
        );
        execute(
            "UPDATE devices SET sequence = ?2, chain_head = ?3 WHERE id = ?1",
            &[&self.device, &(order.sequence as i64), &self.order.sha256().0],
        );
        execute(
            "INSERT INTO transfers (id, debit_account, credit_account, amount, kind, order_id, hold_id, created_at)
             VALUES (?1, ?2, ?3, ?4, 'purchase', ?5, ?6, ?7)",
            &[&self.transfer, &self.lot, &[7u8; 16], &5_000, &order.id.0, &None::<[u8; 16]>, &shop::NOW],
        );
    }

    fn write_receipt(&self, connection: &Connection, token: &Token) {
        let Receipt { account, feed, id, order, .. } = &self.receipt;
        connection
            .prepare_cached("INSERT INTO receipts (account, feed, id, order_id, token) VALUES (?1, ?2, ?3, ?4, ?5)")
            .expect("prepares")
            .execute(params![account.as_str(), *feed as i64, id.0, order.0, token.as_str()])
            .expect("written");
    }
}

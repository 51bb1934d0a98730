//! The tables, and how those of an older version become these.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::super::LedgerError;
use super::lots_from_wallets;
use crate::protocol::GameId;

type Step = fn(&Transaction<'_>) -> Result<(), LedgerError>;

/// From each version of the file, in its `user_version`, to the next. An empty file is of version 0. A step is never
/// changed once a server has run it: what is wrong with one is put right by the next.
///
/// Every table is STRICT, so that a sum that leaves the range of integers is an error and never a rounded number.
const STEPS: [Step; 7] = [
    |transaction| Ok(transaction.execute_batch(VERSION_1)?),
    |transaction| {
        transaction.execute_batch(VERSION_2)?;
        lots_from_wallets::fill(transaction)?;
        Ok(transaction.execute_batch(VERSION_1_IS_LEFT)?)
    },
    |transaction| Ok(transaction.execute_batch(VERSION_3)?),
    |transaction| Ok(transaction.execute_batch(VERSION_4)?),
    |transaction| Ok(transaction.execute_batch(CONSUMPTIONS)?),
    |transaction| Ok(transaction.execute_batch(ACCOUNTS)?),
    |transaction| Ok(transaction.execute_batch(QUESTIONS)?),
];

const VERSION_1: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;

-- The accounts of the ledger; a wallet is one of them. Available is credits_posted - debits_posted - debits_pending.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('wallet', 'revenue', 'funding')),
    owner TEXT NOT NULL,
    currency TEXT NOT NULL,
    debits_posted INTEGER NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
    credits_posted INTEGER NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    debits_pending INTEGER NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
    credits_pending INTEGER NOT NULL DEFAULT 0 CHECK (credits_pending >= 0),
    UNIQUE (kind, owner, currency)
) STRICT;

CREATE TABLE devices (
    id TEXT PRIMARY KEY NOT NULL,
    account TEXT NOT NULL,
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    created_at INTEGER NOT NULL,
    sequence INTEGER NOT NULL DEFAULT 0,
    chain_head BLOB
) STRICT;
CREATE INDEX devices_by_account ON devices (account);

-- The sequence is null where the order is no part of its device's chain.
CREATE TABLE orders (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    account TEXT NOT NULL,
    device TEXT NOT NULL REFERENCES devices (id),
    sequence INTEGER,
    product TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    token TEXT NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    status TEXT NOT NULL CHECK (status IN ('granted', 'declined', 'pending', 'refunded', 'revoked')),
    until INTEGER,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    currency TEXT NOT NULL,
    settled_at INTEGER NOT NULL,
    UNIQUE (device, sequence)
) STRICT;
CREATE INDEX orders_owned ON orders (account, product) WHERE status = 'granted';
CREATE INDEX orders_by_account ON orders (account);

-- Transfers are written once and never changed.
CREATE TABLE transfers (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    debit_account INTEGER NOT NULL REFERENCES accounts (id),
    credit_account INTEGER NOT NULL REFERENCES accounts (id),
    amount INTEGER NOT NULL CHECK (amount > 0),
    kind TEXT NOT NULL CHECK (kind IN ('purchase', 'credit', 'welcome', 'refund')),
    order_id BLOB REFERENCES orders (id),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE receipts (
    account TEXT NOT NULL,
    feed INTEGER NOT NULL,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    order_id BLOB NOT NULL REFERENCES orders (id),
    token TEXT NOT NULL,
    PRIMARY KEY (account, feed)
) STRICT;
CREATE INDEX receipts_by_order ON receipts (order_id);
";

/// What is needed no longer once version 2 is filled; children before their parents.
const VERSION_1_IS_LEFT: &str = "
DROP TABLE old_transfers;
DROP TABLE old_receipts;
DROP TABLE old_orders;
DROP TABLE old_accounts;
";

/// A wallet becomes its lots; refunds in part, holds, and operations with ids of their own.
///
/// What every purchase writes has no foreign keys, and no index that only an operator would use: each would cost as much
/// as the row itself, and the audit checks all that they would.
const VERSION_2: &str = "
ALTER TABLE accounts RENAME TO old_accounts;
ALTER TABLE transfers RENAME TO old_transfers;
ALTER TABLE orders RENAME TO old_orders;
ALTER TABLE receipts RENAME TO old_receipts;
DROP INDEX orders_owned;
DROP INDEX orders_by_account;

-- The accounts of the ledger. One of the kind 'wallet' is a lot. Available is credits_posted - debits_posted -
-- debits_pending.
CREATE TABLE accounts (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('wallet', 'revenue', 'payable', 'funding', 'promotion', 'fees')),
    owner TEXT NOT NULL,
    currency TEXT NOT NULL,
    debits_posted INTEGER NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
    credits_posted INTEGER NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    debits_pending INTEGER NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
    credits_pending INTEGER NOT NULL DEFAULT 0 CHECK (credits_pending >= 0),
    origin TEXT CHECK (origin IN ('paid', 'promotional')),
    source TEXT,
    opened_at INTEGER,
    refundable_until INTEGER,
    opened_with INTEGER CHECK (opened_with > 0),
    refunded INTEGER CHECK (refunded BETWEEN 0 AND opened_with),
    CHECK (kind <> 'wallet'
        OR origin IS NOT NULL AND source IS NOT NULL AND opened_at IS NOT NULL AND opened_with IS NOT NULL
        AND refunded IS NOT NULL)
) STRICT;
-- A player with a thousand old lots is as fast as one with none.
CREATE INDEX lots_open ON accounts (owner, currency)
    WHERE kind = 'wallet' AND (credits_posted <> debits_posted OR debits_pending <> 0);

-- The currencies that a player ever held.
CREATE TABLE wallets (
    account TEXT NOT NULL,
    currency TEXT NOT NULL,
    PRIMARY KEY (account, currency)
) STRICT, WITHOUT ROWID;

-- Transfers are written once and never changed. Those of the kind 'hold' set aside and move nothing.
CREATE TABLE transfers (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    debit_account BLOB NOT NULL CHECK (length(debit_account) = 16),
    credit_account BLOB NOT NULL CHECK (length(credit_account) = 16),
    amount INTEGER NOT NULL CHECK (amount > 0),
    kind TEXT NOT NULL CHECK (kind IN ('credit', 'welcome', 'fee', 'purchase', 'refund', 'credit_refund', 'hold', 'post',
        'payout')),
    order_id BLOB,
    hold_id BLOB,
    created_at INTEGER NOT NULL
) STRICT;
-- Those that paid for an order have ids that are made from the order's.
CREATE INDEX transfers_refunding ON transfers (order_id) WHERE kind = 'refund';

CREATE TABLE holds (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    account TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    expires_at INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'posted', 'voided', 'expired')),
    posted INTEGER NOT NULL DEFAULT 0 CHECK (posted BETWEEN 0 AND amount),
    resolved_at INTEGER
) STRICT;
CREATE INDEX holds_pending ON holds (account) WHERE status = 'pending';
CREATE INDEX holds_due ON holds (expires_at) WHERE status = 'pending';

-- What was done, or refused, under an id: never anything else.
CREATE TABLE operations (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    action TEXT NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    done INTEGER NOT NULL CHECK (done IN (0, 1)),
    answer TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- The sequence is null where the order is no part of its device's chain. The feed is the place of the receipt that
-- answered it first, in its account's feed.
CREATE TABLE orders (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    account TEXT NOT NULL,
    feed INTEGER NOT NULL,
    device TEXT NOT NULL,
    sequence INTEGER,
    product TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    token TEXT NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    status TEXT NOT NULL CHECK (status IN ('granted', 'declined', 'pending', 'refunded', 'revoked')),
    until INTEGER,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    currency TEXT NOT NULL,
    settled_at INTEGER NOT NULL,
    refunded_quantity INTEGER NOT NULL DEFAULT 0 CHECK (refunded_quantity >= 0),
    refunded_amount INTEGER NOT NULL DEFAULT 0 CHECK (refunded_amount >= 0)
) STRICT;
CREATE INDEX orders_owned ON orders (account, product) WHERE status = 'granted';

CREATE TABLE receipts (
    account TEXT NOT NULL,
    feed INTEGER NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    order_id BLOB NOT NULL CHECK (length(order_id) = 16),
    token TEXT NOT NULL,
    PRIMARY KEY (account, feed)
) STRICT;

INSERT INTO orders (id, account, feed, device, sequence, product, quantity, token, sha256, status, until, amount,
    currency, settled_at, refunded_quantity, refunded_amount)
SELECT id, account, (SELECT MIN(feed) FROM old_receipts WHERE order_id = old_orders.id), device, sequence, product,
    quantity, token, sha256, status, until, amount, currency, settled_at,
    CASE status WHEN 'refunded' THEN quantity ELSE 0 END, CASE status WHEN 'refunded' THEN amount ELSE 0 END
FROM old_orders ORDER BY rowid;
INSERT INTO receipts (account, feed, id, order_id, token)
SELECT account, feed, id, order_id, token FROM old_receipts ORDER BY rowid;
";

/// What is consumed is not owned, so it need not be in the index of what is: most of what is bought. Of what was bought
/// before, nobody has written down which it was.
const VERSION_3: &str = "
ALTER TABLE orders ADD COLUMN owned INTEGER NOT NULL DEFAULT 1 CHECK (owned IN (0, 1));
DROP INDEX orders_owned;
CREATE INDEX orders_owned ON orders (account, product) WHERE owned = 1 AND status = 'granted';
";

/// What devices may spend while they are offline.
const VERSION_4: &str = "
-- Whose an allowance is, how much it is, what was taken of it and what has become of it, the hold of the same id says.
CREATE TABLE allowances (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    device TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number > 0),
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    per_order INTEGER NOT NULL CHECK (per_order > 0),
    most_orders INTEGER NOT NULL CHECK (most_orders > 0),
    catalog BLOB NOT NULL CHECK (length(catalog) = 32),
    token TEXT NOT NULL,
    spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
    orders INTEGER NOT NULL DEFAULT 0 CHECK (orders BETWEEN 0 AND most_orders)
) STRICT;

-- Two orders that a device has signed in one place of its chain, the second within an allowance.
CREATE TABLE forks (
    second BLOB PRIMARY KEY NOT NULL CHECK (length(second) = 16),
    first BLOB NOT NULL CHECK (length(first) = 16),
    device TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Since when nothing is sold to the device.
ALTER TABLE devices ADD COLUMN frozen_at INTEGER;
";

/// What was used up. The receipts of consumptions are among the others, and name them where those name their orders.
const CONSUMPTIONS: &str = "
CREATE TABLE consumptions (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    account TEXT NOT NULL,
    feed INTEGER NOT NULL,
    device TEXT NOT NULL,
    sequence INTEGER NOT NULL CHECK (sequence > 0),
    item TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    token TEXT NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    consumed INTEGER NOT NULL CHECK (consumed IN (0, 1)),
    settled_at INTEGER NOT NULL
) STRICT;

-- What is counted of an account's feed, as JSON, up to a place in it: only what follows from the receipts.
CREATE TABLE inventories (
    account TEXT PRIMARY KEY NOT NULL,
    feed INTEGER NOT NULL CHECK (feed > 0),
    counts TEXT NOT NULL
) STRICT;

-- The highest number of the device's consumptions, how many were not above those before, and how many were passed over.
ALTER TABLE devices ADD COLUMN consumed_sequence INTEGER NOT NULL DEFAULT 0 CHECK (consumed_sequence >= 0);
ALTER TABLE devices ADD COLUMN consumed_repeated INTEGER NOT NULL DEFAULT 0 CHECK (consumed_repeated >= 0);
ALTER TABLE devices ADD COLUMN consumed_missing INTEGER NOT NULL DEFAULT 0 CHECK (consumed_missing >= 0);
";

/// Which device belongs to which account, and how it came there.
const ACCOUNTS: &str = "
-- How many have joined the account before the device; what the player calls it; since when it buys nothing and hears
-- nothing, and which device has taken its place.
ALTER TABLE devices ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN name TEXT;
ALTER TABLE devices ADD COLUMN revoked_at INTEGER;
ALTER TABLE devices ADD COLUMN replaced_by TEXT;

-- Whose an account is: a digest of the login's issuer and of the subject there.
CREATE TABLE logins (
    sha256 BLOB PRIMARY KEY NOT NULL CHECK (length(sha256) = 32),
    account TEXT NOT NULL UNIQUE,
    bound_at INTEGER NOT NULL
) STRICT;

-- The last code that a device of an account has asked for, until somebody has joined by it.
CREATE TABLE link_codes (
    account TEXT PRIMARY KEY NOT NULL,
    sha256 BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
    expires_at INTEGER NOT NULL
) STRICT;

-- The sequence is that of the device's last order for the account that it has left. One that is closing has taken along
-- everything that the account had.
CREATE TABLE moves (
    device TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number > 0),
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    place INTEGER NOT NULL,
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    closing INTEGER NOT NULL CHECK (closing IN (0, 1)),
    code BLOB CHECK (length(code) = 32),
    moved_at INTEGER NOT NULL,
    PRIMARY KEY (device, number)
) STRICT;
CREATE INDEX moves_by_source ON moves (source);
CREATE INDEX moves_by_target ON moves (target);
CREATE UNIQUE INDEX moves_closing ON moves (source) WHERE closing = 1;
";

/// What devices have asked about their accounts.
const QUESTIONS: &str = "
-- The digests of all questions that may have changed something: sent again, they change nothing.
CREATE TABLE questions (
    sha256 BLOB PRIMARY KEY NOT NULL CHECK (length(sha256) = 32)
) STRICT, WITHOUT ROWID;
";

/// Brings the file's tables up to this version, in one transaction: makes them in an empty file, for `game`. Checks that
/// they are that game's, and not of a newer version. Returns the game.
pub(super) fn prepare(connection: &mut Connection, game: Option<&GameId>) -> Result<GameId, LedgerError> {
    // Whoever comes second waits here, and finds everything done.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = STEPS.len() as i64;
    let done = usize::try_from(found).ok().filter(|done| *done <= STEPS.len());
    let done = done.ok_or(LedgerError::NewerVersion { found, known })?;
    if let (0, None) = (done, game) {
        return Err(LedgerError::damaged("the game's name is missing"));
    }
    let (first, later) = STEPS.split_at(1.max(done));
    if let (0, Some(game)) = (done, game) {
        first.iter().try_for_each(|step| step(&transaction))?;
        transaction.execute("INSERT INTO meta (name, value) VALUES ('game', ?1)", [game.as_str()])?;
    }
    let stored: Option<String> =
        transaction.query_row("SELECT value FROM meta WHERE name = 'game'", [], |row| row.get(0)).optional()?;
    let stored = stored.ok_or_else(|| LedgerError::damaged("the game's name is missing"))?;
    if let Some(game) = game.filter(|game| **game != *stored.as_str()) {
        return Err(LedgerError::OtherGame { expected: game.to_string(), found: stored });
    }
    later.iter().try_for_each(|step| step(&transaction))?;
    if done < STEPS.len() {
        transaction.pragma_update(None, "user_version", known)?;
    }
    transaction.commit()?;
    stored.parse().map_err(LedgerError::damaged)
}

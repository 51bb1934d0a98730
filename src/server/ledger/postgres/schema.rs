//! The tables, and how those of an older version become these.
//!
//! There are no foreign keys: each would cost a look-up for every row of a batch, and the audit checks all that they
//! would. There are no sequences and no triggers either, which engines that are spread over several computers do not
//! have or do slowly.

use tokio_postgres::error::SqlState;

use super::super::LedgerError;
use super::session::Link;
use crate::protocol::{GameId, PublicKey};

/// From each version of the tables to the next. A step is never changed once a server has run it: what is wrong with
/// one is put right by the next.
const STEPS: [&str; 6] = [VERSION_1, VERSION_2, VERSION_3, CONSUMPTIONS, ACCOUNTS, QUESTIONS];

/// What says which version the tables are of, and which game's.
const META: &str = r#"
CREATE TABLE IF NOT EXISTS meta (
    name TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO meta (name, value) VALUES ('version', '0') ON CONFLICT DO NOTHING;
"#;

/// Names are compared byte by byte, which is what their order means everywhere else, and faster.
const VERSION_1: &str = r#"
-- The accounts of the ledger. One of the kind 'wallet' is a lot, and has the stripe 0. An account of the house is as
-- many rows as there are stripes, each written by other servers, and its sums are the sums of all of them. Available
-- is credits_posted - debits_posted - debits_pending. A lot is open while there is, or is held, something in it, or it
-- is owed: a column of its own, so that an index on it need not change with the sums.
CREATE TABLE accounts (
    id BYTEA NOT NULL CHECK (length(id) = 16),
    stripe BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('wallet', 'revenue', 'payable', 'funding', 'promotion', 'fees')),
    owner TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    debits_posted BIGINT NOT NULL CHECK (debits_posted >= 0),
    credits_posted BIGINT NOT NULL CHECK (credits_posted >= 0),
    debits_pending BIGINT NOT NULL,
    credits_pending BIGINT NOT NULL,
    open BOOLEAN NOT NULL,
    origin TEXT COLLATE "C" CHECK (origin IN ('paid', 'promotional')),
    source TEXT COLLATE "C",
    opened_at BIGINT,
    refundable_until BIGINT,
    opened_with BIGINT CHECK (opened_with > 0),
    refunded BIGINT CHECK (refunded BETWEEN 0 AND opened_with),
    PRIMARY KEY (id, stripe),
    CHECK (kind <> 'wallet'
        OR stripe = 0 AND debits_pending >= 0 AND credits_pending >= 0 AND origin IS NOT NULL AND source IS NOT NULL
        AND opened_at IS NOT NULL AND opened_with IS NOT NULL AND refunded IS NOT NULL)
) WITH (fillfactor = 70);
-- A player with a thousand old lots is as fast as one with none.
CREATE INDEX lots_open ON accounts (owner) WHERE kind = 'wallet' AND open;

-- The currencies that a player ever held.
CREATE TABLE wallets (
    account TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, currency)
);

-- Every account has at least one device, so whoever locks an account's devices has locked the account.
CREATE TABLE devices (
    id TEXT COLLATE "C" PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL,
    public_key BYTEA NOT NULL CHECK (length(public_key) = 32),
    created_at BIGINT NOT NULL,
    sequence BIGINT NOT NULL DEFAULT 0,
    chain_head BYTEA CHECK (length(chain_head) = 32)
) WITH (fillfactor = 70);
CREATE INDEX devices_by_account ON devices (account);

-- The sequence is null where the order is no part of its device's chain. The feed is the place of the receipt that
-- answered it first, in its account's feed: orders of one account were settled in its order.
CREATE TABLE orders (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    account TEXT COLLATE "C" NOT NULL,
    feed BIGINT NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    sequence BIGINT,
    product TEXT COLLATE "C" NOT NULL,
    quantity BIGINT NOT NULL,
    token TEXT NOT NULL,
    sha256 BYTEA NOT NULL CHECK (length(sha256) = 32),
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('granted', 'declined', 'pending', 'refunded', 'revoked')),
    until BIGINT,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    currency TEXT COLLATE "C" NOT NULL,
    settled_at BIGINT NOT NULL,
    refunded_quantity BIGINT NOT NULL DEFAULT 0 CHECK (refunded_quantity >= 0),
    refunded_amount BIGINT NOT NULL DEFAULT 0 CHECK (refunded_amount >= 0)
);
CREATE INDEX orders_owned ON orders (account, product) WHERE status = 'granted';

-- Transfers are written once and never changed. Those of the kind 'hold' set aside and move nothing.
CREATE TABLE transfers (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    debit_account BYTEA NOT NULL CHECK (length(debit_account) = 16),
    credit_account BYTEA NOT NULL CHECK (length(credit_account) = 16),
    amount BIGINT NOT NULL CHECK (amount > 0),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('credit', 'welcome', 'fee', 'purchase', 'refund', 'credit_refund',
        'hold', 'post', 'payout')),
    order_id BYTEA,
    hold_id BYTEA,
    created_at BIGINT NOT NULL
);
CREATE INDEX transfers_by_order ON transfers (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX transfers_by_hold ON transfers (hold_id) WHERE hold_id IS NOT NULL;

CREATE TABLE receipts (
    account TEXT COLLATE "C" NOT NULL,
    feed BIGINT NOT NULL,
    id BYTEA NOT NULL CHECK (length(id) = 16),
    order_id BYTEA NOT NULL CHECK (length(order_id) = 16),
    token TEXT NOT NULL,
    PRIMARY KEY (account, feed)
);

CREATE TABLE holds (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    account TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    expires_at BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'posted', 'voided', 'expired')),
    posted BIGINT NOT NULL DEFAULT 0 CHECK (posted BETWEEN 0 AND amount),
    resolved_at BIGINT
);
CREATE INDEX holds_pending ON holds (account) WHERE status = 'pending';
CREATE INDEX holds_due ON holds (expires_at) WHERE status = 'pending';

-- What was done, or refused, under an id: never anything else.
CREATE TABLE operations (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    action TEXT NOT NULL,
    sha256 BYTEA NOT NULL CHECK (length(sha256) = 32),
    done BOOLEAN NOT NULL,
    answer TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
"#;

/// What every purchase writes has only the indexes that the next purchase needs.
const VERSION_2: &str = r#"
-- Those that paid for an order have ids that are made from the order's.
DROP INDEX transfers_by_order;
CREATE INDEX transfers_refunding ON transfers (order_id) WHERE kind = 'refund';

-- What is consumed is not owned. Of what was bought before, nobody has written down which it was.
ALTER TABLE orders ADD COLUMN owned BOOLEAN NOT NULL DEFAULT TRUE;
DROP INDEX orders_owned;
CREATE INDEX orders_owned ON orders (account, product) WHERE owned AND status = 'granted';

-- How long the account's feed was when this device last bought, or something of the account was refunded: the feed is as
-- long as the most that any device of the account says. It is read under the lock with the rest of the row, so that
-- nobody looks for the end of the feed itself.
ALTER TABLE devices ADD COLUMN feed BIGINT NOT NULL DEFAULT 0;
UPDATE devices SET feed = ends.feed
FROM (SELECT account, MAX(feed) AS feed FROM receipts GROUP BY account) AS ends WHERE devices.account = ends.account;
"#;

/// What devices may spend while they are offline.
const VERSION_3: &str = r#"
-- Whose an allowance is, how much it is, what was taken of it and what has become of it, the hold of the same id says.
CREATE TABLE allowances (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    device TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL CHECK (number > 0),
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    per_order BIGINT NOT NULL CHECK (per_order > 0),
    most_orders BIGINT NOT NULL CHECK (most_orders > 0),
    catalog BYTEA NOT NULL CHECK (length(catalog) = 32),
    token TEXT NOT NULL,
    spent BIGINT NOT NULL DEFAULT 0 CHECK (spent >= 0),
    orders BIGINT NOT NULL DEFAULT 0 CHECK (orders BETWEEN 0 AND most_orders)
);

-- Two orders that a device has signed in one place of its chain, the second within an allowance.
CREATE TABLE forks (
    second BYTEA PRIMARY KEY CHECK (length(second) = 16),
    first BYTEA NOT NULL CHECK (length(first) = 16),
    device TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Since when nothing is sold to the device.
ALTER TABLE devices ADD COLUMN frozen_at BIGINT;
"#;

/// What was used up. The receipts of consumptions are among the others, and name them where those name their orders.
const CONSUMPTIONS: &str = r#"
CREATE TABLE consumptions (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    account TEXT COLLATE "C" NOT NULL,
    feed BIGINT NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    item TEXT COLLATE "C" NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    token TEXT NOT NULL,
    sha256 BYTEA NOT NULL CHECK (length(sha256) = 32),
    consumed BOOLEAN NOT NULL,
    settled_at BIGINT NOT NULL
);

-- What is counted of an account's feed, as JSON, up to a place in it: only what follows from the receipts.
CREATE TABLE inventories (
    account TEXT COLLATE "C" PRIMARY KEY,
    feed BIGINT NOT NULL CHECK (feed > 0),
    counts TEXT NOT NULL
) WITH (fillfactor = 70);

-- The highest number of the device's consumptions, how many were not above those before, and how many were passed over.
ALTER TABLE devices ADD COLUMN consumed_sequence BIGINT NOT NULL DEFAULT 0 CHECK (consumed_sequence >= 0);
ALTER TABLE devices ADD COLUMN consumed_repeated BIGINT NOT NULL DEFAULT 0 CHECK (consumed_repeated >= 0);
ALTER TABLE devices ADD COLUMN consumed_missing BIGINT NOT NULL DEFAULT 0 CHECK (consumed_missing >= 0);
"#;

/// Which device belongs to which account, and how it came there.
const ACCOUNTS: &str = r#"
-- How many have joined the account before the device; what the player calls it; since when it buys nothing and hears
-- nothing, and which device has taken its place.
ALTER TABLE devices ADD COLUMN place BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN name TEXT;
ALTER TABLE devices ADD COLUMN revoked_at BIGINT;
ALTER TABLE devices ADD COLUMN replaced_by TEXT COLLATE "C";

-- Whose an account is: a digest of the login's issuer and of the subject there.
CREATE TABLE logins (
    sha256 BYTEA PRIMARY KEY CHECK (length(sha256) = 32),
    account TEXT COLLATE "C" NOT NULL UNIQUE,
    bound_at BIGINT NOT NULL
);

-- The last code that a device of an account has asked for, until somebody has joined by it.
CREATE TABLE link_codes (
    account TEXT COLLATE "C" PRIMARY KEY,
    sha256 BYTEA NOT NULL UNIQUE CHECK (length(sha256) = 32),
    expires_at BIGINT NOT NULL
);

-- The sequence is that of the device's last order for the account that it has left. One that is closing has taken along
-- everything that the account had.
CREATE TABLE moves (
    device TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL CHECK (number > 0),
    source TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    place BIGINT NOT NULL,
    sequence BIGINT NOT NULL CHECK (sequence >= 0),
    closing BOOLEAN NOT NULL,
    code BYTEA CHECK (length(code) = 32),
    moved_at BIGINT NOT NULL,
    PRIMARY KEY (device, number)
);
CREATE INDEX moves_by_source ON moves (source);
CREATE INDEX moves_by_target ON moves (target);
CREATE UNIQUE INDEX moves_closing ON moves (source) WHERE closing;
"#;

/// What devices have asked about their accounts.
const QUESTIONS: &str = r#"
-- The digests of all questions that may have changed something: sent again, they change nothing.
CREATE TABLE questions (
    sha256 BYTEA PRIMARY KEY CHECK (length(sha256) = 32)
);
"#;

/// What the tables say about themselves.
struct Meta {
    version: i64,
    game: Option<String>,
}

/// Brings the tables up to this version, in one transaction: makes them in an empty database, for `game`. Checks that
/// they are that game's, and not of a newer version. Returns the game.
///
/// Two servers may do so at once: the one that comes second waits for the row that holds the version, and finds
/// everything done. An error that only says that another was faster is for the caller to try again.
pub(super) fn prepare(client: &mut Link, game: Option<&GameId>) -> Result<GameId, LedgerError> {
    let mut found = meta(client, "SELECT name, value FROM meta")?;
    if found.as_ref().is_none_or(|found| found.version == 0) {
        if game.is_none() {
            return Err(LedgerError::NoBooks);
        }
        batch(client, META)?;
        found = None;
    }
    if found.as_ref().is_none_or(|found| (0..STEPS.len() as i64).contains(&found.version)) {
        // Whole tables are changed, however long that takes; others wait until it is done.
        client.wait_for_ever();
        batch(client, "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")?;
        found = meta(client, "SELECT name, value FROM meta WHERE name = 'version' FOR UPDATE")?;
        take_steps(client, found.map_or(0, |found| found.version), game)?;
        batch(client, "COMMIT")?;
        found = meta(client, "SELECT name, value FROM meta")?;
    }
    let found = found.ok_or(LedgerError::NoBooks)?;
    let known = STEPS.len() as i64;
    if found.version != known {
        return Err(LedgerError::NewerVersion { found: found.version, known });
    }
    let stored = found.game.ok_or_else(|| LedgerError::damaged("the game's name is missing"))?;
    if let Some(game) = game.filter(|game| **game != *stored.as_str()) {
        return Err(LedgerError::OtherGame { expected: game.to_string(), found: stored });
    }
    stored.parse().map_err(LedgerError::damaged)
}

fn take_steps(client: &Link, version: i64, game: Option<&GameId>) -> Result<(), LedgerError> {
    let done = usize::try_from(version).unwrap_or(usize::MAX).min(STEPS.len());
    if done == STEPS.len() {
        return Ok(());
    }
    for step in &STEPS[done..] {
        batch(client, step)?;
    }
    if let (0, Some(game)) = (done, game) {
        set(client, "game", game.as_str())?;
    }
    set(client, "version", &STEPS.len().to_string())
}

/// What the tables say about themselves; nothing if they are not there.
fn meta(client: &Link, statement: &str) -> Result<Option<Meta>, LedgerError> {
    let rows = match client.wait(async { Ok(client.query(statement, &[]).await) })? {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(None),
        rows => rows?,
    };
    let mut meta = Meta { version: 0, game: None };
    for row in rows {
        let (name, value): (&str, String) = (row.try_get(0)?, row.try_get(1)?);
        match name {
            "version" => meta.version = value.parse().map_err(LedgerError::damaged)?,
            "game" => meta.game = Some(value),
            _ => {}
        }
    }
    Ok(Some(meta))
}

/// The key that signs these books' receipts: the first one that a server brought.
pub(super) fn signing_key(client: &Link, key: Option<PublicKey>) -> Result<Option<String>, LedgerError> {
    if let Some(key) = key {
        let statement = "INSERT INTO meta (name, value) VALUES ('signing_key', $1) ON CONFLICT DO NOTHING";
        client.wait(async { Ok(client.execute(statement, &[&key.to_string()]).await?) })?;
    }
    let statement = "SELECT value FROM meta WHERE name = 'signing_key'";
    let row = client.wait(async { Ok(client.query_opt(statement, &[]).await?) })?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

fn set(client: &Link, name: &str, value: &str) -> Result<(), LedgerError> {
    let statement = "INSERT INTO meta (name, value) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value";
    client.wait(async { Ok(client.execute(statement, &[&name, &value]).await?) })?;
    Ok(())
}

fn batch(client: &Link, statements: &str) -> Result<(), LedgerError> {
    client.wait(async { Ok(client.batch_execute(statements).await?) })
}

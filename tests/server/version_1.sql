CREATE TABLE meta (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;

-- The accounts of the ledger. Available is credits_posted - debits_posted - debits_pending.
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

//! What is found out before anything is locked: which accounts are to be.

use std::collections::BTreeSet;

use super::super::super::LedgerError;
use super::super::parsing::text;
use super::super::session::Session;
use crate::protocol::{AccountId, KeyId, UnixSeconds};

/// Accounts with holds that are due: the first ones after a name, and the name after which the next ones are, if there
/// may be any.
pub(in super::super) fn due_accounts(
    session: &Session,
    now: UnixSeconds,
    after: &str,
) -> Result<(BTreeSet<AccountId>, Option<String>), LedgerError> {
    let (client, statement) = (&session.client, &session.facts.due_accounts);
    let rows = client.wait(async { Ok(client.query(statement, &[&now, &after]).await?) })?;
    let mut accounts = BTreeSet::new();
    for row in &rows {
        match text(row, 0) {
            Err(LedgerError::Damaged(what)) => tracing::error!("a hold that is due stays: `{what}`"),
            account => drop(accounts.insert(account?)),
        }
    }
    Ok((accounts, rows.last().map(|row| row.try_get(0)).transpose()?))
}

/// The account that a device belongs to, if it is enrolled. It may be another by the time that it is locked.
pub(in super::super) fn device_account(session: &Session, device: KeyId) -> Result<Option<AccountId>, LedgerError> {
    let (client, statement, device) = (&session.client, &session.facts.device_account, device.to_string());
    let row = client.wait(async { Ok(client.query_opt(statement, &[&device]).await?) })?;
    row.map(|row| text(&row, 0)).transpose()
}

/// The account that something belongs to. It may be another by the time that it is locked.
pub(in super::super) fn account_of(
    session: &Session,
    statement: &tokio_postgres::Statement,
    id: &[u8; 16],
) -> Result<Option<AccountId>, LedgerError> {
    let id = &id[..];
    let client = &session.client;
    let row = client.wait(async { Ok(client.query_opt(statement, &[&id]).await?) })?;
    row.map(|row| text(&row, 0)).transpose()
}

//! The commands that work on a data folder, beside a server or without one, and on a catalogue.

use std::io::Write;
use std::path::Path;

use super::serve::read_catalog;
use super::{Data, FAILURE, Outcome, SUCCESS};
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, Catalog, Micros, Money, Product};
use crate::server::audit;
use crate::server::ledger::{AccountSummary, AllowanceSummary, books};
use crate::server::{OperationError, SigningKeys};

pub(super) fn show(account: &AccountId, data: &Data, out: &mut dyn Write) -> Outcome {
    let mut ledger = data.folder()?.books()?;
    let summary = ledger.show(account)?.ok_or_else(|| OperationError::UnknownAccount(account.clone()))?;
    let AccountSummary { account, wallet, orders, receipts, latest, .. } = &summary;
    writeln!(out, "account   {account}")?;
    if summary.signed_in {
        writeln!(out, "login     yes: the game's login knows whose it is")?;
    }
    if let Some(to) = &summary.moved_to {
        writeln!(out, "closed    everything that it had is in {to}")?;
    }
    for balance in wallet {
        writeln!(out, "wallet    {}", shown(balance))?;
    }
    show_devices(&summary, out)?;
    for (status, count) in orders {
        writeln!(out, "orders    {count} {status}")?;
    }
    writeln!(out, "receipts  {receipts}")?;
    if !latest.is_empty() {
        writeln!(out, "\nlatest orders, latest first:")?;
    }
    for order in latest {
        let status = books::status_text(order.status);
        write!(out, "{}  {status}  {} × {}  {}", order.id, order.quantity, order.product, order.amount)?;
        match order.refunded {
            0 => writeln!(out)?,
            refunded => writeln!(out, "  {refunded} of them refunded")?,
        }
    }
    Ok(SUCCESS)
}

/// A line for each device of an account, and for each of its allowances.
pub(super) fn show_devices(summary: &AccountSummary, out: &mut dyn Write) -> std::io::Result<()> {
    for (device, chain) in &summary.devices {
        let orders = chain.map_or(0, |chain| chain.sequence);
        write!(out, "device    {device}, {orders} orders in its chain")?;
        if let Some(name) = summary.names.get(device) {
            write!(out, ", called {:?}", name.as_str())?;
        }
        let states = [(&summary.frozen, ", frozen"), (&summary.revoked, ", revoked")];
        for (_, state) in states.iter().filter(|(devices, _)| devices.contains(device)) {
            write!(out, "{state}")?;
        }
        writeln!(out)?;
        for allowance in summary.allowances.iter().filter(|allowance| allowance.device == *device) {
            let AllowanceSummary { total, left, orders_left, expires_at, .. } = allowance;
            writeln!(
                out,
                "          may spend {left} of {total} offline, in {orders_left} orders, before {expires_at} (Unix time)"
            )?;
        }
    }
    Ok(())
}

pub(super) fn audit(data: &Data, out: &mut dyn Write) -> Outcome {
    let folder = data.folder()?;
    let mut ledger = folder.books()?;
    let game = ledger.game().clone();
    let keys = SigningKeys::read(&folder, &game)?;
    let report = audit::audit(&mut *ledger, &keys.trusted().vouched(), &game)?;
    writeln!(out, "{report}")?;
    Ok(if report.is_clean() { SUCCESS } else { FAILURE })
}

pub(super) fn check(file: &Path, out: &mut dyn Write) -> Outcome {
    let catalog: Catalog = read_catalog(file)?;
    let prices = catalog.products().map(|(_, product): (_, &Product)| product.prices.len()).sum::<usize>();
    let (game, products) = (&catalog.game, catalog.products().count());
    writeln!(out, "{}: {game}, {products} products, {prices} prices, digest {}", file.display(), catalog.digest())?;
    Ok(SUCCESS)
}

/// What a wallet holds, or owes.
pub(super) fn shown(balance: &Balance) -> String {
    let Balance { currency, available, held } = *balance;
    let magnitude = |micros: Micros| Money::new(Micros::new(micros.value().abs()).unwrap_or(micros), currency);
    let verb = if available.is_negative() { "owes" } else { "holds" };
    match held > Micros::ZERO {
        true => format!("{verb} {}, and {} is set aside", magnitude(available), magnitude(held)),
        false => format!("{verb} {}", magnitude(available)),
    }
}

//! The commands that work on a data folder, beside a server or without one, and on a catalogue.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::serve::read_catalog;
use super::{CreditArguments, FAILURE, Outcome, SUCCESS};
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, Catalog, Jwk, JwkSet, Money, OrderId, Product};
use crate::server::audit;
use crate::server::clock::{Clock as _, SystemClock};
use crate::server::ledger::{AccountSummary, Credit, Ledger as _, books};
use crate::server::operator::random_transfer_id;
use crate::server::signing::Signer;
use crate::server::{DataFolder, OperationError};

pub(super) fn credit(arguments: CreditArguments, out: &mut dyn Write) -> Outcome {
    let CreditArguments { account, amount, currency, data, .. } = arguments;
    let mut ledger = DataFolder::open(&data.data)?.books()?;
    let money = Money::new(amount, currency);
    let credit = Credit { id: random_transfer_id()?, account, money };
    let balance = ledger.credit(&credit, SystemClock.now())?;
    writeln!(out, "credited {money}; {} now holds {}", credit.account, shown(&balance))?;
    Ok(SUCCESS)
}

pub(super) fn refund(order: OrderId, data: &Path, out: &mut dyn Write) -> Outcome {
    let folder = DataFolder::open(data)?;
    let mut ledger = folder.books()?;
    let mut signer = Signer::new(Arc::new(folder.key()?), ledger.game().clone());
    let receipt = ledger.refund(order, &mut signer, SystemClock.now())?;
    writeln!(out, "refunded {} for {} × {} to {}", receipt.amount, receipt.quantity, receipt.product, receipt.account)?;
    Ok(SUCCESS)
}

pub(super) fn show(account: &AccountId, data: &Path, out: &mut dyn Write) -> Outcome {
    let mut ledger = DataFolder::open(data)?.books()?;
    let summary = ledger.show(account)?.ok_or_else(|| OperationError::UnknownAccount(account.clone()))?;
    let AccountSummary { account, wallet, devices, orders, receipts, latest } = summary;
    writeln!(out, "account   {account}")?;
    for balance in &wallet {
        writeln!(out, "wallet    {}", shown(balance))?;
    }
    for (device, chain) in devices {
        let orders = chain.map_or(0, |chain| chain.sequence);
        writeln!(out, "device    {device}, {orders} orders in its chain")?;
    }
    for (status, count) in orders {
        writeln!(out, "orders    {count} {status}")?;
    }
    writeln!(out, "receipts  {receipts}")?;
    if !latest.is_empty() {
        writeln!(out, "\nlatest orders, latest first:")?;
    }
    for order in latest {
        let status = books::status_text(order.status);
        writeln!(out, "{}  {status}  {} × {}  {}", order.id, order.quantity, order.product, order.amount)?;
    }
    Ok(SUCCESS)
}

pub(super) fn keys(data: &Path, out: &mut dyn Write) -> Outcome {
    let key = DataFolder::open(data)?.key()?.public();
    let set = JwkSet { keys: vec![Jwk::from(key)] };
    writeln!(out, "public key  {key}\nkey id      {}\nkey set     {}", key.id(), serde_json::to_string(&set)?)?;
    Ok(SUCCESS)
}

pub(super) fn audit(data: &Path, out: &mut dyn Write) -> Outcome {
    let folder = DataFolder::open(data)?;
    let mut ledger = folder.books()?;
    let (key, game) = (folder.key()?.public(), ledger.game().clone());
    let report = audit::audit(&mut ledger, &[key], &game)?;
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

fn shown(balance: &Balance) -> Money {
    Money::new(balance.available, balance.currency)
}

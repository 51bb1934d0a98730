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
use crate::server::ledger::operation::RefundOrder;
use crate::server::ledger::{
    AccountSummary, Action, Answer, Credit, Ledger as _, Operation, OperationId, SqliteLedger, books,
};
use crate::server::operator::random_operation_id;
use crate::server::signing::Signer;
use crate::server::{DataFolder, OperationError};

pub(super) fn credit(arguments: CreditArguments, out: &mut dyn Write) -> Outcome {
    let CreditArguments { account, amount, currency, data, .. } = arguments;
    let mut books = OpenBooks::open(&data.data)?;
    let money = Money::new(amount, currency);
    let credit = Credit::paid(account, money)?;
    let Answer::Wallet { account, balance, .. } = books.operate(None, credit)? else { return Ok(FAILURE) };
    writeln!(out, "credited {money}; {account} now holds {}", shown(&balance))?;
    Ok(SUCCESS)
}

pub(super) fn refund(order: OrderId, data: &Path, out: &mut dyn Write) -> Outcome {
    let mut books = OpenBooks::open(data)?;
    let answer = books.operate(None, RefundOrder { order, quantity: None })?;
    let Answer::Order { receipt, money, quantity } = answer else { return Ok(FAILURE) };
    writeln!(out, "refunded {money} for {quantity} × {} to {}", receipt.product, receipt.account)?;
    Ok(SUCCESS)
}

/// The books of a data folder, and what it takes to operate on them.
struct OpenBooks {
    ledger: SqliteLedger,
    signer: Signer,
}

impl OpenBooks {
    fn open(data: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = DataFolder::open(data)?;
        let ledger = folder.books()?;
        let signer = Signer::new(Arc::new(folder.key()?), ledger.game().clone());
        Ok(Self { ledger, signer })
    }

    fn operate(
        &mut self,
        id: Option<OperationId>,
        action: impl Into<Action>,
    ) -> Result<Answer, Box<dyn std::error::Error>> {
        let id = id.map_or_else(random_operation_id, Ok)?;
        Ok(self.ledger.operate(&Operation::new(id, action), &mut self.signer, SystemClock.now())?)
    }
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

//! The audit: reads every row of the books and checks it against all the others, and every signature once more.
//!
//! It trusts nothing that is stored: sums are added again from the transfers, what a row says about an order or a receipt
//! is compared with what was signed, and what an operation says with what it has moved. Operations are signed by nobody:
//! an operation with all that belongs to it can be made up by whoever can write the books, and is not told from one that
//! the operator wanted.

mod accounts;
mod allowances;
mod consumptions;
mod holds;
mod money;
mod operations;
mod signatures;

use std::collections::BTreeMap;
use std::fmt;

use self::accounts::AccountAudit;
use self::allowances::AllowanceAudit;
use self::consumptions::ConsumptionAudit;
use self::money::MoneyAudit;
use self::signatures::SignatureAudit;
use super::ledger::{
    AccountRow, AllowanceRow, BookReader, ConsumptionRow, DeviceRow, ForkRow, HoldRow, InventoryRow, Ledger,
    LedgerError, LoginRow, MoveRow, OperationRow, OrderRow, ReceiptRow, TransferRow, WalletRow,
};
use crate::protocol::{GameId, OrderId, TrustedKeys};

/// Audits the books of `game`, whose receipts are signed by one of `keys`.
///
/// # Errors
/// The books cannot be read at all. What is wrong in them is in the report.
pub fn audit(ledger: &mut dyn Ledger, keys: &dyn TrustedKeys, game: &GameId) -> Result<AuditReport, LedgerError> {
    let mut auditor = Auditor {
        report: AuditReport::default(),
        accounts: AccountAudit::default(),
        money: MoneyAudit::new(game),
        signatures: SignatureAudit::new(keys, game),
        allowances: AllowanceAudit::new(keys, game),
        consumptions: ConsumptionAudit::new(keys, game),
        paid: BTreeMap::new(),
    };
    ledger.read(&mut auditor)?;
    Ok(auditor.finish())
}

/// What an audit has read, and everything that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// How many accounts of the ledger were added up.
    pub accounts: u64,
    /// How many transfers were read.
    pub transfers: u64,
    /// How many devices were read.
    pub devices: u64,
    /// How many orders were verified.
    pub orders: u64,
    /// How many consumptions were verified.
    pub consumptions: u64,
    /// How many receipts were verified.
    pub receipts: u64,
    /// How many holds were checked.
    pub holds: u64,
    /// How many operations were read.
    pub operations: u64,
    /// Everything that is wrong, one sentence each; empty if the books are right.
    pub differences: Vec<String>,
}

impl AuditReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }

    fn differs(&mut self, difference: impl fmt::Display) {
        self.differences.push(difference.to_string());
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accounts, transfers, devices, orders, consumptions, receipts, holds, operations, differences } =
            self;
        write!(
            f,
            "{accounts} accounts, {transfers} transfers, {devices} devices, {orders} orders, \
             {consumptions} consumptions, {receipts} receipts, {holds} holds, {operations} operations: "
        )?;
        match differences.len() {
            0 => f.write_str("no differences"),
            1 => f.write_str("1 difference"),
            count => write!(f, "{count} differences"),
        }?;
        differences.iter().try_for_each(|difference| write!(f, "\n{difference}"))
    }
}

/// What an order should have moved.
#[derive(Clone, Debug)]
struct Paid {
    account: String,
    currency: String,
    amount: i64,
    refunded: i64,
    settled_at: i64,
}

struct Auditor<'a> {
    report: AuditReport,
    accounts: AccountAudit,
    money: MoneyAudit,
    signatures: SignatureAudit<'a>,
    allowances: AllowanceAudit<'a>,
    consumptions: ConsumptionAudit<'a>,
    paid: BTreeMap<OrderId, Paid>,
}

impl BookReader for Auditor<'_> {
    fn moved(&mut self, row: MoveRow) {
        self.money.moved(&row);
        self.consumptions.moved(&row);
        self.accounts.moved(row, &mut self.report);
    }

    fn login(&mut self, row: LoginRow) {
        self.accounts.login(row, &mut self.report);
    }

    fn account(&mut self, row: AccountRow) {
        self.report.accounts += 1;
        self.accounts.account(&row, &mut self.report);
        self.money.account(row, &mut self.report);
    }

    fn wallet(&mut self, row: WalletRow) {
        self.money.wallet(row);
    }

    fn transfer(&mut self, row: TransferRow) {
        self.report.transfers += 1;
        self.allowances.transfer(&row);
        self.money.transfer(row, &self.accounts, &mut self.report);
    }

    fn device(&mut self, row: DeviceRow) {
        self.report.devices += 1;
        self.accounts.device(&row, &mut self.report);
        self.money.device(&row);
        self.allowances.device(&row);
        self.consumptions.device(&row);
        self.signatures.device(row, &mut self.report);
    }

    fn order(&mut self, row: OrderRow) {
        self.report.orders += 1;
        if row.status == "granted" || row.status == "refunded" {
            let (account, currency) = (row.account.clone(), row.currency.clone());
            let (amount, refunded, settled_at) = (row.amount, row.refunded_amount, row.settled_at);
            let paid = Paid { account, currency, amount, refunded, settled_at };
            self.paid.insert(OrderId(row.id), paid);
        }
        if let Some(order) = self.signatures.order(&row, &self.accounts, &mut self.report) {
            self.allowances.order(&row, &order);
        }
    }

    fn consumption(&mut self, row: ConsumptionRow) {
        self.report.consumptions += 1;
        self.consumptions.consumption(row, &self.accounts, &mut self.report);
    }

    fn inventory(&mut self, row: InventoryRow) {
        self.consumptions.inventory(row);
    }

    fn receipt(&mut self, row: ReceiptRow) {
        self.report.receipts += 1;
        self.consumptions.receipt(&row, &mut self.report);
        self.signatures.receipt(&row, &self.accounts.heirs, &mut self.report);
    }

    fn allowance(&mut self, row: AllowanceRow) {
        self.money.allowance(&row, &mut self.report);
        self.allowances.allowance(row);
    }

    fn fork(&mut self, row: ForkRow) {
        self.allowances.fork(&row, &mut self.report);
    }

    fn hold(&mut self, row: HoldRow) {
        self.report.holds += 1;
        self.allowances.hold(&row, &mut self.report);
        self.money.hold(row, &self.accounts.heirs, &mut self.report);
    }

    fn operation(&mut self, row: OperationRow) {
        self.report.operations += 1;
        self.money.operation(&row, &self.accounts.heirs, &mut self.report);
        self.signatures.operation(&row, &mut self.report);
        self.allowances.operation(&row);
    }
}

impl Auditor<'_> {
    fn finish(mut self) -> AuditReport {
        let report = &mut self.report;
        for (order, paid) in &self.paid {
            self.money.expect(*order, paid, &self.accounts.heirs, report);
        }
        self.money.finish(&self.accounts.heirs, report);
        self.signatures.finish(report);
        self.accounts.finish(report);
        self.allowances.finish(report);
        self.consumptions.finish(report);
        self.report
    }
}

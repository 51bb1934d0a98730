//! Every row of the books, sorted, so that two engines can be compared.

use bevy_iap::server::ledger::{
    AccountRow, AllowanceRow, BookReader, ConsumptionRow, DeviceRow, ForkRow, HoldRow, Ledger, LoginRow, MoveRow,
    OperationRow, OrderRow, ReceiptRow, Total, TransferRow, WalletRow,
};

use super::{Desk, suite};
use crate::support::Device;

suite!(reader_that_ends_after_the_transfers_is_shown_nothing_else,);

#[derive(Debug, Default, PartialEq)]
pub struct Rows {
    ends_after_transfers: bool,
    pub moves: Vec<MoveRow>,
    pub logins: Vec<LoginRow>,
    pub accounts: Vec<AccountRow>,
    pub wallets: Vec<WalletRow>,
    pub transfers: Vec<TransferRow>,
    pub devices: Vec<DeviceRow>,
    pub orders: Vec<OrderRow>,
    pub consumptions: Vec<ConsumptionRow>,
    pub receipts: Vec<ReceiptRow>,
    pub allowances: Vec<AllowanceRow>,
    pub forks: Vec<ForkRow>,
    pub holds: Vec<HoldRow>,
    pub operations: Vec<OperationRow>,
    pub totals: Vec<Total>,
}

impl Rows {
    pub fn of(ledger: &mut dyn Ledger) -> Self {
        let mut rows = Self::default();
        ledger.read(&mut rows).expect("reads");
        rows.totals = ledger.totals().expect("adds up");
        rows.accounts.sort_by_key(|row| row.id);
        rows.wallets.sort_by_key(|row| (row.account.clone(), row.currency.clone()));
        rows.transfers.sort_by_key(|row| row.id);
        rows.devices.sort_by_key(|row| row.id.clone());
        // Not every engine keeps it; those that do are audited for it.
        rows.devices.iter_mut().for_each(|row| row.feed = None);
        rows.orders.sort_by_key(|row| (row.device.clone(), row.sequence.is_none(), row.sequence, row.id));
        rows.moves.sort_by_key(|row| (row.device.clone(), row.number));
        rows.logins.sort_by_key(|row| row.sha256.clone());
        rows.consumptions.sort_by_key(|row| row.id);
        rows.allowances.sort_by_key(|row| row.id);
        rows.forks.sort_by_key(|row| row.second);
        rows.holds.sort_by_key(|row| row.id);
        rows.operations.sort_by_key(|row| row.id);
        rows
    }

    /// The sums of the accounts of a kind and owner: debits and credits.
    pub fn sums(&self, kind: &str, owner: &str) -> (i64, i64) {
        let own = self.accounts.iter().filter(|row| row.kind == kind && row.owner == owner);
        own.fold((0, 0), |(debits, credits), row| (debits + row.debits_posted, credits + row.credits_posted))
    }
}

macro_rules! collects {
    ($($row:ident: $type:ident in $rows:ident,)*) => {
        impl BookReader for Rows {
            fn ends_after_transfers(&self) -> bool {
                self.ends_after_transfers
            }

            $(fn $row(&mut self, row: $type) {
                self.$rows.push(row);
            })*
        }
    };
}

collects! {
    moved: MoveRow in moves,
    login: LoginRow in logins,
    account: AccountRow in accounts,
    wallet: WalletRow in wallets,
    transfer: TransferRow in transfers,
    device: DeviceRow in devices,
    order: OrderRow in orders,
    consumption: ConsumptionRow in consumptions,
    receipt: ReceiptRow in receipts,
    allowance: AllowanceRow in allowances,
    fork: ForkRow in forks,
    hold: HoldRow in holds,
    operation: OperationRow in operations,
}

fn reader_that_ends_after_the_transfers_is_shown_nothing_else(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "shield", 1);
    let mut rows = Rows { ends_after_transfers: true, ..Rows::default() };
    desk.ledger.read(&mut rows).expect("reads");
    assert_eq!((rows.accounts.len(), rows.transfers.len()), (3, 2));
    assert_eq!((rows.devices.len(), rows.orders.len(), rows.receipts.len()), (0, 0, 0));
    assert_eq!(Rows::of(&mut *desk.ledger).orders.len(), 1);
}

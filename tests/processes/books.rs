//! What the server's books say about every order, read row by row from its database.

use std::collections::BTreeMap;
use std::path::Path;

use bevy_iap::protocol::OrderId;
use bevy_iap::server::ledger::{
    AccountRow, BookReader, DeviceRow, HoldRow, Ledger, OperationRow, OrderRow, ReceiptRow, SqliteLedger, TransferRow,
};

/// The orders of each account.
#[derive(Debug, Default)]
pub struct Books {
    pub accounts: BTreeMap<String, BTreeMap<OrderId, Booked>>,
    charges: BTreeMap<OrderId, usize>,
    receipts: BTreeMap<OrderId, usize>,
}

/// One order in the books.
#[derive(Clone, Debug)]
pub struct Booked {
    pub granted: bool,
    pub quantity: i64,
    /// What was charged for it, in micros.
    pub amount: i64,
    /// How many transfers took money for it: one, since everybody here has one lot and nobody else a share.
    pub charges: usize,
    /// How many receipts answer it.
    pub receipts: usize,
}

impl Books {
    /// Reads the books in a server's data folder.
    pub fn read(data: &Path) -> Self {
        let mut books = Self::default();
        let mut ledger = SqliteLedger::open_existing(&data.join("store.sqlite")).expect("the books open");
        ledger.read(&mut books).expect("the books are read");
        for (id, booked) in books.accounts.values_mut().flatten() {
            booked.charges = books.charges.get(id).copied().unwrap_or_default();
            booked.receipts = books.receipts.get(id).copied().unwrap_or_default();
        }
        books
    }
}

impl BookReader for Books {
    fn account(&mut self, _: AccountRow) {}

    fn transfer(&mut self, row: TransferRow) {
        if let Some(order) = row.order {
            *self.charges.entry(OrderId(order)).or_default() += 1;
        }
    }

    fn device(&mut self, _: DeviceRow) {}

    fn order(&mut self, row: OrderRow) {
        let granted = row.status == "granted";
        let booked = Booked { granted, quantity: row.quantity, amount: row.amount, charges: 0, receipts: 0 };
        self.accounts.entry(row.account).or_default().insert(OrderId(row.id), booked);
    }

    fn receipt(&mut self, row: ReceiptRow) {
        *self.receipts.entry(OrderId(row.answers)).or_default() += 1;
    }

    fn hold(&mut self, _: HoldRow) {}

    fn operation(&mut self, _: OperationRow) {}
}

//! A database that a server keeps its books in, and how its books are read without the server.

use std::collections::BTreeMap;
use std::path::Path;

use bevy_iap::protocol::OrderId;
use bevy_iap::server::DataFolder;
use bevy_iap::server::audit::audit;
use bevy_iap::server::ledger::{
    AccountRow, BookReader, DeviceRow, HoldRow, OperationRow, OrderRow, ReceiptRow, TransferRow,
};

/// What differs from one database to another.
pub struct Database {
    pub name: &'static str,
    /// What makes the server use it.
    pub arguments: &'static [&'static str],
    /// The orders in its books.
    pub read: fn(&Path) -> BTreeMap<OrderId, Booked>,
    /// Whatever an audit finds.
    pub audit: fn(&Path) -> Vec<String>,
}

pub const SQLITE: Database = Database {
    name: "sqlite",
    arguments: &[],
    read: |data| {
        let mut books = Books::default();
        let folder = DataFolder::open(data).expect("a store");
        folder.books().expect("the books open").read(&mut books).expect("the books are read");
        books.0
    },
    audit: |data| {
        let folder = DataFolder::open(data).expect("a store");
        let (mut books, key) = (folder.books().expect("the books open"), folder.key().expect("a key").public());
        let game = books.game().clone();
        audit(&mut *books, &[key], &game).expect("the audit runs").differences
    },
};

/// An order in the books.
#[derive(Clone, Debug, Default)]
pub struct Booked {
    pub account: String,
    /// The signed order.
    pub order: String,
    /// The signed receipts that answer it.
    pub receipts: Vec<String>,
    /// How many transfers took money for it.
    pub charges: usize,
}

#[derive(Default)]
struct Books(BTreeMap<OrderId, Booked>);

impl BookReader for Books {
    fn account(&mut self, _: AccountRow) {}

    fn device(&mut self, _: DeviceRow) {}

    fn transfer(&mut self, row: TransferRow) {
        if let Some(order) = row.order {
            self.0.entry(OrderId(order)).or_default().charges += 1;
        }
    }

    fn order(&mut self, row: OrderRow) {
        let booked = self.0.entry(OrderId(row.id)).or_default();
        (booked.account, booked.order) = (row.account, row.token);
    }

    fn receipt(&mut self, row: ReceiptRow) {
        self.0.entry(OrderId(row.order)).or_default().receipts.push(row.token);
    }

    fn hold(&mut self, _: HoldRow) {}

    fn operation(&mut self, _: OperationRow) {}
}

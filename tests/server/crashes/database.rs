//! Where a server keeps its books, and how they are read without the server.

use std::collections::BTreeMap;
use std::path::Path;

use bevy_iap::protocol::OrderId;
use bevy_iap::server::audit::audit;
use bevy_iap::server::ledger::{
    AccountRow, BookReader, DeviceRow, HoldRow, OperationRow, OrderRow, ReceiptRow, TransferRow,
};
use bevy_iap::server::{DataFolder, Database};

/// A database, of whichever kind.
pub struct Place {
    pub name: &'static str,
    /// Where it is; the data folder if it is nowhere else.
    pub database: Database,
    /// What makes the server use it.
    pub arguments: Vec<String>,
}

impl Place {
    pub fn sqlite() -> Self {
        Self { name: "sqlite", database: Database::Folder, arguments: Vec::new() }
    }

    /// Books in PostgreSQL that nobody else uses; none if there is no PostgreSQL here.
    #[cfg(all(unix, feature = "postgres"))]
    pub fn postgres() -> Option<Self> {
        let cluster = crate::cluster::shared()?;
        let (url, schema) = cluster.fresh_books();
        let arguments = vec!["--database".to_owned(), cluster.text_url(&schema)];
        Some(Self { name: "postgres", database: Database::Postgres(url), arguments })
    }

    fn folder(&self, data: &Path) -> DataFolder {
        DataFolder::open(data).expect("a store").with_database(self.database.clone())
    }

    /// The orders in its books.
    pub fn read(&self, data: &Path) -> BTreeMap<OrderId, Booked> {
        let mut books = Books::default();
        self.folder(data).books().expect("the books open").read(&mut books).expect("the books are read");
        books.0
    }

    /// Whatever an audit finds.
    pub fn audit(&self, data: &Path) -> Vec<String> {
        let folder = self.folder(data);
        let (mut books, key) = (folder.books().expect("the books open"), folder.key().expect("a key").public());
        let game = books.game().clone();
        audit(&mut *books, &[key], &game).expect("the audit runs").differences
    }
}

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
        self.0.entry(OrderId(row.answers)).or_default().receipts.push(row.token);
    }

    fn hold(&mut self, _: HoldRow) {}

    fn operation(&mut self, _: OperationRow) {}
}

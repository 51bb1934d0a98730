//! What every engine of the books promises: all of them do the same, and say the same, byte for byte.
//!
//! Each promise is a function of a desk; `suite!` runs it on every engine. An engine is one line there, and one in
//! [`Engine::open`].

mod accounts;
mod allowances;
mod consuming;
mod credits;
mod damage;
mod forks;
mod holds;
mod orders;
mod rows;
mod rules;
mod same;

use std::path::Path;
use std::sync::Arc;

use bevy_iap::protocol::sync::ChainHead;
use bevy_iap::protocol::{Catalog, Order, OrderId, PublicKey, Receipt, ReceiptId, SecretKey, Token, UnixSeconds};
use bevy_iap::server::audit::audit;
use bevy_iap::server::ledger::{
    Action, Answer, Context, Credit, Ledger, LedgerError, ModelLedger, OperateError, Operation, OperationId, Outcome,
    Place, Refused, SqliteLedger, Standing, VerifiedOrder,
};
use bevy_iap::server::signing::{ReceiptIds, Signer};
use tempfile::TempDir;

use crate::support::{Device, catalog, game};

/// The engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Model,
    Sqlite,
    #[cfg(all(unix, feature = "postgres"))]
    Postgres,
}

impl Engine {
    /// Whether it can be tested here; if not, that is told.
    fn is_here(self) -> bool {
        match self {
            #[cfg(all(unix, feature = "postgres"))]
            Self::Postgres => crate::cluster::shared().is_some(),
            _ => true,
        }
    }

    /// The books in a folder, which are made if there are none. Those of the model are always new.
    fn open(self, folder: &Path) -> Box<dyn Ledger> {
        match self {
            Self::Model => Box::new(ModelLedger::new(game())),
            Self::Sqlite => Box::new(SqliteLedger::open(&folder.join("store.sqlite"), &game()).expect("opens")),
            #[cfg(all(unix, feature = "postgres"))]
            Self::Postgres => {
                let url = crate::cluster::shared().expect("is here").books(&place(folder));
                Box::new(bevy_iap::server::ledger::PostgresLedger::open(&url, &game()).expect("opens"))
            }
        }
    }
}

/// Each folder has a place of its own in the database, by its name.
#[cfg(all(unix, feature = "postgres"))]
fn place(folder: &Path) -> String {
    let name = folder.file_name().expect("a name").to_string_lossy();
    let letters: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("desk_{letters}")
}

/// Runs promises on every engine.
macro_rules! suite {
    ($($promise:ident),* $(,)?) => {
        suite!(@engine model, Model, $($promise)*);
        suite!(@engine sqlite, Sqlite, $($promise)*);
        #[cfg(all(unix, feature = "postgres"))]
        suite!(@engine postgres, Postgres, $($promise)*);
    };
    (@engine $module:ident, $engine:ident, $($promise:ident)*) => {
        mod $module {
            $(#[test]
            fn $promise() {
                $crate::ledger::keeps($crate::ledger::Engine::$engine, super::$promise);
            })*
        }
    };
}

use suite;

/// Checks a promise on one engine, with a device that has one euro of welcome credit.
fn keeps(engine: Engine, promise: fn(&mut Desk, &mut Device)) {
    if !engine.is_here() {
        return;
    }
    let mut desk = Desk::of(engine);
    let mut device = Device::new();
    desk.enrol(&device);
    promise(&mut desk, &mut device);
    desk.assert_right();
}

/// Receipt ids that are the same on every run.
struct Counting(u128);

impl ReceiptIds for Counting {
    fn next_id(&mut self) -> Result<ReceiptId, LedgerError> {
        self.0 += 1;
        Ok(ReceiptId(self.0.to_be_bytes()))
    }
}

/// Books, and what it takes to use them.
struct Desk {
    engine: Engine,
    ledger: Box<dyn Ledger>,
    signer: Signer,
    catalog: Catalog,
    now: UnixSeconds,
    folder: TempDir,
}

impl Desk {
    /// An engine with empty books; in memory where that is possible, since nothing here is about the disk.
    fn of(engine: Engine) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder");
        let ledger = engine.open(folder.path());
        let key = Arc::new(SecretKey::from_seed(&[42; 32]));
        let signer = Signer::with_ids(key, game(), Box::new(Counting(0)));
        Self { engine, ledger, signer, catalog: catalog(), now: 1_000_000, folder }
    }

    /// Closes the books and opens them again.
    fn reopen(&mut self) {
        if self.engine != Engine::Model {
            self.ledger = Box::new(ModelLedger::new(game()));
            self.ledger = self.engine.open(self.folder.path());
        }
    }

    fn key(&self) -> PublicKey {
        self.signer.public_key()
    }

    /// Enrols a device that gets one euro.
    fn enrol(&mut self, device: &Device) {
        let welcome = Some("1EUR".parse().expect("money"));
        self.ledger.enrol(&[device.key.public()], welcome, self.now).expect("enrols");
    }

    fn settle(&mut self, batch: &[VerifiedOrder]) -> Vec<Outcome> {
        let mut context = Context { catalog: &self.catalog, signer: &mut self.signer, now: self.now };
        self.ledger.settle(batch, &mut context).expect("settles")
    }

    /// Buys, and gives the order's id and what became of it.
    fn buy(&mut self, device: &mut Device, product: &str, quantity: u32) -> (OrderId, Receipt) {
        let claims = device.claims(product, quantity);
        let token = device.sign(&claims);
        let outcome = self.settle(&[verified(device, &token)]).remove(0);
        (claims.id, receipt(self, &outcome))
    }

    fn operate(&mut self, id: u8, action: impl Into<Action>) -> Result<Answer, OperateError> {
        let operation = Operation::new(OperationId([id; 16]), action);
        self.ledger.operate(&operation, &mut self.signer, self.now)
    }

    /// Does what must be done, and gives what is available and held after it, in micros.
    fn done(&mut self, id: u8, action: impl Into<Action>) -> (i64, i64) {
        match self.operate(id, action).expect("it is done") {
            Answer::Wallet { balance, .. } => (balance.available.value(), balance.held.value()),
            answer => panic!("{answer:?}"),
        }
    }

    /// Why something is refused.
    fn refused(&mut self, id: u8, action: impl Into<Action>) -> Refused {
        match self.operate(id, action) {
            Err(OperateError::Refused(refused)) => refused,
            other => panic!("{other:?}"),
        }
    }

    fn credit(&mut self, device: &Device, money: &str, id: u8) {
        self.done(id, paid(device, money));
    }

    fn standing(&mut self, device: &Device, cursor: u64) -> Standing {
        let place = Place { device: device.id(), account: device.account(), cursor };
        self.ledger.standings(&[place]).expect("reads").remove(0)
    }

    fn euros(&mut self, device: &Device) -> i64 {
        self.standing(device, 0).wallet.first().map_or(0, |balance| balance.available.value())
    }

    /// The receipts in a device's feed.
    fn feed(&mut self, device: &Device) -> Vec<Receipt> {
        let key = self.key();
        let page = self.standing(device, 0).page;
        page.iter().map(|entry| Receipt::verify(&entry.token, &[key], &game()).expect("verifies")).collect()
    }

    fn assert_right(&mut self) {
        let key = self.key();
        let report = audit(&mut *self.ledger, &[key], &game()).expect("audits");
        assert!(report.is_clean(), "{report}");
    }
}

/// A credit that somebody paid.
fn paid(device: &Device, money: &str) -> Credit {
    Credit::paid(device.account(), money.parse().expect("money")).expect("a good source")
}

/// The receipt in an outcome.
fn receipt(desk: &Desk, outcome: &Outcome) -> Receipt {
    let (Outcome::Settled { entry, .. } | Outcome::Replayed(entry)) = outcome else { panic!("{outcome:?}") };
    Receipt::verify(&entry.token, &[desk.key()], &game()).expect("verifies")
}

fn verified(device: &Device, token: &Token) -> VerifiedOrder {
    VerifiedOrder::verify(token.clone(), device.key.public(), &device.account(), &game()).expect("verifies")
}

/// Signs an order without moving the device's chain.
fn signed(device: &Device, order: &Order) -> VerifiedOrder {
    verified(device, &order.sign(&device.key).expect("signs"))
}

fn head(order: &VerifiedOrder) -> ChainHead {
    ChainHead { sequence: order.order().sequence, order_sha256: order.sha256() }
}

/// An order id from a small number.
fn order_id(number: u32) -> OrderId {
    OrderId(u128::from(number).to_be_bytes())
}

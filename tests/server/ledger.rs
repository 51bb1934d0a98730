//! What every engine of the books promises: the model and SQLite do the same, and say the same, byte for byte.

mod rules;
mod same;

use std::sync::Arc;

use bevy_iap::protocol::sync::ChainHead;
use bevy_iap::protocol::{Catalog, Order, OrderId, PublicKey, ReceiptId, SecretKey, Token, UnixSeconds};
use bevy_iap::server::audit::audit;
use bevy_iap::server::ledger::{
    Context, Credit, Ledger, LedgerError, ModelLedger, Outcome, Place, SqliteLedger, Standing, TransferId,
    VerifiedOrder,
};
use bevy_iap::server::signing::{ReceiptIds, Signer};
use tempfile::TempDir;

use crate::support::{Device, catalog, game};

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
    ledger: Box<dyn Ledger>,
    signer: Signer,
    catalog: Catalog,
    now: UnixSeconds,
    _folder: Option<TempDir>,
}

impl Desk {
    fn model() -> Self {
        Self::of(Box::new(ModelLedger::new(game())), None)
    }

    fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ledger = SqliteLedger::open(&folder.path().join("store.sqlite"), &game()).expect("opens");
        Self::of(Box::new(ledger), Some(folder))
    }

    fn of(ledger: Box<dyn Ledger>, folder: Option<TempDir>) -> Self {
        let key = Arc::new(SecretKey::from_seed(&[42; 32]));
        let signer = Signer::with_ids(key, game(), Box::new(Counting(0)));
        Self { ledger, signer, catalog: catalog(), now: 1_000_000, _folder: folder }
    }

    /// Both engines, each with empty books.
    fn both() -> [Self; 2] {
        [Self::model(), Self::sqlite()]
    }

    fn key(&self) -> PublicKey {
        self.signer.key.public()
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

    fn credit(&mut self, device: &Device, money: &str, id: u8) {
        let money = money.parse().expect("money");
        let credit = Credit { id: TransferId([id; 16]), account: device.account(), money };
        self.ledger.credit(&credit, self.now).expect("credits");
    }

    fn standing(&mut self, device: &Device, cursor: u64) -> Standing {
        let place = Place { device: device.id(), account: device.account(), cursor };
        self.ledger.standings(&[place]).expect("reads").remove(0)
    }

    fn euros(&mut self, device: &Device) -> i64 {
        self.standing(device, 0).wallet.first().map_or(0, |balance| balance.available.value())
    }

    fn assert_right(&mut self) {
        let key = self.key();
        let report = audit(&mut *self.ledger, &[key], &game()).expect("audits");
        assert!(report.is_clean(), "{report}");
    }
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

//! Random histories, on both engines at once.

use bevy_iap::protocol::{OrderId, Sha256};
use bevy_iap::server::ledger::{
    AccountRow, BookReader, Credit, DeviceRow, OrderRow, ReceiptRow, TransferId, TransferRow, VerifiedOrder,
};
use proptest::prelude::*;

use super::{Desk, head, order_id, signed};
use crate::support::Device;

const DEVICES: usize = 3;

/// Something that happens to the books.
#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<Ask>),
    Credit { device: usize, micros: i64, usd: bool, id: u8 },
    Refund { order: u32 },
    Wait { hours: i64 },
}

/// An order in a batch.
#[derive(Clone, Debug)]
enum Ask {
    /// An order that follows the chain; now and then under an id that was used.
    New { device: usize, product: &'static str, quantity: u32, wrong_price: bool, old_catalog: bool, id: Option<u32> },
    /// An order that was sent before.
    Again { order: usize },
    /// An order that does not follow the chain.
    Broken { device: usize, sequence: u64 },
}

fn ask() -> impl Strategy<Value = Ask> {
    let products = prop::sample::select(vec!["shield", "double_jump", "day_pass", "gift", "palace", "sword"]);
    let quantity = prop_oneof![6 => 1..3u32, 2 => 1..90u32, 1 => Just(0), 1 => 990..1_100u32];
    let id = prop::option::weighted(0.05, 0..40u32);
    prop_oneof![
        8 => (0..DEVICES, products, quantity, prop::bool::weighted(0.1), prop::bool::weighted(0.1), id).prop_map(
            |(device, product, quantity, wrong_price, old_catalog, id)| {
                Ask::New { device, product, quantity, wrong_price, old_catalog, id }
            }
        ),
        2 => (0..60usize).prop_map(|order| Ask::Again { order }),
        1 => (0..DEVICES, 1..9u64).prop_map(|(device, sequence)| Ask::Broken { device, sequence }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(ask(), 0..12).prop_map(Step::Batch),
        2 => (0..DEVICES, -1..400_000i64, any::<bool>(), 0..12u8)
            .prop_map(|(device, micros, usd, id)| Step::Credit { device, micros, usd, id }),
        2 => (0..40u32).prop_map(|order| Step::Refund { order }),
        1 => (1..40i64).prop_map(|hours| Step::Wait { hours }),
    ]
}

/// The rows of the books, with the ledger's accounts by name, so that two engines can be compared.
#[derive(Debug, Default, PartialEq)]
struct Rows {
    accounts: Vec<AccountRow>,
    transfers: Vec<(TransferRow, [String; 2])>,
    devices: Vec<DeviceRow>,
    orders: Vec<OrderRow>,
    receipts: Vec<ReceiptRow>,
}

impl Rows {
    fn name(&self, id: i64) -> String {
        let found = self.accounts.iter().find(|account| account.id == id);
        found.map_or_else(String::new, |account| format!("{} {} {}", account.kind, account.owner, account.currency))
    }

    fn sorted(mut self) -> Self {
        for account in &mut self.accounts {
            account.id = 0;
        }
        self.accounts.sort_by_key(|row| (row.kind.clone(), row.owner.clone(), row.currency.clone()));
        self.transfers.sort_by_key(|(row, _)| row.id);
        self.devices.sort_by_key(|row| row.id.clone());
        self
    }
}

impl BookReader for Rows {
    fn account(&mut self, row: AccountRow) {
        self.accounts.push(row);
    }

    fn transfer(&mut self, mut row: TransferRow) {
        let names = [self.name(row.debit_account), self.name(row.credit_account)];
        (row.debit_account, row.credit_account) = (0, 0);
        self.transfers.push((row, names));
    }

    fn device(&mut self, row: DeviceRow) {
        self.devices.push(row);
    }

    fn order(&mut self, row: OrderRow) {
        self.orders.push(row);
    }

    fn receipt(&mut self, row: ReceiptRow) {
        self.receipts.push(row);
    }
}

/// The devices, and everything that they have signed.
struct Players {
    devices: Vec<Device>,
    signed: Vec<VerifiedOrder>,
}

impl Players {
    fn order(&mut self, ask: &Ask) -> Option<VerifiedOrder> {
        let order = match *ask {
            Ask::Again { order } => return self.signed.get(order).cloned(),
            Ask::New { device, product, quantity, wrong_price, old_catalog, id } => {
                let player = &mut self.devices[device];
                let mut claims = player.claims(product, quantity);
                let used = id.filter(|id| (*id as usize) < self.signed.len());
                claims.id = order_id(used.unwrap_or(self.signed.len() as u32));
                if wrong_price {
                    claims.price = "0.004EUR".parse().expect("money");
                }
                if old_catalog {
                    claims.catalog = Sha256::of("old");
                }
                let order = signed(player, &claims);
                // An id that was used settles nothing, so the chain stays.
                if used.is_none() {
                    player.chain = Some(head(&order));
                }
                order
            }
            Ask::Broken { device, sequence } => {
                let player = &self.devices[device];
                let mut claims = player.claims("gift", 1);
                claims.id = order_id(self.signed.len() as u32);
                (claims.sequence, claims.previous) = (sequence, Some(Sha256::of("elsewhere")));
                signed(player, &claims)
            }
        };
        self.signed.push(order.clone());
        Some(order)
    }
}

/// Does a step, and tells all that could be seen of it.
fn perform(desk: &mut Desk, step: &Step, batch: &[VerifiedOrder], devices: &[Device]) -> String {
    match step {
        Step::Batch(_) => format!("{:?}", desk.settle(batch)),
        Step::Credit { device, micros, usd, id } => {
            let currency = if *usd { "USD" } else { "EUR" };
            let money = format!("0.000001{currency}").parse::<bevy_iap::protocol::Money>().expect("money");
            let micros = (*micros).try_into().expect("in range");
            let money = bevy_iap::protocol::Money::new(micros, money.currency);
            let credit = Credit { id: TransferId([*id; 16]), account: devices[*device].account(), money };
            format!("{:?}", desk.ledger.credit(&credit, desk.now))
        }
        Step::Refund { order } => {
            let order: OrderId = order_id(*order);
            format!("{:?}", desk.ledger.refund(order, &mut desk.signer, desk.now))
        }
        Step::Wait { hours } => {
            desk.now += hours * 3_600;
            String::new()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_engines_keep_the_same_books_whatever_happens(steps in prop::collection::vec(step(), 1..16)) {
        let [mut model, mut sqlite] = Desk::both();
        let mut players = Players { devices: (0..DEVICES).map(|_| Device::new()).collect(), signed: Vec::new() };
        for device in &players.devices {
            model.enrol(device);
            sqlite.enrol(device);
        }
        for step in &steps {
            let batch: Vec<VerifiedOrder> = match step {
                Step::Batch(asks) => asks.iter().filter_map(|ask| players.order(ask)).collect(),
                _ => Vec::new(),
            };
            let told = perform(&mut model, step, &batch, &players.devices);
            prop_assert_eq!(told, perform(&mut sqlite, step, &batch, &players.devices));
        }
        for device in &players.devices {
            for cursor in [0, 1, 5, u64::MAX] {
                prop_assert_eq!(model.standing(device, cursor), sqlite.standing(device, cursor));
            }
            let standing = model.standing(device, 0);
            prop_assert!(standing.wallet.iter().all(|balance| !balance.available.is_negative()));
            let account = device.account();
            prop_assert_eq!(
                model.ledger.show(&account).expect("reads"),
                sqlite.ledger.show(&account).expect("reads")
            );
        }
        let (mut rows, mut sqlite_rows) = (Rows::default(), Rows::default());
        model.ledger.read(&mut rows).expect("reads");
        sqlite.ledger.read(&mut sqlite_rows).expect("reads");
        prop_assert_eq!(rows.sorted(), sqlite_rows.sorted());
        model.assert_right();
        sqlite.assert_right();
    }
}

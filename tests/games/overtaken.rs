//! A copy of the game whose save another copy has taken over looks at what that has kept, and goes on after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use bevy_iap::client::machine::{Input, Terms};
use bevy_iap::client::record::Identity;
use bevy_iap::client::storage::memory::MemoryStorage;
use bevy_iap::client::storage::{Keep, Opened, Replay};
use bevy_iap::client::{Access, Client, OrderState, Record, Settings, Storage, StorageError, SystemClock, Update};
use bevy_iap::protocol::{GameId, Money, Order, OrderId, Sha256};

const WHY: &str = "another copy has it";

/// A save that another copy takes over with the next write, and gives back.
#[derive(Debug)]
struct Contested {
    memory: MemoryStorage,
    /// Whether the other copy has it.
    taken: Arc<AtomicBool>,
    is_overtaken: bool,
    /// Whether nobody knows what the write has left that met the other copy, and whether it is there.
    uncertain: bool,
    kept: bool,
    /// Whether the other copy takes it when it is written anew.
    taken_by_compaction: bool,
}

impl Storage for Contested {
    fn open(&mut self, replay: &mut Replay<'_>) -> Result<Opened, StorageError> {
        self.is_overtaken = false;
        let opened = self.memory.open(replay)?;
        let access = match self.taken.load(Ordering::SeqCst) {
            true => Access::ReadOnly(WHY.to_owned()),
            false => Access::ReadWrite,
        };
        Ok(Opened { access, ..opened })
    }

    fn append(&mut self, records: &[Record]) -> Result<(), StorageError> {
        if !self.taken.load(Ordering::SeqCst) {
            return self.memory.append(records);
        }
        self.is_overtaken = true;
        if self.kept {
            self.memory.append(records)?;
        }
        let refused = StorageError::ReadOnly(WHY.to_owned());
        Err(if self.uncertain { StorageError::Uncertain(Box::new(refused)) } else { refused })
    }

    fn compact(&mut self, keep: &mut Keep<'_>, then: &[Record]) -> Result<(), StorageError> {
        if self.taken_by_compaction {
            (self.is_overtaken, self.taken_by_compaction) = (true, false);
            self.taken.store(true, Ordering::SeqCst);
            return Err(StorageError::ReadOnly(WHY.to_owned()));
        }
        self.memory.compact(keep, then)
    }

    fn is_worth_reopening(&mut self) -> bool {
        !self.taken.load(Ordering::SeqCst)
    }

    fn is_overtaken(&self) -> bool {
        self.is_overtaken
    }
}

fn game() -> GameId {
    "test_game".parse().expect("a name")
}

/// What a game was told, in order: whether it may write, and the states of its order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Opened { may_write: bool, has_order: bool },
    Order(OrderState),
}

struct Game {
    client: Client,
    told: Vec<Told>,
}

impl Game {
    fn start(disk: Contested) -> Self {
        let settings = Settings::new(game(), Vec::new());
        let client = Client::start(settings, Box::new(disk), None, Arc::new(SystemClock::default())).expect("starts");
        Self { client, told: Vec::new() }
    }

    fn until(&mut self, wanted: &Told) {
        for _ in 0..1_000 {
            if self.told.contains(wanted) {
                return;
            }
            for update in self.client.news().into_iter().flatten() {
                match update {
                    Update::Opened(snapshot) => self.told.push(Told::Opened {
                        may_write: snapshot.access.may_write(),
                        has_order: !snapshot.orders.is_empty(),
                    }),
                    Update::Order(order) => self.told.push(Told::Order(order.state)),
                    _ => {}
                }
            }
            sleep(Duration::from_millis(10));
        }
        panic!("{wanted:?} was never told: {:?}", self.told);
    }
}

/// What is told of an order that meets the other copy, and is kept or not, with word of that or without.
fn overtaken(uncertain: bool, kept: bool) -> Vec<Told> {
    let taken = Arc::new(AtomicBool::new(false));
    let memory = MemoryStorage::default();
    let disk = Contested {
        memory,
        taken: Arc::clone(&taken),
        is_overtaken: false,
        uncertain,
        kept,
        taken_by_compaction: false,
    };
    let mut game = Game::start(disk);
    game.until(&Told::Opened { may_write: true, has_order: false });
    game.told.clear();

    taken.store(true, Ordering::SeqCst);
    let price: Money = "0.005 EUR".parse().expect("an amount");
    let order = Terms {
        id: OrderId([1; 16]),
        product: "shield".parse().expect("a name"),
        quantity: 1,
        price,
        total: price,
        catalog: Sha256::of("catalogue"),
        grants: Vec::new(),
    };
    game.client.command(Input::Purchase(order)).expect("taken");
    game.until(&Told::Opened { may_write: false, has_order: kept });
    // Word of what is lost comes with it.
    let told = std::mem::take(&mut game.told);
    taken.store(false, Ordering::SeqCst);
    game.until(&Told::Opened { may_write: true, has_order: kept });
    told
}

#[test]
fn copy_that_was_overtaken_says_that_the_order_is_not_saved_looks_on_and_takes_over_again() {
    let looks_on = Told::Opened { may_write: false, has_order: false };
    assert_eq!(overtaken(false, false), [Told::Order(OrderState::NotSaved), looks_on]);
}

#[test]
fn order_of_which_nobody_knew_is_told_of_by_what_the_other_copy_has_kept() {
    let lost = [
        Told::Order(OrderState::Placed),
        Told::Opened { may_write: false, has_order: false },
        Told::Order(OrderState::NotSaved),
    ];
    assert_eq!(overtaken(true, false), lost);
    let kept = [Told::Order(OrderState::Placed), Told::Opened { may_write: false, has_order: true }];
    assert_eq!(overtaken(true, true), kept);
}

#[test]
fn copy_that_is_overtaken_by_its_very_first_write_looks_on_and_takes_over_again() {
    // An order without a seal, so that the journal is written anew as soon as it is open.
    let mut memory = MemoryStorage::default();
    let device = memory.open(&mut |_, _| {}).expect("opens").key;
    let price: Money = "0.005 EUR".parse().expect("an amount");
    let order = Order {
        id: OrderId([1; 16]),
        device: device.id(),
        account: device.id().guest_account(),
        game: game(),
        issued_at: 1_767_225_600,
        sequence: 1,
        previous: None,
        product: "shield".parse().expect("a name"),
        quantity: 1,
        price,
        catalog: Sha256::of("catalogue"),
        allowance: None,
    };
    let token = order.sign(&device).expect("signs");
    let identity = Identity { game: game(), device: device.id(), account: device.id().guest_account() };
    memory.append(&[Record::Identity(identity), Record::Order(token.into())]).expect("appended");

    let taken = Arc::new(AtomicBool::new(false));
    let mut game = Game::start(Contested {
        memory,
        taken: Arc::clone(&taken),
        is_overtaken: false,
        uncertain: false,
        kept: false,
        taken_by_compaction: true,
    });
    game.until(&Told::Opened { may_write: false, has_order: true });
    game.told.clear();
    taken.store(false, Ordering::SeqCst);
    game.until(&Told::Opened { may_write: true, has_order: true });
}

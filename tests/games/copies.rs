//! Save folders that were copied to other machines, or put back from an older copy: the device's chain tells, at the
//! next sync. Nobody pays twice, nothing that was paid for is lost on any of them, and all can go on buying.

use bevy_iap::client::OrderState;
use bevy_iap::plugin::{IapPlugin, Store};
use bevy_iap::protocol::{OrderId, Reason};

use crate::shop::{Game, Shop};

/// What a shield costs, in micros.
const SHIELD: i64 = 5_000;

/// A game that has no way to the server.
fn play_alone(shop: &Shop, save: &str) -> Game {
    shop.play_with(IapPlugin { server: None, ..shop.plugin(save) })
}

/// Buys a shield, again if the first order told that the chain has gone on elsewhere. Gives how often it was declined.
fn buy_a_shield(game: &mut Game) -> usize {
    for declined in 0.. {
        let order = game.store_mut().purchase("shield").expect("ordered");
        game.until("it is answered", |store| store.order(order).is_some_and(|order| !order.state.is_open()));
        let order = game.order(order);
        if order.state == OrderState::Granted {
            return declined;
        }
        assert_eq!((order.state, order.reason), (OrderState::Declined, Some(Reason::ChainBroken)));
        assert!(declined < 3, "it cannot go on buying");
    }
    unreachable!("it is granted, or it fails")
}

/// Every machine ends with `shields`, each paid for once, as the books say.
fn converge(shop: &Shop, games: &mut [&mut Game], shields: u64) {
    for game in games.iter_mut() {
        game.store().sync_now();
        let all = |store: &Store| store.quantity("shield") == shields && store.orders().all(|it| !it.state.is_open());
        game.until("everything is there", all);
        let account = game.store().account().expect("open").clone();
        let booked = shop.server().show(&account).expect("shown");
        let paid = i64::try_from(shields).expect("few") * SHIELD;
        assert_eq!(booked.wallet[0].available.value(), 1_000_000 - paid, "each was paid for once");
        game.until("the wallet is right", |store| store.wallet() == booked.wallet);
    }
    shop.audit();
}

#[test]
fn two_machines_with_one_save_pay_nothing_twice_and_both_go_on_buying() {
    let shop = Shop::open("1.00EUR");
    shop.play("first").buy_until("shield", OrderState::Granted);
    shop.copy("first", "second");
    let (mut first, mut second) = (shop.play("first"), shop.play("second"));
    let mut shields = 1;
    for turn in 0..3 {
        let declined = [buy_a_shield(&mut first), buy_a_shield(&mut second)];
        // Whoever bought last goes on as if there were no copy; the other hears at the next sync that there is one.
        assert!(declined[0] <= usize::from(turn > 0) && declined[1] <= 1, "{declined:?} in turn {turn}");
        shields += 2;
    }
    converge(&shop, &mut [&mut first, &mut second], shields);
    assert_eq!(buy_a_shield(&mut first), 0, "nothing is declined once it has heard of the other");
}

#[test]
fn orders_queued_when_the_save_was_copied_are_charged_once_though_both_machines_send_them() {
    let shop = Shop::open("1.00EUR");
    let mut first = play_alone(&shop, "first");
    let both = [first.buy_until("shield", OrderState::Queued), first.buy_until("shield", OrderState::Queued)];
    drop(first);
    shop.copy("first", "second");
    let own = ["first", "second"].map(|save| play_alone(&shop, save).buy_until("shield", OrderState::Queued));
    let [mut first, mut second] = ["first", "second"].map(|save| shop.play(save));
    for game in [&mut first, &mut second] {
        game.until("everything is answered", |store| store.orders().all(|order| !order.state.is_open()));
    }
    // Of the two orders with the same number in the chain, the server took the one that came first.
    let granted = |game: &Game, order: OrderId| game.order(order).state == OrderState::Granted;
    assert!(both.iter().all(|&order| granted(&first, order) && granted(&second, order)));
    assert!(granted(&first, own[0]) != granted(&second, own[1]));
    converge(&shop, &mut [&mut first, &mut second], 3);
    buy_a_shield(&mut first);
    buy_a_shield(&mut second);
    converge(&shop, &mut [&mut first, &mut second], 5);
}

#[test]
fn three_copies_that_were_offline_together_end_with_the_same() {
    let shop = Shop::open("1.00EUR");
    shop.play("first").buy_until("shield", OrderState::Granted);
    shop.copy("first", "second");
    shop.copy("first", "third");
    let saves = ["first", "second", "third"];
    for save in saves {
        let mut game = play_alone(&shop, save);
        game.buy_until("shield", OrderState::Queued);
        game.buy_until("shield", OrderState::Queued);
    }
    let [mut first, mut second, mut third] = saves.map(|save| shop.play(save));
    // Only one chain goes on: the two orders of whoever came first. Those of the others are declined, and cost nothing.
    converge(&shop, &mut [&mut first, &mut second, &mut third], 3);
    for game in [&mut third, &mut first, &mut second] {
        buy_a_shield(game);
    }
    converge(&shop, &mut [&mut first, &mut second, &mut third], 6);
}

#[test]
fn a_save_put_back_from_an_older_copy_pays_nothing_twice_and_loses_nothing() {
    let shop = Shop::open("1.00EUR");
    shop.play("save").buy_until("double_jump", OrderState::Granted);
    shop.copy("save", "backup");
    shop.play("save").buy_until("shield", OrderState::Granted);

    // The older save knows nothing of the shield, and makes another order of the same number.
    shop.copy("backup", "save");
    let order = play_alone(&shop, "save").buy_until("shield", OrderState::Queued);
    let mut game = shop.play("save");
    game.wait_for(order, OrderState::Declined);
    assert_eq!(game.order(order).reason, Some(Reason::ChainBroken));
    assert_eq!(game.store().quantity("shield"), 1, "the shield that was paid for came back from the feed");
    assert_eq!(game.available(), "0.945");
    game.buy_until("shield", OrderState::Granted);
    assert_eq!((game.store().quantity("shield"), game.available()), (2, "0.94".to_owned()));
    shop.audit();
}

#[test]
fn a_save_put_back_again_and_again_hears_of_it_before_it_buys() {
    let shop = Shop::open("1.00EUR");
    shop.play("save").buy_until("shield", OrderState::Granted);
    shop.copy("save", "backup");
    for round in 1..=5 {
        shop.copy("backup", "save");
        let mut game = shop.play("save");
        game.until("what was bought since is there", |store| store.quantity("shield") == round);
        game.buy_until("shield", OrderState::Granted);
        converge(&shop, &mut [&mut game], round + 1);
    }
}

#[test]
fn a_save_put_back_from_before_it_was_enrolled_gets_everything_and_no_second_welcome() {
    let shop = Shop::open("1.00EUR");
    let sent = play_alone(&shop, "save").buy_until("shield", OrderState::Queued);
    shop.copy("save", "backup");
    let mut game = shop.play("save");
    game.wait_for(sent, OrderState::Granted);
    game.buy_until("shield", OrderState::Granted);
    drop(game);

    shop.copy("backup", "save");
    let unknown = play_alone(&shop, "save").buy_until("shield", OrderState::Queued);
    let mut game = shop.play("save");
    game.wait_for(sent, OrderState::Granted);
    game.wait_for(unknown, OrderState::Declined);
    converge(&shop, &mut [&mut game], 2);
    assert_eq!(buy_a_shield(&mut game), 0);
    converge(&shop, &mut [&mut game], 3);
}

#[test]
fn a_save_put_back_from_before_its_first_order_gets_everything_again() {
    let shop = Shop::open("1.00EUR");
    drop(play_alone(&shop, "save"));
    shop.copy("save", "backup");
    let mut game = shop.play("save");
    buy_a_shield(&mut game);
    buy_a_shield(&mut game);
    drop(game);
    shop.copy("backup", "save");
    let mut game = shop.play("save");
    converge(&shop, &mut [&mut game], 2);
    assert_eq!(buy_a_shield(&mut game), 0);
    converge(&shop, &mut [&mut game], 3);
}

/// Numbers that look random (xorshift), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("less than the limit")
    }
}

#[test]
fn whatever_is_copied_and_put_back_everybody_ends_with_what_was_paid_for() {
    let shop = Shop::open("1.00EUR");
    let saves = ["first", "second", "third", "fourth"];
    drop(play_alone(&shop, saves[0]));
    saves[1..].iter().for_each(|save| shop.copy(saves[0], save));
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..40 {
        let save = saves[random.below(4)];
        match random.below(6) {
            0 | 1 => _ = play_alone(&shop, save).buy_until("shield", OrderState::Queued),
            2 => _ = buy_a_shield(&mut shop.play(save)),
            3 => {
                // Dropped while it may be in the middle of a sync.
                let mut game = shop.play(save);
                game.store_mut().purchase("shield").expect("ordered");
                (0..random.below(10)).for_each(|_| game.app.update());
            }
            4 => {
                let other = saves[random.below(4)];
                if other != save {
                    let (mut one, mut another) = (shop.play(save), shop.play(other));
                    buy_a_shield(&mut one);
                    buy_a_shield(&mut another);
                }
            }
            _ => {
                let from = saves[random.below(4)];
                if from != save {
                    shop.copy(from, save);
                }
            }
        }
    }
    let mut games = saves.map(|save| shop.play(save));
    for game in &mut games {
        game.until("everything is answered", |store| store.orders().all(|order| !order.state.is_open()));
    }
    let account = games[0].store().account().expect("open").clone();
    let granted = shop.server().show(&account).expect("shown").orders["granted"];
    assert!(granted > 10, "{granted} orders are too few to prove anything");
    let [first, second, third, fourth] = &mut games;
    converge(&shop, &mut [first, second, third, fourth], granted);
    for game in &mut games {
        buy_a_shield(game);
    }
}

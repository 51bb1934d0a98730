//! From the worker's queue into the store, and out again as messages and events.

use bevy::ecs::event::Event;
use bevy::ecs::message::Message;
use bevy::ecs::system::{Commands, Res, ResMut};

use super::{
    AccountUpdated, ConnectionChanged, ConsumeRefused, EntitlementsChanged, PurchaseUpdated, Store, StoreOpened,
    StoreTrouble, WalletChanged,
};
use crate::client::{Holdings, Update};

/// Whether the worker has news: one atomic load.
pub(super) fn has_news(store: Res<Store>) -> bool {
    store.has_news()
}

pub(super) fn receive(mut store: ResMut<Store>, mut commands: Commands) {
    while let Some(news) = store.news() {
        for update in news {
            put(update, &mut store, &mut commands);
        }
    }
}

fn put(update: Update, store: &mut Store, commands: &mut Commands) {
    match update {
        Update::Opened(snapshot) => {
            let (before, connection) = (store.holdings().clone(), store.connection().clone());
            let wallet = snapshot.wallet.clone();
            for trouble in &snapshot.troubles {
                tell(commands, StoreTrouble { trouble: trouble.clone() });
            }
            let may_write = snapshot.access.may_write();
            store.open(*snapshot);
            tell(commands, StoreOpened { may_write });
            tell_holdings(commands, &before, store.holdings());
            if !wallet.is_empty() {
                tell(commands, WalletChanged { wallet });
            }
            tell(commands, ConnectionChanged { connection });
        }
        Update::OpenFailed(trouble) => {
            store.fail(trouble.clone());
            tell(commands, StoreTrouble { trouble });
        }
        Update::Order(order) => {
            let news = PurchaseUpdated {
                order: order.id,
                product: order.product.clone(),
                state: order.state,
                provisional: order.provisional,
            };
            store.put_order(order);
            tell(commands, news);
        }
        Update::Receipt(receipt) => store.put_receipt(*receipt),
        Update::Holdings(holdings) => {
            let before = store.take_holdings(holdings);
            tell_holdings(commands, &before, store.holdings());
        }
        Update::Consumed { item, quantity, saved } => {
            store.consumed(&item, quantity);
            if !saved {
                tell(commands, EntitlementsChanged { items: vec![item], ..EntitlementsChanged::default() });
            }
        }
        Update::ConsumeRefused { item, quantity } => tell(commands, ConsumeRefused { item, quantity }),
        Update::Wallet(wallet) => {
            store.take_wallet(wallet.clone());
            tell(commands, WalletChanged { wallet });
        }
        Update::Allowance(allowance) => store.take_allowance(allowance),
        Update::ServerClock(clock) => store.take_server_clock(clock),
        Update::ClockUntrusted(untrusted) => {
            store.take_clock_untrusted(untrusted);
            if untrusted {
                let trouble = "the clock of this device is behind the store's: what is owned for a time rests until the \
                               clock is right or the store is reached";
                tell(commands, StoreTrouble { trouble: trouble.to_owned() });
            }
        }
        Update::Connection(connection) => {
            store.take_connection(connection.clone());
            tell(commands, ConnectionChanged { connection });
        }
        Update::Account { asked, outcome } => {
            let outcome = outcome.map(|view| *view);
            store.take_account(asked, &outcome);
            tell(commands, AccountUpdated { asked, outcome });
        }
        Update::Persistence(persistence) => store.take_persistence(persistence),
        Update::Trouble(trouble) => tell(commands, StoreTrouble { trouble }),
    }
}

fn tell<T>(commands: &mut Commands, news: T)
where
    T: Message + Event + Clone,
    for<'a> <T as Event>::Trigger<'a>: Default,
{
    commands.write_message(news.clone());
    commands.trigger(news);
}

fn tell_holdings(commands: &mut Commands, before: &Holdings, after: &Holdings) {
    let missing = |from: &Holdings, other: &Holdings| {
        let names = from.entitlements.keys().filter(|name| !other.entitlements.contains_key(*name));
        names.cloned().collect::<Vec<_>>()
    };
    let names = before.items.keys().chain(after.items.keys().filter(|name| !before.items.contains_key(*name)));
    let items: Vec<_> = names.filter(|name| before.items.get(*name) != after.items.get(*name)).cloned().collect();
    if before != after {
        tell(commands, EntitlementsChanged { gained: missing(after, before), lost: missing(before, after), items });
    }
}

//! The shop: buying with keys and clicks, what it costs, what is owned, and how the store's server is reached.
//!
//! Tab opens it, which pauses the game; the number keys buy at any time. Whatever it shows is read from the [`Store`]
//! in frames in which that changed.

mod card;
mod cards;
mod icons;
mod legend;
mod notice;
mod status;

use bevy::input::common_conditions::input_just_pressed;
use bevy::prelude::*;
use bevy_iap::prelude::*;
use bevy_iap::protocol::{Product, ProductId};
use notice::Notice;

use crate::game::Paused;

/// The keys that buy, in the order of the shelf.
const BUYING_KEYS: [(KeyCode, &str); 5] = [
    (KeyCode::Digit1, "1"),
    (KeyCode::Digit2, "2"),
    (KeyCode::Digit3, "3"),
    (KeyCode::Digit4, "4"),
    (KeyCode::Digit5, "5"),
];

/// The player wants to buy this.
#[derive(Message)]
struct Wanted(ProductId);

/// The shop, the status in the corner, the notices and the legend of keys.
pub fn plugin(app: &mut App) {
    app.add_message::<Wanted>()
        .add_plugins((cards::plugin, legend::plugin, notice::plugin, status::plugin))
        .add_systems(
            Update,
            (
                open_or_close.run_if(input_just_pressed(KeyCode::Tab)),
                go_offline_or_back.run_if(input_just_pressed(KeyCode::KeyO)),
                (want_by_key, buy.run_if(on_message::<Wanted>)).chain(),
            ),
        );
}

/// The shop is open while the game is paused.
fn open_or_close(mut paused: ResMut<Paused>) {
    paused.0 = !paused.0;
}

fn go_offline_or_back(mut store: ResMut<Store>, mut notices: MessageWriter<Notice>) {
    let offline = !store.is_offline();
    if let Err(error) = store.set_offline(offline) {
        notices.write(Notice(error.to_string()));
    }
}

fn want_by_key(keys: Res<ButtonInput<KeyCode>>, store: Res<Store>, mut wanted: MessageWriter<Wanted>) {
    if keys.get_just_pressed().len() == 0 {
        return;
    }
    for ((product, _), (key, _)) in shelf(&store).iter().zip(BUYING_KEYS) {
        if keys.just_pressed(key) {
            wanted.write(Wanted((*product).clone()));
        }
    }
}

fn buy(mut wanted: MessageReader<Wanted>, mut store: ResMut<Store>, mut notices: MessageWriter<Notice>) {
    for Wanted(product) in wanted.read() {
        if let Err(error) = store.purchase(product.as_str()) {
            notices.write(Notice(format!("{}: {error}.", title(&store, product))));
        }
    }
}

/// The products that are sold here, in the order of the catalogue.
fn shelf(store: &Store) -> Vec<(&ProductId, &Product)> {
    let products = store.catalog().into_iter().flat_map(|catalog| catalog.products());
    products.filter(|(_, product)| product.price(store.currency()).is_some()).collect()
}

/// A product's name for players, also after it left the catalogue.
pub fn title(store: &Store, product: &ProductId) -> String {
    let found = store.catalog().and_then(|catalog| catalog.product(product.as_str()));
    found.map_or_else(|| product.to_string(), |(_, product)| product.title.clone())
}

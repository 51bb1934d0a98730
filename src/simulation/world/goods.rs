//! What is sold in a world, in two versions, and what of it a client asks for.

use std::sync::{Arc, LazyLock};

use crate::client::machine::Terms;
use crate::protocol::{Catalog, Currency, GameId, OrderId};
use crate::simulation::random::Random;

/// What is asked for, the more often the more often it is here.
const ASKED: [&str; 15] = [
    "shield",
    "shield",
    "shield",
    "shield",
    "shield",
    "shield",
    "crate",
    "crate",
    "crate",
    "gift",
    "gift",
    "day_pass",
    "day_pass",
    "double_jump",
    "skin",
];
const GIFT: u8 = 9;

static CATALOGS: LazyLock<[Arc<Catalog>; 2]> = LazyLock::new(|| {
    [("0.005", "0.05"), ("0.006", "0.04")].map(|(shield, jump)| {
        let text = format!(
            r#"Catalog(game: "simulated", products: {{
                "shield": Consumable(title: "Shield", prices: {{ "EUR": "{shield}" }}),
                "crate": Consumable(
                    title: "Crate",
                    prices: {{ "EUR": "0.013" }},
                    grants: [Item("shield", 3), Item("potion", 2)],
                    shares: {{ "ann": "33.3333", "zoe": "12.5" }},
                ),
                "gift": Consumable(title: "Gift", prices: {{ "EUR": "0" }}),
                "day_pass": Pass(title: "Day pass", hours: 24, prices: {{ "EUR": "0.03" }}),
                "double_jump": Unlock(title: "Double jump", prices: {{ "EUR": "{jump}" }}),
                "skin": Unlock(title: "Skin", prices: {{ "EUR": "0.02" }}, shares: {{ "ann": "100" }}),
            }})"#
        );
        Arc::new(Catalog::parse("catalog.ron", &text).expect("a good catalogue"))
    })
});

pub(super) fn catalog(version: u8) -> Arc<Catalog> {
    Arc::clone(&CATALOGS[usize::from(version % 2)])
}

pub(super) fn game() -> GameId {
    catalog(0).game.clone()
}

/// What the client of a catalogue's version asks for as the product of this number.
pub(super) fn terms(version: u8, product: u8, quantity: u8, random: &mut Random) -> Terms {
    let catalog = catalog(version);
    let name = ASKED[usize::from(product) % ASKED.len()];
    let (id, product) = catalog.product(name).expect("it is sold");
    let quantity = u32::from(quantity).clamp(1, product.max_quantity());
    let price = product.price(Currency::EUR).expect("it has a price");
    Terms {
        id: OrderId(random.bits()),
        product: id.clone(),
        quantity,
        price,
        total: price.checked_mul(quantity).expect("in range"),
        catalog: catalog.digest(),
        grants: product.grants(quantity, 0),
    }
}

/// What is free, which is given whatever is in the wallet.
pub(super) fn gift(version: u8, random: &mut Random) -> Terms {
    terms(version, GIFT, 1, random)
}

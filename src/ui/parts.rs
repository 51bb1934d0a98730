//! The parts of a shop that say something: each is bound to a product, an order or the store, and keeps itself true.
//!
//! A part says what [`Truth`] makes of the [`Store`], which is a function without memory: whoever is spawned late, or
//! missed every message, says the same. A part that has nothing to say takes no room.

use bevy::prelude::*;
use bevy::ui::InteractionDisabled;

use super::hold::BuyButton;
use super::skin::{Ink, Size, Skin, Tone};
use super::truth::{Said, Truth};
use super::waits::Waits;
use super::words::Words;
use crate::plugin::Store;
use crate::protocol::OrderId;

/// What a text says. It is kept true by the shop.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[require(
    TextLayout = TextLayout::linebreak(LineBreak::WordOrCharacter),
    Text,
    Node,
    Ink = Ink::new(Size::Body, Tone::Plain)
)]
pub enum Part {
    /// One of the shop's own texts, by its name in the translations.
    Phrase(&'static str),
    /// The name of a product.
    Title(String),
    /// What a product is.
    Description(String),
    /// What a product costs.
    Price(String),
    /// How much of a product is owned, if any.
    Owned(String),
    /// What the button that buys a product says.
    Buy(String),
    /// The same, where the price stands beside it.
    BuyWithoutPrice(String),
    /// What became of the last try to buy a product, and what to do next.
    Outcome(String),
    /// A lamp's name: the step of an order.
    Step(Step),
    /// What the wallet holds.
    Balance,
    /// What is to be known of the connection and of this copy of the game, if anything.
    Standing,
    /// What a group of products is called; the products without one where there is no such group.
    Group(Option<String>),
    /// Which account this is.
    Account,
    /// What was ordered, how many and for how much.
    Ordered(OrderId),
    /// When, and the receipt's id.
    Receipt(OrderId),
    /// What became of an order.
    State(OrderId),
    /// Why there is nothing to see on the shelf.
    Nothing,
}

/// A step of an order's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Signed, and safe on the disk.
    Queued,
    /// Sent to the server.
    Sent,
    /// Answered by a receipt that verified.
    Receipt,
}

/// The lamp of a step of the last order of a product.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[require(Node, Skin = Skin::Lamp(Tone::Quiet))]
pub struct Lamp {
    /// The product.
    pub product: String,
    /// The step.
    pub step: Step,
}

/// Turns while the last order of a product waits for something that should come soon, and no longer.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[require(Node, Skin = Skin::Spinner, UiTransform)]
pub struct Spinner(
    /// The product.
    pub String,
);

/// What the wallet holds, as a text that stays true.
pub fn balance_label() -> impl Bundle {
    (Part::Balance, Ink::new(Size::Large, Tone::Accent))
}

/// Whether or how many of a product are owned, as a text that stays true and is empty where nothing is.
pub fn owned_badge(product: &str) -> impl Bundle {
    (Part::Owned(product.to_owned()), Ink::new(Size::Small, Tone::Good))
}

/// The price of a product, in the store's currency.
pub fn price_label(product: &str) -> impl Bundle {
    (Part::Price(product.to_owned()), Ink::new(Size::Large, Tone::Accent))
}

/// The name of a product, in the player's language.
pub fn title_label(product: &str) -> impl Bundle {
    (Part::Title(product.to_owned()), Ink::new(Size::Large, Tone::Plain))
}

/// What a product is, in the player's language.
pub fn description_label(product: &str) -> impl Bundle {
    (Part::Description(product.to_owned()), Ink::new(Size::Body, Tone::Quiet))
}

/// What became of the last try to buy a product: a sentence, with what to do next.
pub fn outcome_label(product: &str) -> impl Bundle {
    (Part::Outcome(product.to_owned()), Ink::new(Size::Body, Tone::Plain))
}

/// What is to be known of the connection: offline with so many orders queued, read-only, revoked. Empty while all is well.
pub fn standing_label() -> impl Bundle {
    (Part::Standing, Ink::new(Size::Body, Tone::Warning))
}

/// Keeps parts true, when what they are told from has changed, or when they are new.
pub(super) fn tell(
    store: Res<Store>,
    words: Res<Words>,
    waits: Res<Waits>,
    mut parts: Query<(Ref<Part>, &mut Text, &mut Ink, &mut Node)>,
) {
    let truth = Truth { store: &store, words: &words, waits: &waits };
    let all = store.is_changed() || words.is_changed() || waits.is_changed();
    for (part, mut text, mut ink, mut node) in parts.iter_mut().filter(|(part, ..)| all || part.is_changed()) {
        let Said { text: now, tone } = truth.said(&part);
        let display = if now.is_empty() { Display::None } else { Display::Flex };
        if node.display != display {
            node.display = display;
        }
        if text.0 != now {
            text.0 = now;
        }
        if let Some(tone) = tone.filter(|tone| *tone != ink.tone) {
            ink.tone = tone;
        }
    }
}

/// Keeps lamps, spinners and buttons true.
pub(super) fn light(
    mut commands: Commands,
    store: Res<Store>,
    words: Res<Words>,
    waits: Res<Waits>,
    mut lamps: Query<(&Lamp, &mut Skin)>,
    mut spinners: Query<(&Spinner, &mut Node)>,
    buttons: Query<(Entity, &BuyButton, Has<InteractionDisabled>)>,
) {
    let truth = Truth { store: &store, words: &words, waits: &waits };
    for (lamp, mut skin) in &mut lamps {
        skin.set_if_neq(Skin::Lamp(truth.lamp(lamp)));
    }
    for (Spinner(product), mut node) in &mut spinners {
        let display = if truth.is_waiting(product) { Display::Flex } else { Display::None };
        if node.display != display {
            node.display = display;
        }
    }
    for (entity, button, is_disabled) in &buttons {
        match (truth.can_be_bought(&button.0), is_disabled) {
            (true, true) => {
                commands.entity(entity).remove::<InteractionDisabled>();
            }
            (false, false) => {
                commands.entity(entity).insert(InteractionDisabled);
            }
            _ => {}
        }
    }
}

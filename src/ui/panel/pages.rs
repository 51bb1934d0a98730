//! What is where on the pages.

use bevy::prelude::*;
use bevy::ui_widgets::{Button, ScrollArea};

use super::actions::{Copied, Does};
use super::{Card, Made, Pictures, View};
use crate::protocol::ProductId;
use crate::ui::hold::buy_button;
use crate::ui::navigation::{Announcer, Control};
use crate::ui::nodes::{body, spread, text_button, wrapped};
use crate::ui::parts::{
    Lamp, Part, Spinner, Step, balance_label, description_label, outcome_label, owned_badge, price_label,
    standing_label, title_label,
};
use crate::ui::shop::{Page, ShopCommand};
use crate::ui::skin::{Ink, Size, Skin, Tone};

/// Everything that is on a page.
pub(super) fn fill(veil: &mut ChildSpawnerCommands, view: &View, pictures: &mut Pictures, made: &mut Made) {
    veil.spawn((Skin::Panel, whole())).with_children(|panel| {
        header(panel, view, made);
        panel.spawn((standing_label(), Skin::Banner));
        panel.spawn((Skin::Column, ScrollArea, body())).with_children(|page| match view.page {
            Page::Shelf => shelves(page, view, pictures, made),
            Page::Product(ref name) => product(page, name, view.product.as_ref(), pictures, made),
            Page::Purchases => purchases(page, view, made),
        });
        panel.spawn((Announcer, announced()));
    });
}

fn header(panel: &mut ChildSpawnerCommands, view: &View, made: &mut Made) {
    // In one row that goes on below: rows in rows are not measured right where they do.
    panel.spawn((Skin::Row, wrapped())).with_children(|header| {
        let title = match view.page {
            Page::Purchases => "shop-purchases",
            _ => "shop-title",
        };
        let wide = Node { flex_grow: 1.0, ..default() };
        header.spawn((Part::Phrase(title), Ink::new(Size::Title, Tone::Plain), wide));
        header.spawn((Skin::Chip, Node::default(), children![balance_label()]));
        let (does, phrase) = match view.page {
            Page::Shelf => (ShopCommand::ShowPurchases, "shop-purchases"),
            _ => (ShopCommand::ShowShelf(view.chosen.clone()), "shop-back"),
        };
        button(header, Does::Turn(does), phrase, Skin::Button, made);
        button(header, Does::Turn(ShopCommand::Close), "shop-close", Skin::Button, made);
    });
}

fn shelves(page: &mut ChildSpawnerCommands, view: &View, pictures: &mut Pictures, made: &mut Made) {
    if !view.tabs.is_empty() {
        page.spawn((Skin::Row, wrapped())).with_children(|tabs| {
            for tab in &view.tabs {
                let skin = if *tab == view.chosen { Skin::Chosen } else { Skin::Button };
                let does = Does::Turn(ShopCommand::ShowShelf(tab.clone()));
                let part = match tab {
                    Some(group) => Part::Group(Some(group.to_string())),
                    None => Part::Phrase("shop-all"),
                };
                labelled(tabs, does, part, skin, made);
            }
        });
    }
    if view.shelves.is_empty() {
        let part = if view.tabs.is_empty() { Part::Nothing } else { Part::Phrase("empty-group") };
        page.spawn((Skin::Field, Node { width: percent(100), ..default() }, children![part]));
    }
    for shelf in &view.shelves {
        if !view.tabs.is_empty() {
            let group = Part::Group(shelf.group.as_ref().map(ToString::to_string));
            page.spawn((group, Ink::new(Size::Large, Tone::Quiet)));
        }
        page.spawn((Skin::Row, Node { align_items: AlignItems::Stretch, ..wrapped() })).with_children(|row| {
            shelf.cards.iter().for_each(|it| card(row, it, pictures.of(it), made));
        });
    }
}

fn card(row: &mut ChildSpawnerCommands, card: &Card, picture: Handle<Image>, made: &mut Made) {
    let does = Does::Turn(ShopCommand::Show(card.product.clone()));
    let name = card.product.as_str();
    let skin = if card.highlighted { Skin::HighlightedCard } else { Skin::Card };
    let mut control = row.spawn((does.clone(), skin, Button, Control, upright()));
    control.with_children(|inside| {
        inside.spawn((Skin::Picture, ImageNode::new(picture), Node::default(), Pickable::IGNORE));
        inside.spawn((title_label(name), centred(), Pickable::IGNORE));
        if card.highlighted {
            let phrase = (Part::Phrase("highlighted"), Ink::new(Size::Small, Tone::Accent), centred());
            inside.spawn((phrase, Pickable::IGNORE));
        }
        inside.spawn((description_label(name), centred(), Pickable::IGNORE));
        inside.spawn((Node { flex_grow: 1.0, ..default() }, Pickable::IGNORE));
        inside.spawn((owned_badge(name), centred(), Pickable::IGNORE));
        inside.spawn((price_label(name), centred(), Pickable::IGNORE));
    });
    let control = control.id();
    made.note(control, &does);
    made.note_first(control);
}

fn product(
    page: &mut ChildSpawnerCommands,
    name: &ProductId,
    card: Option<&Card>,
    pictures: &mut Pictures,
    made: &mut Made,
) {
    let name = name.as_str();
    let Some(card) = card else {
        page.spawn((Skin::Field, Node { width: percent(100), ..default() }, children![Part::Nothing]));
        return;
    };
    page.spawn((Skin::Page, Node { align_self: AlignSelf::Center, ..upright() })).with_children(|field| {
        field.spawn((Skin::Picture, ImageNode::new(pictures.of(card)), Node::default()));
        field.spawn((Part::Title(name.to_owned()), Ink::new(Size::Title, Tone::Plain), centred()));
        field.spawn((description_label(name), centred()));
        field.spawn((owned_badge(name), centred()));
        field.spawn((price_label(name), centred()));
        let buy = field.spawn(buy_button(name)).id();
        made.note_first(buy);
        field.spawn((Skin::Row, Node { justify_content: JustifyContent::Center, ..wrapped() })).with_children(|way| {
            for step in [Step::Queued, Step::Sent, Step::Receipt] {
                way.spawn((Skin::Row, Node { align_items: AlignItems::Center, ..default() })).with_children(|pair| {
                    pair.spawn(Lamp { product: name.to_owned(), step });
                    pair.spawn((Part::Step(step), Ink::new(Size::Small, Tone::Quiet)));
                });
            }
            way.spawn(Spinner(name.to_owned()));
        });
        field.spawn((outcome_label(name), centred()));
    });
}

fn purchases(page: &mut ChildSpawnerCommands, view: &View, made: &mut Made) {
    page.spawn((Part::Account, Ink::new(Size::Small, Tone::Quiet)));
    if view.purchases.is_empty() {
        page.spawn((Skin::Field, Node { width: percent(100), ..default() }, children![Part::Phrase("history-empty")]));
    }
    for &order in &view.purchases {
        page.spawn((Skin::Field, spread())).with_children(|row| {
            let said = Node {
                flex_direction: FlexDirection::Column,
                flex_basis: percent(55),
                flex_grow: 1.0,
                min_width: px(0),
                ..default()
            };
            row.spawn((Skin::Column, said)).with_children(|said| {
                said.spawn(Part::Ordered(order));
                said.spawn((Part::State(order), Ink::new(Size::Small, Tone::Quiet)));
                said.spawn((Part::Receipt(order), Ink::new(Size::Small, Tone::Quiet)));
            });
            button(row, Does::Copy(order), "history-copy", Skin::Button, made);
            row.spawn((Copied(order), Text::default(), Ink::new(Size::Small, Tone::Good), Node::default()));
        });
    }
    if view.has_older {
        page.spawn((Part::Phrase("history-older"), Ink::new(Size::Small, Tone::Quiet)));
    }
}

fn button(row: &mut ChildSpawnerCommands, does: Does, phrase: &'static str, skin: Skin, made: &mut Made) {
    labelled(row, does, Part::Phrase(phrase), skin, made);
}

fn labelled(row: &mut ChildSpawnerCommands, does: Does, part: Part, skin: Skin, made: &mut Made) {
    let control = row.spawn(text_button(does.clone(), skin, part, Ink::new(Size::Body, Tone::Plain))).id();
    made.note(control, &does);
}

/// Over the whole window.
pub(super) fn veil() -> Node {
    Node {
        position_type: PositionType::Absolute,
        width: percent(100),
        height: percent(100),
        justify_content: JustifyContent::Center,
        align_items: AlignItems::Center,
        ..default()
    }
}

fn whole() -> Node {
    Node { width: percent(100), height: percent(100), flex_direction: FlexDirection::Column, ..default() }
}

fn upright() -> Node {
    Node {
        flex_direction: FlexDirection::Column,
        align_items: AlignItems::Center,
        flex_shrink: 0.0,
        max_width: percent(100),
        ..default()
    }
}

fn centred() -> TextLayout {
    TextLayout::new(Justify::Center, LineBreak::WordOrCharacter)
}

/// Out of sight, for those who hear it.
fn announced() -> Node {
    Node { position_type: PositionType::Absolute, width: px(1), height: px(1), ..default() }
}

//! The panel: what is where on the pages of the shop.
//!
//! A page is laid out from a [`View`], plain data made of the catalogue and of what is open; it is laid out anew when
//! that is another than before, and in no other frame. What things say is the parts' business.

use bevy::clipboard::Clipboard;
use bevy::ecs::system::SystemParam;
use bevy::input_focus::tab_navigation::TabGroup;
use bevy::input_focus::{FocusCause, InputFocus};
use bevy::prelude::*;
use bevy::ui::Pressed;
use bevy::ui_widgets::{Activate, Button, ScrollArea};

use super::glyphs::Glyphs;
use super::hold::buy_button;
use super::navigation::{Announcer, Control};
use super::parts::{
    Lamp, Part, Spinner, Step, Truth, balance_label, description_label, outcome_label, owned_badge, price_label, shelf,
    standing_label, title_label,
};
use super::shop::{Page, Shop, ShopCommand};
use super::skin::{Ink, Size, Skin, Tone};
use super::words::arguments;
use crate::plugin::Store;
use crate::protocol::{GroupId, OrderId, ProductId, ProductKind};

/// The most orders that the page of purchases shows.
const MOST_PURCHASES: usize = 100;
/// In front of the game, and behind nothing.
const ABOVE_THE_GAME: GlobalZIndex = GlobalZIndex(1_000);

/// The whole shop.
#[derive(Component, Debug)]
pub(super) struct Panel;

/// What a control does when it is pressed.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Turn(ShopCommand),
    Copy(OrderId),
}

/// Says that a receipt was copied, or why not.
#[derive(Component, Debug)]
pub(super) struct Copied(OrderId);

/// What is on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    page: Page,
    shelves: Vec<Shelf>,
    tabs: Vec<Option<GroupId>>,
    chosen: Option<GroupId>,
    product: Option<Card>,
    purchases: Vec<OrderId>,
    has_older: bool,
}

/// The products of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shelf {
    group: Option<GroupId>,
    cards: Vec<Card>,
}

/// A product on the shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Card {
    product: ProductId,
    kind: ProductKind,
    icon: Option<String>,
    highlighted: bool,
}

impl View {
    fn of(shop: &Shop, store: &Store) -> Self {
        let mut view = Self {
            page: shop.page().clone(),
            shelves: Vec::new(),
            tabs: Vec::new(),
            chosen: shop.group().cloned(),
            product: None,
            purchases: Vec::new(),
            has_older: false,
        };
        let card = |(name, product): (&ProductId, &crate::protocol::Product)| Card {
            product: name.clone(),
            kind: product.kind,
            icon: product.presentation.icon.clone(),
            highlighted: product.presentation.highlighted,
        };
        match shop.page() {
            Page::Shelf => {
                let groups = store.catalog().into_iter().flat_map(|catalog| catalog.groups());
                let groups: Vec<_> = groups.map(|(group, _)| Some(group.clone())).chain([None]).collect();
                let of = |group: &Option<GroupId>| {
                    let cards = shelf(store).filter(|(_, product)| product.presentation.group == *group).map(card);
                    Shelf { group: group.clone(), cards: cards.collect() }
                };
                let all: Vec<_> = groups.iter().map(of).filter(|shelf| !shelf.cards.is_empty()).collect();
                if all.len() > 1 {
                    view.tabs = all.iter().filter_map(|shelf| shelf.group.clone()).map(Some).collect();
                    view.tabs.insert(0, None);
                }
                let shown = |shelf: &Shelf| view.chosen.is_none() || shelf.group == view.chosen;
                view.shelves = all.into_iter().filter(shown).collect();
            }
            Page::Product(name) => {
                view.product = store.catalog().and_then(|catalog| catalog.product(name.as_str())).map(card);
            }
            Page::Purchases => {
                view.purchases = store.orders().rev().take(MOST_PURCHASES).map(|order| order.id).collect();
                view.has_older = store.orders().nth(MOST_PURCHASES).is_some();
            }
        }
        view
    }
}

/// Where the pictures of products come from.
#[derive(SystemParam)]
pub(super) struct Pictures<'w> {
    glyphs: ResMut<'w, Glyphs>,
    images: ResMut<'w, Assets<Image>>,
    server: Option<Res<'w, AssetServer>>,
}

impl Pictures<'_> {
    fn of(&mut self, card: &Card) -> Handle<Image> {
        match (&card.icon, &self.server) {
            (Some(icon), Some(server)) => server.load(icon.clone()),
            _ => self.glyphs.of(card.kind, &mut self.images),
        }
    }
}

/// What is shown now.
#[derive(Resource, Debug, Default)]
pub(super) struct Shown(Option<(View, Entity)>);

impl Does {
    /// What a screen reader calls it; `visible` is what is written on it.
    pub(super) fn label(&self, visible: Option<&Part>, truth: Truth<'_>) -> String {
        let words = truth.words;
        let said = |part: &Part| truth.said(part).text;
        match self {
            Self::Turn(ShopCommand::Show(product)) => {
                let name = product.to_string();
                let (title, price, owned) = (Part::Title(name.clone()), Part::Price(name.clone()), Part::Owned(name));
                let places = [("title", title), ("price", price), ("owned", owned)];
                let places = places.map(|(name, part)| (name, said(&part).into()));
                words.say_with("shop-details", &arguments(places))
            }
            Self::Copy(order) => {
                format!("{}. {}", words.say("history-copy"), said(&Part::Ordered(*order)))
            }
            Self::Turn(_) => visible.map(said).unwrap_or_default(),
        }
    }
}

/// Lays out what is shown, if it is another than before.
pub(super) fn lay_out(
    shop: Res<Shop>,
    store: Res<Store>,
    mut shown: ResMut<Shown>,
    mut pictures: Pictures,
    mut focus: ResMut<InputFocus>,
    controls: Query<&Does>,
    mut commands: Commands,
) {
    if !shop.is_open() {
        if let Some((_, panel)) = shown.0.take() {
            commands.entity(panel).despawn();
            focus.clear();
        }
        return;
    }
    let view = View::of(&shop, &store);
    if shown.0.as_ref().is_some_and(|(before, _)| *before == view) {
        return;
    }
    let had_focus = focus.get().and_then(|entity| controls.get(entity).ok()).cloned();
    let stays = shown.0.as_ref().is_some_and(|(before, _)| before.page == view.page);
    if let Some((_, before)) = shown.0.take() {
        commands.entity(before).despawn();
    }
    let mut picture = |card: &Card| pictures.of(card);
    let mut made = Made { wanted: had_focus.filter(|_| stays), focus: None };
    let panel = commands.spawn((Panel, Skin::Veil, veil(), ABOVE_THE_GAME, TabGroup::modal())).id();
    commands.entity(panel).with_children(|veil| {
        veil.spawn((Skin::Panel, whole())).with_children(|panel| {
            header(panel, &view, &mut made);
            panel.spawn((standing_label(), Skin::Banner));
            panel.spawn((Skin::Column, ScrollArea, body())).with_children(|page| match view.page {
                Page::Shelf => shelves(page, &view, &mut picture, &mut made),
                Page::Product(ref name) => product(page, name, view.product.as_ref(), &mut picture, &mut made),
                Page::Purchases => purchases(page, &view, &mut made),
            });
            panel.spawn((Announcer, announced()));
        });
    });
    match made.focus {
        Some(control) => focus.set(control, FocusCause::Navigated),
        None => focus.clear(),
    }
    shown.0 = Some((view, panel));
}

/// What has the focus when a page is laid out: the control that had it, or the first that the page is for.
struct Made {
    wanted: Option<Does>,
    focus: Option<Entity>,
}

impl Made {
    fn note(&mut self, control: Entity, does: &Does) {
        if self.wanted.as_ref() == Some(does) {
            self.focus = Some(control);
        }
    }

    fn note_first(&mut self, control: Entity) {
        if self.wanted.is_none() && self.focus.is_none() {
            self.focus = Some(control);
        }
    }
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

fn shelves(
    page: &mut ChildSpawnerCommands,
    view: &View,
    picture: &mut impl FnMut(&Card) -> Handle<Image>,
    made: &mut Made,
) {
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
            shelf.cards.iter().for_each(|it| card(row, it, picture(it), made));
        });
    }
}

fn card(row: &mut ChildSpawnerCommands, card: &Card, picture: Handle<Image>, made: &mut Made) {
    let does = Does::Turn(ShopCommand::Show(card.product.clone()));
    let name = card.product.as_str();
    let skin = if card.highlighted { Skin::HighlightedCard } else { Skin::Card };
    let mut control = row.spawn((control(does.clone(), skin), upright()));
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
    picture: &mut impl FnMut(&Card) -> Handle<Image>,
    made: &mut Made,
) {
    let name = name.as_str();
    let Some(card) = card else {
        page.spawn((Skin::Field, Node { width: percent(100), ..default() }, children![Part::Nothing]));
        return;
    };
    page.spawn((Skin::Page, Node { align_self: AlignSelf::Center, ..upright() })).with_children(|field| {
        field.spawn((Skin::Picture, ImageNode::new(picture(card)), Node::default()));
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
    let text = (part, Ink::new(Size::Body, Tone::Plain), Pickable::IGNORE);
    let centre = Node {
        flex_direction: FlexDirection::Column,
        justify_content: JustifyContent::Center,
        align_items: AlignItems::Center,
        ..default()
    };
    let control = row.spawn((control(does.clone(), skin), centre, children![text])).id();
    made.note(control, &does);
}

/// Something that can be pressed, by whatever means.
fn control(does: Does, skin: Skin) -> impl Bundle {
    (does, skin, Button, Control)
}

fn veil() -> Node {
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

fn body() -> Node {
    Node {
        flex_direction: FlexDirection::Column,
        align_items: AlignItems::Start,
        flex_grow: 1.0,
        flex_basis: px(0),
        min_height: px(0),
        overflow: Overflow::scroll_y(),
        ..default()
    }
}

/// A row that goes on below. It is as wide as it may be, since how high it is follows from that.
fn wrapped() -> Node {
    Node {
        width: percent(100),
        flex_wrap: FlexWrap::Wrap,
        align_items: AlignItems::Center,
        flex_shrink: 0.0,
        ..default()
    }
}

fn spread() -> Node {
    Node { justify_content: JustifyContent::SpaceBetween, ..wrapped() }
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

/// How far a finger moves before it scrolls, in logical pixels, and presses no longer.
const SCROLLS_FROM: f32 = 8.0;

/// A page of this shop.
type IsPage = (With<ScrollArea>, With<Skin>);

/// A finger, or the mouse, draws a page along.
pub(super) fn scroll_by_drag(
    drag: On<Pointer<Drag>>,
    controls: Query<(), (With<Control>, With<Pressed>)>,
    mut pages: Query<(&ComputedNode, &mut ScrollPosition), IsPage>,
    mut commands: Commands,
) {
    if drag.distance.length() < SCROLLS_FROM {
        return;
    }
    if controls.contains(drag.entity) {
        commands.entity(drag.entity).remove::<Pressed>();
    }
    if let Ok((node, mut position)) = pages.get_mut(drag.entity) {
        let most = (node.content_size().y - node.size().y).max(0.0) * node.inverse_scale_factor();
        position.y = (position.y - drag.delta.y).clamp(0.0, most);
    }
}

/// A control was pressed.
pub(super) fn act(
    pressed: On<Activate>,
    controls: Query<&Does>,
    store: Res<Store>,
    words: Res<super::Words>,
    mut clipboard: Option<ResMut<Clipboard>>,
    mut remarks: Query<(&Copied, &mut Text, &mut Ink)>,
    mut turns: MessageWriter<ShopCommand>,
) {
    match controls.get(pressed.entity) {
        Ok(Does::Turn(command)) => {
            turns.write(command.clone());
        }
        Ok(Does::Copy(order)) => {
            let receipt = store.receipts().iter().rev().find(|receipt| receipt.claims.order == *order);
            let copied = match (&mut clipboard, receipt) {
                (Some(clipboard), Some(receipt)) => {
                    clipboard.set_text(receipt.token.as_str().to_owned()).map_err(|error| error.to_string())
                }
                (None, Some(_)) => Err("bevy_clipboard".to_owned()),
                (_, None) => Err(words.say("history-no-receipt")),
            };
            for (_, mut text, mut ink) in remarks.iter_mut().filter(|(copied, ..)| copied.0 == *order) {
                (text.0, ink.tone) = match &copied {
                    Ok(()) => (words.say("history-copied"), Tone::Good),
                    Err(reason) => {
                        let places = arguments([("reason", reason.clone().into())]);
                        (words.say_with("history-not-copied", &places), Tone::Warning)
                    }
                };
            }
        }
        Err(_) => {}
    }
}

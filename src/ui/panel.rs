//! The panel: what is on the pages of the shop, and when they are laid out.
//!
//! A page is laid out from a [`View`], plain data made of the catalogue and of what is open; it is laid out anew when
//! that is another than before, and in no other frame. What things say is the parts' business.

mod actions;
mod pages;

use bevy::ecs::system::SystemParam;
use bevy::input_focus::tab_navigation::TabGroup;
use bevy::prelude::*;

pub(super) use self::actions::{Does, act, scroll_by_drag};
use super::focus::{Focus, Had};
use super::glyphs::Glyphs;
use super::shop::{Page, Shop};
use super::skin::Skin;
use super::truth::shelf;
use crate::plugin::Store;
use crate::protocol::{GroupId, OrderId, ProductId, ProductKind};

/// The most orders that the page of purchases shows.
const MOST_PURCHASES: usize = 100;
/// In front of the game, and behind nothing.
const ABOVE_THE_GAME: GlobalZIndex = GlobalZIndex(1_000);

/// The whole shop.
#[derive(Component, Debug)]
pub(super) struct Panel;

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

/// What is shown now, and what had the focus before it.
#[derive(Resource, Debug, Default)]
pub(super) struct Shown {
    panel: Option<(View, Entity)>,
    before: Had,
}

/// Lays out what is shown, if it is another than before.
pub(super) fn lay_out(
    shop: Res<Shop>,
    store: Res<Store>,
    mut shown: ResMut<Shown>,
    mut pictures: Pictures,
    mut focus: Focus,
    controls: Query<&Does>,
    mut commands: Commands,
) {
    if !shop.is_open() {
        if let Some((_, panel)) = shown.panel.take() {
            focus.give_back(shown.before, panel);
            commands.entity(panel).despawn();
        }
        return;
    }
    let view = View::of(&shop, &store);
    if shown.panel.as_ref().is_some_and(|(before, _)| *before == view) {
        return;
    }
    let had_focus = focus.get().and_then(|entity| controls.get(entity).ok()).cloned();
    let stays = shown.panel.as_ref().is_some_and(|(before, _)| before.page == view.page);
    match shown.panel.take() {
        Some((_, before)) => commands.entity(before).despawn(),
        None => shown.before = focus.had(),
    }
    let mut made = Made { wanted: had_focus.filter(|_| stays), focus: None };
    let panel = commands.spawn((Panel, Skin::Veil, pages::veil(), ABOVE_THE_GAME, TabGroup::modal())).id();
    commands.entity(panel).with_children(|veil| pages::fill(veil, &view, &mut pictures, &mut made));
    focus.give(made.focus);
    shown.panel = Some((view, panel));
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

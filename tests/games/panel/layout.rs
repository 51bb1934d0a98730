//! Whatever the window and the size of the text, everything is there, whole, and beside everything else.

use bevy::prelude::*;
use bevy::text::TextLayoutInfo;
use bevy::ui::UiGlobalTransform;
use bevy::ui_widgets::ScrollArea;
use bevy_iap::client::OfflineGrants;
use bevy_iap::plugin::{IapPlugin, Store};
use bevy_iap::ui::{Ink, Part, ShopCommand, ShopSettings, Skin, Words};

use super::screen::Screen;
use crate::shop::Shop;

const SIZES: [(u32, u32); 12] = [
    (640, 360),
    (640, 480),
    (800, 600),
    (360, 640),
    (768, 1024),
    (1024, 768),
    (1280, 720),
    (1280, 800),
    (1600, 900),
    (1920, 1080),
    (2560, 1080),
    (3840, 2160),
];
const TEXT_SCALES: [f32; 3] = [0.75, 1.0, 2.0];

/// A box on the screen, in physical pixels.
fn rect(world: &World, entity: Entity) -> Option<Rect> {
    let node = world.get::<ComputedNode>(entity)?;
    let shown = world.get::<Node>(entity)?.display != Display::None && node.size().min_element() > 0.0;
    let place = world.get::<UiGlobalTransform>(entity)?.translation;
    shown.then(|| Rect::from_center_size(place, node.size()))
}

fn is_absolute(world: &World, entity: Entity) -> bool {
    world.get::<Node>(entity).is_some_and(|node| node.position_type == PositionType::Absolute)
}

/// Checks a box and everything in it.
fn check(world: &World, entity: Entity, wrong: &mut Vec<String>) {
    let Some(outer) = rect(world, entity) else { return };
    let scrolls = world.get::<ScrollArea>(entity).is_some();
    let named = |entity| match (world.get::<Text>(entity), world.get::<Skin>(entity)) {
        (Some(text), _) => format!("the text {:?}", text.0),
        (_, skin) => format!("{skin:?}"),
    };
    if let (Some(text), Some(_)) = (world.get::<TextLayoutInfo>(entity), world.get::<Ink>(entity)) {
        let room = world.get::<ComputedNode>(entity).expect("a node").content_box().size();
        // The space at which a line is broken may stick out: nobody sees it.
        let space = match world.get::<TextFont>(entity).map(|font| font.font_size) {
            Some(FontSize::Px(size)) => 0.35 * size,
            _ => 0.0,
        };
        if text.size.x > room.x + space + 1.5 || text.size.y > room.y + 1.5 {
            wrong.push(format!("{} takes {} in {room}", named(entity), text.size));
        }
    }
    let children: Vec<_> = world.get::<Children>(entity).into_iter().flatten().copied().collect();
    let boxes: Vec<_> = children
        .iter()
        .filter(|child| !is_absolute(world, **child))
        .filter_map(|child| Some((*child, rect(world, *child)?)))
        .collect();
    for (number, (child, inner)) in boxes.iter().enumerate() {
        let sticks_out = |low: f32, high: f32, from: f32, to: f32| low < from - 1.5 || high > to + 1.5;
        let across = sticks_out(inner.min.x, inner.max.x, outer.min.x, outer.max.x);
        let down = !scrolls && sticks_out(inner.min.y, inner.max.y, outer.min.y, outer.max.y);
        if across || down {
            wrong.push(format!("{} sticks out of {}: {inner:?} of {outer:?}", named(*child), named(entity)));
        }
        for (other, beside) in &boxes[number + 1..] {
            let common = inner.intersect(*beside);
            if !common.is_empty() && common.size().min_element() > 1.5 {
                wrong.push(format!("{} lies over {}", named(*child), named(*other)));
            }
        }
    }
    children.iter().for_each(|child| check(world, *child, wrong));
}

#[test]
fn nothing_is_cut_off_or_overlaps_whatever_the_window_and_the_size_of_text() {
    let shop = Shop::open("1.00EUR");
    // With an allowance, so that the wallet says what is held.
    let plugin = IapPlugin { offline_grants: OfflineGrants::Allowance, ..shop.plugin("save") };
    let mut screen = Screen::open(&shop, plugin);
    screen.until("something is set aside", |store| store.offline_allowance().is_some());
    for product in ["double_jump", "mansion", "shield"] {
        screen.world().resource_mut::<Store>().purchase(product).expect("ordered");
    }
    screen.until("the receipts", |store| store.orders().all(|order| !order.state.is_open()));
    screen.world().resource_mut::<Store>().set_offline(true).expect("heard");
    let pages = [
        ShopCommand::ShowShelf(None),
        ShopCommand::Show("mansion".parse().expect("a name")),
        ShopCommand::ShowPurchases,
    ];
    let mut checked = 0;
    for language in ["en", "ko"] {
        screen.world().insert_resource(Words::new(language));
        screen.frames(3);
        let wallet = screen.part(&Part::Balance);
        assert!(wallet.contains('·'), "it says what is held: {wallet}");
        for (width, height) in SIZES {
            for text_scale in TEXT_SCALES {
                screen.resize(width as f32, height as f32);
                screen.world().resource_mut::<ShopSettings>().text_scale = text_scale;
                for page in &pages {
                    screen.command(page.clone());
                    screen.frames(3);
                    let world = screen.world();
                    let veil = world.query::<(Entity, &Skin)>().iter(world).find(|(_, skin)| **skin == Skin::Veil);
                    let (veil, _) = veil.expect("the shop is open");
                    let whole = rect(world, veil).expect("it is shown");
                    assert_eq!(whole.size(), Vec2::new(width as f32, height as f32));
                    let mut wrong = Vec::new();
                    check(world, veil, &mut wrong);
                    let body = world.query_filtered::<&ComputedNode, With<ScrollArea>>().iter(world).next();
                    let body = body.expect("a page").size().y;
                    if body < height as f32 / 4.0 {
                        wrong.push(format!("the page has {body} of {height} pixels"));
                    }
                    assert!(wrong.is_empty(), "{language} {width}x{height} {text_scale} {page:?}: {wrong:#?}");
                    checked += 1;
                }
            }
        }
    }
    assert_eq!(checked, 2 * 12 * 3 * 3);
}

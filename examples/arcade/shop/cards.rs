//! The shelf: one card for each product, laid out anew when the catalogue is loaded or edited.

use std::time::Duration;

use bevy::prelude::*;
use bevy::time::common_conditions::on_real_timer;
use bevy_iap::prelude::*;
use bevy_iap::protocol::catalog::CatalogGrant;

use super::icons::Icons;
use super::{BUYING_KEYS, Wanted, card, shelf};
use crate::game::Paused;
use crate::look::{QUIET, panel, say, text};
use crate::palette::{AMBER, CYAN, DEEP_NIGHT, GOLD};

/// The whole window, darkened, with the shelf in it.
#[derive(Component)]
struct Veil;

/// Where the cards lie.
#[derive(Component)]
struct Shelf;

/// A product's card.
#[derive(Component)]
struct Card(ProductId);

/// What a card says of how much the player has.
#[derive(Component)]
struct Badge(ProductId);

pub(super) fn plugin(app: &mut App) {
    let changed = resource_changed::<Store>.or_else(on_real_timer(Duration::from_secs(1)));
    app.init_resource::<Icons>().add_systems(Startup, spawn).add_systems(
        Update,
        (
            show_or_hide.run_if(resource_changed::<Paused>),
            (lay_out.run_if(on_message::<CatalogLoaded>), refresh_badges.run_if(changed)).chain(),
            answer_the_mouse,
        ),
    );
}

fn spawn(mut commands: Commands) {
    let veil = Node {
        width: percent(100),
        height: percent(100),
        display: Display::None,
        justify_content: JustifyContent::Center,
        align_items: AlignItems::Start,
        padding: UiRect::top(px(106)),
        ..default()
    };
    let frame = Node {
        flex_direction: FlexDirection::Column,
        row_gap: px(14),
        padding: UiRect::axes(px(22), px(16)),
        border: px(2).all(),
        border_radius: BorderRadius::all(px(16)),
        ..default()
    };
    let heading = Node { column_gap: px(18), align_items: AlignItems::Center, ..default() };
    let row = Node { column_gap: px(14), ..default() };
    commands.spawn((
        Veil,
        veil,
        BackgroundColor(DEEP_NIGHT.with_alpha(0.6)),
        children![(
            frame,
            panel(CYAN),
            children![
                (
                    heading,
                    children![
                        text("SHOP", 28.0, Color::WHITE),
                        text("Bought offline, it is yours at once. The receipt follows.", 15.0, QUIET)
                    ]
                ),
                (Shelf, row)
            ]
        )],
    ));
}

fn show_or_hide(paused: Res<Paused>, mut veil: Single<&mut Node, With<Veil>>) {
    veil.display = if paused.0 { Display::Flex } else { Display::None };
}

fn lay_out(mut commands: Commands, store: Res<Store>, icons: Res<Icons>, row: Single<Entity, With<Shelf>>) {
    commands.entity(*row).despawn_children().with_children(|row| {
        for ((id, product), (_, key)) in shelf(&store).into_iter().zip(BUYING_KEYS) {
            let price = store.price(id.as_str()).map_or_else(String::new, |price| price.to_string());
            let face = card::face(product, key, Badge(id.clone()), price, icons.of(id));
            row.spawn((Card(id.clone()), Button, face));
        }
    });
}

fn refresh_badges(store: Res<Store>, mut badges: Query<(&Badge, &mut Text, &mut TextColor)>) {
    for (Badge(id), mut text, mut color) in &mut badges {
        let product = store.catalog().and_then(|catalog| catalog.product(id.as_str()));
        let (said, tone) = product.and_then(|(_, product)| standing(&store, product)).unwrap_or_default();
        say(&mut text, said);
        color.set_if_neq(TextColor(tone));
    }
}

/// How much the player has of what a product gives, in a word or two.
fn standing(store: &Store, product: &Product) -> Option<(String, Color)> {
    let holdings = store.holdings();
    product.grants.iter().find_map(|grant| match grant {
        CatalogGrant::Entitlement(name) => {
            let owned = holdings.entitlements.get(name)?;
            Some(match store.time_left(name.as_str()) {
                _ if owned.provisional => ("PROVISIONAL".to_owned(), AMBER),
                Some(left) => (in_words(left), GOLD),
                None => ("OWNED".to_owned(), GOLD),
            })
        }
        CatalogGrant::Item(name, _) => {
            let (left, provisional) = (store.quantity(name.as_str()), holdings.items.get(name)?.provisional > 0);
            let said = if provisional { format!("x{left} PROVISIONAL") } else { format!("x{left}") };
            (left > 0).then_some((said, if provisional { AMBER } else { GOLD }))
        }
    })
}

fn in_words(left: Duration) -> String {
    let seconds = left.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds) {
        (0, 0, seconds) => format!("{seconds} S LEFT"),
        (0, minutes, _) => format!("{minutes} MIN LEFT"),
        (hours, minutes, _) => format!("{hours} H {minutes} MIN LEFT"),
    }
}

fn answer_the_mouse(
    mut cards: Query<(&Card, &Interaction, &mut BorderColor), Changed<Interaction>>,
    mut wanted: MessageWriter<Wanted>,
) {
    for (Card(product), interaction, mut edge) in &mut cards {
        if *interaction == Interaction::Pressed {
            wanted.write(Wanted(product.clone()));
        }
        *edge = if *interaction == Interaction::None { card::resting_edge() } else { BorderColor::all(CYAN) };
    }
}

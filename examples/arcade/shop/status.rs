//! The upper right corner: the wallet, the shop's button, and how the server is reached.

use bevy::prelude::*;
use bevy_iap::prelude::*;

use super::open_or_close;
use crate::look::{key, panel, say, text};
use crate::palette::{AMBER, CREAM, CYAN, DANGER, GOLD};

#[derive(Component)]
struct WalletText;

#[derive(Component)]
struct ConnectionText;

#[derive(Component)]
struct ShopButton;

pub(super) fn plugin(app: &mut App) {
    app.add_systems(Startup, spawn)
        .add_systems(Update, (refresh_wallet, refresh_connection).run_if(resource_changed::<Store>))
        .add_systems(Update, open_or_close.run_if(button_was_pressed));
}

fn spawn(mut commands: Commands) {
    let corner = Node {
        position_type: PositionType::Absolute,
        right: px(24),
        top: px(20),
        flex_direction: FlexDirection::Column,
        align_items: AlignItems::End,
        row_gap: px(8),
        ..default()
    };
    let row = Node { column_gap: px(12), ..default() };
    let connection =
        Node { padding: UiRect::axes(px(12), px(3)), border_radius: BorderRadius::all(px(8)), ..default() };
    commands.spawn((
        corner,
        GlobalZIndex(1),
        children![
            (
                row,
                children![
                    (chip(GOLD), children![text("WALLET", 14.0, CREAM), (WalletText, text("...", 18.0, GOLD))]),
                    (ShopButton, Button, chip(CYAN), children![text("SHOP", 18.0, CYAN), key("TAB")])
                ]
            ),
            (
                connection,
                BackgroundColor(Color::BLACK.with_alpha(0.45)),
                children![(ConnectionText, text("", 15.0, CREAM))]
            )
        ],
    ));
}

fn chip(edge: Color) -> impl Bundle {
    let node = Node {
        height: px(42),
        column_gap: px(10),
        align_items: AlignItems::Center,
        padding: UiRect::horizontal(px(14)),
        border: px(2).all(),
        border_radius: BorderRadius::all(px(10)),
        ..default()
    };
    (node, panel(edge))
}

fn button_was_pressed(button: Query<&Interaction, (With<ShopButton>, Changed<Interaction>)>) -> bool {
    button.iter().any(|interaction| *interaction == Interaction::Pressed)
}

fn refresh_wallet(store: Res<Store>, mut text: Single<&mut Text, With<WalletText>>) {
    let balance = store.wallet().iter().find(|balance| balance.currency == store.currency());
    let available = balance.map(|balance| Money::new(balance.available, balance.currency));
    say(&mut text, available.map_or_else(|| "not heard yet".to_owned(), |money| money.to_string()));
}

fn refresh_connection(store: Res<Store>, text: Single<(&mut Text, &mut TextColor), With<ConnectionText>>) {
    let waiting = match store.orders().filter(|order| order.state.is_open()).count() {
        0 => String::new(),
        1 => " - 1 order queued".to_owned(),
        many => format!(" - {many} orders queued"),
    };
    let (said, tone) = match store.connection() {
        Connection::ReadOnly => ("READ ONLY: another copy is running".to_owned(), AMBER),
        Connection::NoServer => (format!("NO SERVER{waiting}"), AMBER),
        Connection::Offline => (format!("OFFLINE{waiting}"), AMBER),
        Connection::Connecting => (format!("CONNECTING{waiting}"), CREAM),
        Connection::Retrying { trouble } => (format!("RETRYING{waiting}: {trouble}"), DANGER),
        _ => (format!("ONLINE{waiting}"), CYAN),
    };
    let (mut text, mut color) = text.into_inner();
    say(&mut text, said);
    color.set_if_neq(TextColor(tone));
}
